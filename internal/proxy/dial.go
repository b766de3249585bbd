package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// outgoing makes the connections that clients ask for, on the network that the
// Multi Access Manager chooses.
type outgoing struct {
	dialer  *client.Dialer
	plain   *client.Dialer // for plain HTTP; sets no keep-alive, because package socks does where it is needed
	chooser *chooser
	mistake func(*socks.Request, *mistake) // called with intents that cannot be read
	manager attendance
	// networks are those of the manager, for associations.
	networks *networks
}

// newOutgoing makes an outgoing that asks a manager.
func newOutgoing(daemon *client.Daemon, c *chooser, mistake func(*socks.Request, *mistake), log *slog.Logger) *outgoing {
	return &outgoing{
		dialer:   &client.Dialer{Daemon: daemon, Net: net.Dialer{ControlContext: socks.CheckDial}},
		plain:    &client.Dialer{Daemon: daemon, Net: net.Dialer{ControlContext: socks.CheckDial, KeepAlive: -1}},
		chooser:  c,
		mistake:  mistake,
		manager:  attendance{log: log},
		networks: &networks{dialer: &client.Dialer{Daemon: daemon}},
	}
}

// choose finds the intents of what r wants with dest.
func (o *outgoing) choose(r *socks.Request, d *details, dest socks.Addr) choice {
	ch := o.chooser.choose(r, dest)
	if o.chooser.identify {
		o.chooser.who(r)
	}
	d.mu.Lock()
	told := d.choice.mistake != nil
	d.choice = ch
	d.mu.Unlock()
	if m := ch.mistake; m != nil && !told {
		o.mistake(r, m)
	}
	return ch
}

// decide asks the manager. An error means that the request has ended.
func (o *outgoing) decide(ctx context.Context, r *socks.Request, d *details, ch choice, network, address string) (*client.Decision, error) {
	ctx = client.WithOrigin(intent.NewContext(ctx, ch.set), o.chooser.origin(r, d, ch.from))
	dialer := o.dialer
	if r.Protocol == socks.HTTP {
		dialer = o.plain
	}
	dec, err := dialer.Decide(ctx, network, address)
	if err != nil {
		if errors.Is(err, client.ErrRefused) {
			o.manager.note(nil, time.Now()) // the manager is there: it has decided
			d.mu.Lock()
			d.reason = refusalOf(err)
			d.mu.Unlock()
		}
		return nil, replyable(err)
	}
	d.mu.Lock()
	d.err = dec.Err()
	d.mu.Unlock()
	o.manager.note(dec.Err(), time.Now())
	return dec, nil
}

// details is the content of a request's Data.
type details struct {
	// The asking process is found out once, when it is first needed.
	once  sync.Once
	asked atomic.Bool // who is set
	who   rules.Caller

	// seats are the networks of an association's sockets; the key is Is4 of their
	// destinations.
	seats map[bool]*seat
	// port is who was found to send an association's datagrams. Package socks asks about
	// one of them after another.
	port portOwner
	// moving is called before an association moves to another network. It is nil for
	// requests of other kinds.
	moving func()

	mu        sync.Mutex // guards what an association changes while it runs
	choice    choice
	err       error // why the manager did not decide
	source    netip.Addr
	device    string
	reason    string
	candidate client.Candidate
	decided   bool
	multipath string // "yes", or what became of MPTCP; "" if it was not asked for
}

// detailsOf returns the details of a request, and makes them at the first call. No
// lock is needed: calls for one request do not overlap until the request is under
// way.
func detailsOf(r *socks.Request) *details {
	if d, ok := r.Data.(*details); ok {
		return d
	}
	d := &details{}
	r.Data = d
	return d
}

// who returns the local process that made a request.
func who(r *socks.Request) rules.Caller {
	d := detailsOf(r)
	d.once.Do(func() {
		d.who = callerOf(r)
		d.asked.Store(true)
	})
	return d.who
}

// noted stores how a connection was made, for the access log and the metrics.
func (d *details) noted(info client.Info) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decided, d.source, d.device = info.Decided, info.Source, info.Device
	d.reason, d.candidate = info.Reason, info.Candidate
	if !d.source.IsValid() {
		d.source = info.Local.Addr()
	}
	switch {
	case info.PlainTCP:
		d.multipath = "became plain TCP"
	case info.Multipath:
		d.multipath = "yes"
	}
}

// dial implements Dial of a socks.Config.
func (o *outgoing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	dec, err := o.decide(ctx, r, d, o.choose(r, d, r.Dest), network, address)
	if err != nil {
		return nil, err
	}
	conn, err := dec.Dial(ctx)
	if err != nil {
		return nil, replyable(err)
	}
	if info, ok := client.InfoOf(conn); ok {
		d.noted(info)
	}
	return conn, nil
}

// replyable turns two errors into some that package socks knows: a refusal by the
// policy, and a dial in which every attempt failed to resolve the name.
func replyable(err error) error {
	if errors.Is(err, client.ErrRefused) {
		return &socks.Error{Reply: socks.NotAllowed, Err: err, Told: refusalOf(err)}
	}
	de, ok := errors.AsType[*client.DialError](err)
	if !ok || de.Err != nil {
		return err
	}
	for _, a := range de.Attempts {
		if a.Remote.IsValid() || errors.Is(a.Err, socks.ErrNotAllowed) {
			return err
		}
	}
	if de.Timeout() {
		return err
	}
	return &socks.Error{Reply: socks.HostUnreachable, Err: err}
}

// refusalOf returns the policy's reason for a refusal, without the destination.
func refusalOf(err error) string {
	de, ok := errors.AsType[*client.DialError](err)
	if !ok {
		return err.Error()
	}
	if de.Err != nil && errors.Is(de.Err, client.ErrRefused) {
		return de.Err.Error()
	}
	for _, a := range de.Attempts {
		if errors.Is(a.Err, client.ErrRefused) {
			return a.Err.Error()
		}
	}
	return client.ErrRefused.Error()
}

// check tells whether the manager is there. It is called at start, for a line in the
// log.
func (o *outgoing) check(ctx context.Context) error {
	err := o.dialer.Daemon.Ping(ctx)
	o.manager.begin(err == nil)
	return err
}

// resolve implements Resolve of a socks.Config. It looks a name up on the network that
// the manager chooses.
func (o *outgoing) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	ch := o.choose(r, d, socks.Addr{Host: host})
	family := network[len("ip"):]
	dec, err := o.decide(ctx, r, d, ch, "udp"+family, net.JoinHostPort(host, strconv.Itoa(0)))
	if err != nil {
		return nil, err
	}
	list, err := dec.Endpoints(ctx)
	if err != nil {
		return nil, replyable(err)
	}
	var ips []netip.Addr
	for _, e := range list {
		ips = append(ips, e.Remote.Addr())
	}
	return ips, nil
}

// resolvePTR implements ResolvePTR of a socks.Config. It asks the host's name servers
// over the network that the manager chooses.
func (o *outgoing) resolvePTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	ch := o.choose(r, d, socks.Addr{Host: addr.String()})
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dec, err := o.decide(ctx, r, d, ch, network, address)
		if err != nil {
			return nil, err
		}
		return dec.Dial(ctx)
	}}
	return resolver.LookupAddr(ctx, addr.String())
}
