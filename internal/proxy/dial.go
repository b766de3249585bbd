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
	plain   *client.Dialer // for plain HTTP: package socks sets keep-alive where it matters
	chooser *chooser
	mistake func(*socks.Request, *mistake) // is told of intents that make no sense
	manager attendance
}

// newOutgoing makes an outgoing that asks a manager.
func newOutgoing(daemon *client.Daemon, c *chooser, mistake func(*socks.Request, *mistake), log *slog.Logger) *outgoing {
	return &outgoing{
		dialer:  &client.Dialer{Daemon: daemon, Net: net.Dialer{ControlContext: socks.CheckDial}},
		plain:   &client.Dialer{Daemon: daemon, Net: net.Dialer{ControlContext: socks.CheckDial, KeepAlive: -1}},
		chooser: c,
		mistake: mistake,
		manager: attendance{log: log},
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

// decide asks the manager. The error tells that the request is over.
func (o *outgoing) decide(ctx context.Context, r *socks.Request, d *details, ch choice, network, address string) (*client.Decision, error) {
	ctx = client.WithOrigin(intent.NewContext(ctx, ch.set), o.chooser.origin(r, d, ch.from))
	dialer := o.dialer
	if r.Protocol == socks.HTTP {
		dialer = o.plain
	}
	dec, err := dialer.Decide(ctx, network, address)
	if err != nil {
		if errors.Is(err, client.ErrRefused) {
			o.manager.note(nil, time.Now()) // it is there, and has decided
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

// details is what a request's Data holds.
type details struct {
	// who is found out once, when it is first asked for.
	once  sync.Once
	asked atomic.Bool // who is set
	who   rules.Caller

	// seats are where an association's sockets are, by Is4 of their destinations.
	seats map[bool]*seat
	// moving is called before an association moves to another network; nil for
	// requests of other kinds.
	moving func()

	mu        sync.Mutex // of what an association changes while it runs
	choice    choice
	err       error // why the manager had no say
	source    netip.Addr
	device    string
	reason    string
	candidate client.Candidate
	decided   bool
	multipath string // "yes", or what became of it; "" if it was not asked for
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

// who tells which local process made a request.
func who(r *socks.Request) rules.Caller {
	d := detailsOf(r)
	d.once.Do(func() {
		d.who = callerOf(r)
		d.asked.Store(true)
	})
	return d.who
}

// noted keeps how a connection came about, for the access log and the metrics.
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

// dial is a socks.Config's Dial.
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

// replyable finds the reply to what package socks does not know: a refusal by the
// policy, and a dial whose every attempt failed to resolve the name.
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

// refusalOf is what the policy says of a refusal, without what was dialled.
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

// check asks whether the manager is there, for a line at start.
func (o *outgoing) check(ctx context.Context) error {
	err := o.dialer.Daemon.Ping(ctx)
	o.manager.begin(err == nil)
	return err
}

// resolve is a socks.Config's Resolve: on the network that the manager chooses.
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

// resolvePTR is a socks.Config's ResolvePTR: it asks the host's name servers, by the
// network that the manager chooses.
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
