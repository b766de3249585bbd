package httpintent

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/internal/lateness"
	"github.com/socket-intents/mamma/intent"
)

const (
	// No host has more networks than this at a time. Addresses that are gone, such as
	// temporary IPv6 ones, count until they make room for new ones.
	maxNetworks = 32

	maxOffered = 8 // idle connections that a question names
)

// Transport is an http.RoundTripper. The zero value is ready to use. A Transport is
// safe for concurrent use, and must not be copied after first use.
//
// The manager's first choice is dialled. If it is slow or fails, the alternates are
// raced against it, as client.Dialer does. If such a race is won by another network
// than the one chosen, the connection serves only requests that already wait for it. A
// request is sent twice only under the conditions of http.Transport, or of Hedge and Split
// if these are set.
type Transport struct {
	// Dialer makes the connections. If it is nil, the Transport has its own.
	Dialer *client.Dialer

	// Base has the settings for each network's http.Transport, to which its limits on
	// connections apply. nil stands for the settings of http.DefaultTransport. The dial
	// functions and registered protocols of Base are not used. HTTP/2 is tried unless
	// TLSNextProto or Protocols forbid it. Base must not be changed after first use.
	Base *http.Transport

	// MaxPatterns is the number of URL patterns whose sizes are remembered. 0 means
	// 1024. A negative value means none: then the manager is told only the sizes that
	// contexts state.
	MaxPatterns int

	// Split makes large responses to GET requests come over several networks at once.
	// nil means one network.
	Split *Split

	// Hedge sends requests again, over another network, whose answers are far behind what
	// was to be expected. nil means never.
	Hedge *Hedge

	own  client.Dialer
	once sync.Once
	base *http.Transport

	sizes    sizes
	hedged   lateness.Allowance
	patience time.Duration // with a request that is not answered, see answerPatience; 0: the usual one

	mu       sync.Mutex
	networks map[networkKey]*network
	conns    map[string]map[*conn]bool // the open connections, by the address dialled
	made     uint64                    // connections made so far
}

var _ http.RoundTripper = (*Transport)(nil)

// question is what the manager is asked about.
type question struct {
	address   string
	intents   intent.Set
	selection client.SelectionProperties
}

func (t *Transport) dialer() *client.Dialer {
	if t.Dialer != nil {
		return t.Dialer
	}
	return &t.own
}

// settings returns the http.Transport whose clones serve the networks.
func (t *Transport) settings() *http.Transport {
	t.once.Do(func() {
		from := t.Base
		if from == nil {
			from, _ = http.DefaultTransport.(*http.Transport) // a program may have replaced it by another type
		}
		if from == nil {
			from = &http.Transport{Proxy: http.ProxyFromEnvironment}
		}
		b := from.Clone()
		b.Dial, b.DialTLS, b.DialTLSContext = nil, nil, nil //nolint:staticcheck // old programs may have set them
		b.ForceAttemptHTTP2 = true                          // without this, a dial function switches HTTP/2 off
		t.base = b
	})
	return t.base
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.Split != nil && divisible(req) {
		return t.roundTripSplit(req)
	}
	if t.Hedge != nil && repeatable(req) {
		return t.roundTripHedged(req)
	}
	resp, _, err := t.roundTrip(req, true)
	return resp, err
}

// roundTrip makes one request over one network. The returned exchange ends with the
// response's body. It is nil if http.Transport did everything alone. With learn, the
// response's size is remembered.
func (t *Transport) roundTrip(req *http.Request, learn bool) (*http.Response, *exchange, error) {
	selection := client.Selection(req.Context()).Merge(t.dialer().Selection)
	address, direct := t.address(req)
	if address == "" { // http.Transport returns the fitting error
		n := t.network(networkKey{selection: selection})
		defer t.leave(n)
		resp, err := n.http.RoundTrip(req)
		return resp, nil, err
	}
	pattern := t.sizes.pattern(req, t.MaxPatterns)
	q := t.question(req, address, pattern)
	decision, key, err := t.decide(req.Context(), q, direct)
	if err != nil {
		closeBody(req)
		return nil, nil, err
	}
	if !learn {
		pattern = ""
	}
	return t.exchange(req, decision, key, pattern)
}

// question returns what the manager is asked about req, whose connection goes to
// address.
func (t *Transport) question(req *http.Request, address, pattern string) question {
	ctx := req.Context()
	q := question{address, intent.FromContext(ctx).Merge(t.dialer().Intents), client.Selection(ctx).Merge(t.dialer().Selection)}
	if _, stated := q.intents.FileSize(); !stated {
		if size, ok := t.sizes.expected(pattern); ok {
			q.intents = q.intents.WithFileSize(size)
		}
	}
	return q
}

// exchange makes a request over the network with that key. If it needs a new
// connection, that is dialled as the decision says.
func (t *Transport) exchange(req *http.Request, decision *client.Decision, key networkKey, pattern string) (*http.Response, *exchange, error) {
	n := t.network(key)
	x := &exchange{transport: t, network: n}
	inner := httptrace.WithClientTrace(withDecision(req.Context(), decision), &httptrace.ClientTrace{GotConn: x.gotConn})
	resp, err := n.http.RoundTrip(req.WithContext(inner))
	if err != nil {
		x.finish()
		return nil, nil, err
	}
	resp.Request = req
	t.follow(resp, x, pattern)
	return resp, x, nil
}

// address returns where req's connection goes to, "" if that cannot be told. direct is
// true if no proxy is in between.
func (t *Transport) address(req *http.Request) (address string, direct bool) {
	if req.URL == nil || req.Header == nil || req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		return "", false
	}
	if proxy := t.settings().Proxy; proxy != nil {
		switch u, err := proxy(req); {
		case err != nil:
			return "", false
		case u != nil:
			return hostPort(u), false
		}
	}
	return hostPort(req.URL), true
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// hostPort returns the address in the form in which http.Transport dials it.
func hostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		if ascii, err := idna.Lookup.ToASCII(host); err == nil {
			host = ascii
		}
	}
	return net.JoinHostPort(host, port)
}

// decide asks the manager, unless an earlier answer still holds (see
// client.Daemon.MaxLeases). If a proxy is in between, no idle connections are offered,
// because they may be tunnels to another host.
func (t *Transport) decide(ctx context.Context, q question, direct bool) (*client.Decision, networkKey, error) {
	var idle []net.Conn
	if direct {
		t.mu.Lock()
		idle = t.idleLocked(q.address, q.selection)
		t.mu.Unlock()
	}
	decision, err := t.dialer().Decide(intent.NewContext(ctx, q.intents), "tcp", q.address, idle...)
	if err != nil {
		return nil, networkKey{}, err
	}
	key := networkKey{decision.Source(), decision.Device(), decision.Multipath(), q.selection}
	if c, ok := decision.Existing().(*conn); ok {
		key = c.network.key
	}
	return decision, key, nil
}

// CloseIdleConnections closes the idle connections on all networks. It also closes the
// connections to the manager, if they are the Transport's own.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	var all []*network
	for _, n := range t.networks {
		all = append(all, n)
	}
	t.mu.Unlock()
	for _, n := range all {
		n.http.CloseIdleConnections()
	}
	if t.Dialer == nil {
		_ = t.own.Close() // always nil
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// networkKey tells networks apart by how connections to them are bound.
type networkKey struct {
	source    netip.Addr
	device    string
	multipath bool
	// Requests with different selections share no connections, because an
	// http.Transport gives a connection to any request that waits.
	selection client.SelectionProperties
}
