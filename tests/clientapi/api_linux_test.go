package clientapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// patience is the time limit for what takes milliseconds.
const patience = 20 * time.Second

// args ask for one or more connections to a host's web server.
type args struct {
	Socket   string // of the daemon
	Host     string
	Category intent.Category
	Times    int
	Echo     string // socket of another process that sends back what it gets
	Bind     netip.Addr
	Routes   []route // of the network that goes down
}

// apis are the ways of connecting under test. Each connects once, or Times times if
// connections are reused, and says what the server saw.
var apis = map[string]func(context.Context, *client.Daemon, args) ([]testbed.Seen, error){
	"Dialer":                       dialer,
	"Dialer in http.Transport":     httpTransport,
	"Pool":                         pool,
	"Pool.Start":                   pending,
	"httpintent":                   perRequest,
	"TLS":                          secure,
	"httpintent with HTTP/2":       perRequest2,
	"Dialer for UDP":               datagram,
	"bsd.Context":                  classic,
	"bsd.Getaddrinfo":              extended,
	"bsd.Getaddrinfo non-blocking": extendedNonblock,
}

func jobs() map[string]stage.Job {
	all := maps.Clone(benchmarks)
	served := maps.Clone(apis)
	served["bsd.Context bound"] = classicBound
	for name, api := range served {
		all[name] = stage.Typed(func(a args) ([]testbed.Seen, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d := &client.Daemon{Path: a.Socket, DecisionTimeout: patience}
			defer func() { _ = d.Close() }()
			return api(ctx, d, a)
		})
	}
	return all
}

func (a args) intents() intent.Set { return intent.Set{}.WithCategory(a.Category) }

func (a args) address() string { return net.JoinHostPort(a.Host, "80") }

// ask makes one request over a connection, which it leaves open.
func ask(rw io.ReadWriter) (seen testbed.Seen, err error) {
	if _, err := io.WriteString(rw, "GET / HTTP/1.1\r\nHost: service\r\n\r\n"); err != nil {
		return seen, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(rw), nil)
	if err != nil {
		return seen, err
	}
	defer func() { _ = resp.Body.Close() }()
	return seen, json.NewDecoder(resp.Body).Decode(&seen)
}

func dialer(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	d := &client.Dialer{Daemon: daemon, Intents: a.intents()}
	nc, err := d.DialContext(ctx, "tcp", a.address())
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	seen, err := ask(nc)
	return []testbed.Seen{seen}, err
}

func httpTransport(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	d := &client.Dialer{Daemon: daemon}
	tr := &http.Transport{DialContext: d.DialContext}
	defer tr.CloseIdleConnections()
	return get(intent.NewContext(ctx, a.intents()), tr, "http", a)
}

func perRequest(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	return alternately(ctx, &httpintent.Transport{Dialer: &client.Dialer{Daemon: daemon}}, "http", a)
}

// alternately makes requests of two categories in turn.
func alternately(ctx context.Context, tr *httpintent.Transport, scheme string, a args) ([]testbed.Seen, error) {
	defer tr.CloseIdleConnections()
	var all []testbed.Seen
	for i := range a.Times {
		category := a.Category // the other one in between
		if i%2 == 1 {
			category = intent.CategoryQuery + intent.CategoryBulkTransfer - category
		}
		seen, err := get(intent.NewContext(ctx, intent.Set{}.WithCategory(category)), tr, scheme, a)
		if err != nil {
			return nil, err
		}
		all = append(all, seen...)
	}
	return all, nil
}

// secure is TLS over a connection that was placed.
func secure(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	d := &client.Dialer{Daemon: daemon, Intents: a.intents()}
	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.Host, "443"))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // whose certificate it is is not the question
	defer func() { _ = conn.Close() }()
	seen, err := ask(conn)
	return []testbed.Seen{seen}, err
}

func perRequest2(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	return alternately(ctx, &httpintent.Transport{Dialer: &client.Dialer{Daemon: daemon}, Base: base}, "https", a)
}

