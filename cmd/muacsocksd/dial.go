package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/socks"
)

// outgoing makes the connections that clients ask for, on the network that the
// Multi Access Manager chooses.
type outgoing struct {
	dialer  *client.Dialer
	chooser *chooser
	log     *slog.Logger
	manager atomic.Bool // took part when it was last asked
}

// newOutgoing asks the manager at the path socket, "" for where it is usually.
func newOutgoing(socket string, c *chooser, log *slog.Logger) *outgoing {
	return &outgoing{
		dialer: &client.Dialer{
			Daemon: &client.Daemon{Path: socket},
			Net:    net.Dialer{ControlContext: socks.CheckDial},
		},
		chooser: c,
		log:     log,
	}
}

func (o *outgoing) close() { _ = o.dialer.Daemon.Close() }

// details is what a request's Data holds.
type details struct {
	choice choice
	err    error // why the manager had no say

	// who is found out when somebody asks, and once.
	once sync.Once
	who  caller

	mu        sync.Mutex // of what an association changes while it runs
	source    netip.Addr
	device    string
	reason    string
	candidate int
	decided   bool
}

// detailsOf makes them if need be; calls for one request do not overlap before
// the request is under way.
func detailsOf(r *socks.Request) *details {
	if d, ok := r.Data.(*details); ok {
		return d
	}
	d := &details{}
	r.Data = d
	return d
}

// who tells which local process made a request.
func who(r *socks.Request) caller {
	d := detailsOf(r)
	d.once.Do(func() { d.who = callerOf(r) })
	return d.who
}

// noted notes how a connection came about.
func (d *details) noted(info client.Info) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decided, d.err, d.source, d.device = info.Decided, info.Err, info.Source, info.Device
	d.reason, d.candidate = info.Reason, info.Candidate
	if !d.source.IsValid() {
		d.source = info.Local.Addr()
	}
}

// dial is a socks.Config's Dial.
func (o *outgoing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	d.choice = o.chooser.choose(r, r.Dest)
	conn, err := o.dialer.DialContext(client.WithIntents(ctx, d.choice.set), network, address)
	if err != nil {
		if de, ok := errors.AsType[*client.DialError](err); ok && de.Err != nil {
			o.takesPart(false, de.Err)
		}
		return nil, replyable(err)
	}
	if info, ok := client.InfoOf(conn); ok {
		d.noted(info)
		o.takesPart(info.Decided, info.Err)
	}
	return conn, nil
}

// replyable finds the reply where every attempt failed to resolve the name.
func replyable(err error) error {
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

// takesPart says so when the manager comes or goes.
func (o *outgoing) takesPart(decided bool, err error) {
	if !decided && err == nil {
		return // it has no say in this
	}
	if o.manager.Swap(decided) == decided {
		return
	}
	if decided {
		o.log.Info("the Multi Access Manager chooses the network now")
	} else {
		o.log.Warn("the Multi Access Manager is not there: the host's routes choose the network", "err", err)
	}
}

// check asks whether the manager is there, for a line at start.
func (o *outgoing) check(ctx context.Context) error {
	// No manager knows this as a request; each that is there says so.
	var ans wire.Message
	err := o.dialer.Daemon.Exchange(ctx, &wire.Message{Action: wire.ActionErrorUnknownRequest}, &ans)
	o.manager.Store(err == nil)
	return err
}

// listenPacket is a socks.Config's ListenPacket: the outgoing socket of an
// association, bound as the manager decides for its first destination.
func (o *outgoing) listenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	r := socks.RequestFrom(ctx)
	d := detailsOf(r)
	dest, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	d.choice = o.chooser.choose(r, socks.Addr{Host: dest.Addr().String(), Port: dest.Port()})
	dec, err := o.dialer.Decide(client.WithIntents(ctx, d.choice.set), network, address)
	if err != nil {
		return nil, err
	}
	o.takesPart(dec.Err() == nil, dec.Err())
	source, device := dec.Source(), dec.Device()
	d.noted(client.Info{Decided: dec.Err() == nil, Err: dec.Err(), Source: source, Device: device, Reason: dec.Reason()})
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var bindErr error
		if err := raw.Control(func(fd uintptr) { bindErr = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		if errors.Is(bindErr, unix.EPERM) {
			return nil // the source address alone has to do
		}
		return bindErr
	}}
	local := ":0"
	if source.IsValid() {
		local = netip.AddrPortFrom(source, 0).String()
	}
	return lc.ListenPacket(ctx, network, local)
}

// resolve is a socks.Config's Resolve: on the network that the manager chooses.
func (o *outgoing) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	r := socks.RequestFrom(ctx)
	family := network[len("ip"):]
	dec, err := o.dialer.Decide(client.WithIntents(ctx, o.chooser.choose(r, socks.Addr{Host: host}).set), "udp"+family, net.JoinHostPort(host, strconv.Itoa(0)))
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