// datagram asks the service's echo from which address it was asked.
func datagram(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	d := &client.Dialer{Daemon: daemon, Intents: a.intents()}
	nc, err := d.DialContext(ctx, "udp", net.JoinHostPort(a.Host, "7"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(deadline)
	}
	if _, err := io.WriteString(nc, "?"); err != nil {
		return nil, err
	}
	b := make([]byte, 2048)
	n, err := nc.Read(b)
	if err != nil {
		return nil, err
	}
	var seen testbed.Seen
	return []testbed.Seen{seen}, json.Unmarshal(b[:n], &seen)
}

func get(ctx context.Context, rt http.RoundTripper, scheme string, a args) ([]testbed.Seen, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+a.Host+"/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var seen testbed.Seen
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return []testbed.Seen{seen}, err
}

func pool(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	p := &client.Pool{Dialer: &client.Dialer{Daemon: daemon, Intents: a.intents()}}
	defer func() { _ = p.Close() }()
	var all []testbed.Seen
	for range a.Times {
		s, err := p.Get(ctx, "tcp", a.address())
		if err != nil {
			return nil, err
		}
		seen, err := ask(s)
		if err != nil {
			return nil, err
		}
		all = append(all, seen)
		if err := s.Release(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func pending(ctx context.Context, daemon *client.Daemon, a args) ([]testbed.Seen, error) {
	p := &client.Pool{Dialer: &client.Dialer{Daemon: daemon, Intents: a.intents()}}
	defer func() { _ = p.Close() }()
	one, other := p.Start(ctx, "tcp", a.address()), p.Start(ctx, "tcp", a.address())
	defer other.Cancel()
	s, err := one.Result()
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	seen, err := ask(s)
	return []testbed.Seen{seen}, err
}

func classic(ctx context.Context, daemon *client.Daemon, a args) (all []testbed.Seen, err error) {
	c := &bsd.Context{Daemon: daemon}
	if err := c.SetsockoptInt(-1, bsd.SolIntents, int(intent.OptCategory), int32(a.Category)); err != nil {
		return nil, err
	}
	list, err := c.Getaddrinfo(ctx, a.Host, "80", &bsd.Hints{Type: bsd.SockStream})
	if err != nil {
		return nil, err
	}
	fd, err := c.Socket(list[0].Family, list[0].Type, list[0].Protocol)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(fd)) }()
	if err := c.Connect(ctx, fd, list[0].Addr); err != nil {
		return nil, err
	}
	return over(fd)
}

func classicBound(ctx context.Context, daemon *client.Daemon, a args) (all []testbed.Seen, err error) {
	c := &bsd.Context{Daemon: daemon}
	fd, err := c.Socket(bsd.AFInet, bsd.SockStream, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(fd)) }()
	if err := c.Bind(fd, netip.AddrPortFrom(a.Bind, 0)); err != nil {
		return nil, err
	}
	list, err := c.Getaddrinfo(ctx, a.Host, "80", &bsd.Hints{Family: bsd.AFInet, Type: bsd.SockStream})
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx, fd, list[0].Addr); err != nil {
		return nil, err
	}
	return over(fd)
}

func extended(ctx context.Context, daemon *client.Daemon, a args) (all []testbed.Seen, err error) {
	ai, fd, err := first(ctx, daemon, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := ai.SimpleConnect(fd); err != nil {
		return nil, err
	}
	return over(fd)
}

func extendedNonblock(ctx context.Context, daemon *client.Daemon, a args) (all []testbed.Seen, err error) {
	ai, fd, err := first(ctx, daemon, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	inProgress, err := ai.SimpleConnectNonblock(fd)
	if err != nil {
		return nil, err
	}
	if inProgress {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(patience.Milliseconds())); err != nil {
			return nil, err
		}
		if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			return nil, fmt.Errorf("connecting: %w (%w)", unix.Errno(errno), err)
		}
	}
	return over(fd)
}

func first(ctx context.Context, daemon *client.Daemon, a args) (*bsd.AddrInfo, int, error) {
	list, err := bsd.Getaddrinfo(ctx, &client.Dialer{Daemon: daemon}, a.Host, "80", &bsd.Hints{Intents: a.intents()})
	if err != nil {
		return nil, -1, err
	}
	fd, err := list[0].Socket()
	return &list[0], fd, err
}

// over asks over a descriptor, which stays the caller's.
func over(fd int) ([]testbed.Seen, error) {
	twin, err := unix.Dup(fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(twin), "socket")
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	seen, err := ask(nc)
	return []testbed.Seen{seen}, err
}
