package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// Dialer dials as a net.Dialer does, on the network that the Multi Access Manager
// chooses. The zero value is ready to use. A Dialer is safe for concurrent use, and
// must not be copied after first use.
//
// DialContext has the form that http.Transport and many database drivers take as a dial
// function. The examples show the form that gRPC needs.
type Dialer struct {
	// Intents apply to each dial. An intent that the context of a dial states replaces
	// the one here.
	Intents intent.Set

	// Selection applies to each dial. The context of a dial may add preferences. If
	// both have a preference for the same interface, network or cost, that of the
	// context counts.
	Selection SelectionProperties

	// Net has the settings of plain dials. These hold for the connections that the
	// manager decides on, too: Timeout, Deadline, LocalAddr (the manager then suggests
	// no other), KeepAliveConfig, Control, Resolver. FallbackDelay counts for plain
	// dials only. Dials with ControlContext take less time than dials with Control, but
	// last until that function has returned: it must heed its context.
	Net net.Dialer

	// Daemon is the way to the manager. If it is nil, the Dialer has its own.
	Daemon *Daemon

	// Logger gets one message when dials begin to go without the manager. It may be
	// nil.
	Logger *slog.Logger

	// ConnectionAttemptDelay is how long to wait for a connection attempt, or for a
	// resolver, before the next one starts beside it. A negative value means not to
	// wait. 0 means to adapt the delay to what the manager knows of the path (RFC 8305
	// section 5): three times the round-trip time, but between 100 ms and 2 s, or 250
	// ms if the time is unknown. A network in doubt gets 250 ms at most. A resolver
	// gets 250 ms at least.
	ConnectionAttemptDelay time.Duration

	// ResolutionDelay is how long a candidate whose name is resolved waits for the name
	// of a better candidate. 0 means 50 ms (RFC 8305 section 3), a negative value not
	// to wait.
	ResolutionDelay time.Duration

	once sync.Once
	own  *Daemon
}

func (d *Dialer) daemon() *Daemon {
	if d.Daemon != nil {
		return d.Daemon
	}
	d.once.Do(func() { d.own = new(Daemon) })
	return d.own
}

// Close closes the Dialer's own idle connections to the manager. It closes nothing if
// the field Daemon is set, because the Daemon's owner does that. Dialled connections
// stay open, and the Dialer can still be used.
func (d *Dialer) Close() error {
	if d.Daemon != nil {
		return nil
	}
	return d.daemon().Close()
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to address, whose forms are those of net.Dialer. The manager is
// asked for the networks tcp and udp (also with 4 or 6); others are dialled plainly.
// The connection has the methods of *net.TCPConn or *net.UDPConn, and InfoOf tells what
// was decided for it.
//
// If the manager has decided about the dial, or no network is permitted, the error is a
// *DialError that lists every attempt. Otherwise it is net.Dialer's, or says what is wrong
// with the arguments.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	begun := time.Now()
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	t, ok, err := d.newTarget(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if !ok {
		return d.dialPlainly(ctx, &t, begun, nil)
	}
	p, err := d.daemon().decide(ctx, t, false, nil)
	if err != nil {
		d.without(err)
		return d.dialPlainly(ctx, &t, begun, err)
	}
	return d.dialPlan(ctx, p, begun)
}

// limit makes Net.Timeout and Net.Deadline apply to the whole dial.
func (d *Dialer) limit(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	deadline := d.Net.Deadline
	if d.Net.Timeout > 0 {
		if t := now.Add(d.Net.Timeout); deadline.IsZero() || t.Before(deadline) {
			deadline = t
		}
	}
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// without counts a dial without the manager, and logs the first one.
func (d *Dialer) without(err error) {
	if d.daemon().wentPlain(err) && d.Logger != nil {
		d.Logger.Warn("dialling without the Multi Access Manager", "err", err)
	}
}

// dialPlainly dials without the manager. why tells the reason; it is nil if the manager
// does not decide about such a dial.
func (d *Dialer) dialPlainly(ctx context.Context, t *target, begun time.Time, why error) (net.Conn, error) {
	if forbidden(why) {
		return nil, &DialError{Network: t.network, Address: t.address, Err: why}
	}
	if !t.plainly() {
		return nil, &DialError{Network: t.network, Address: t.address, Err: t.permits(site{}), Without: why}
	}
	nd := d.plainDialer()
	if t.strict() {
		nd.SetMultipathTCP(false)
	}
	control(nd, nil, netip.Addr{})
	conn, err := nd.DialContext(ctx, t.network, t.address)
	if err != nil {
		return nil, err
	}
	return withInfo(conn, Info{Candidate: plain, Err: why, Duration: time.Since(begun)}), nil
}

// plainDialer returns a copy of Net without the time limits, because ctx already has
// them.
func (d *Dialer) plainDialer() *net.Dialer {
	nd := d.Net
	nd.Timeout, nd.Deadline = 0, time.Time{}
	return &nd
}

// dialPlan carries out a decision.
func (d *Dialer) dialPlan(ctx context.Context, p *plan, begun time.Time) (net.Conn, error) {
	t := &p.target
	candidates := p.candidates
	if t.plainly() {
		candidates = append(candidates, &candidate{index: plain})
	}
	r := d.driver(p, func(ctx context.Context, c *candidate, remote netip.AddrPort) (net.Conn, error) {
		return d.connect(ctx, t, c, remote)
	})
	r.deaf = d.Net.Control != nil && d.Net.ControlContext == nil
	o := r.run(ctx, candidates)
	o.failed = append(p.refused, o.failed...)
	if errors.Is(o.err, errNothing) && len(p.refused) > 0 {
		o.err = nil
	}
	declined := o.conn != nil && o.winner.multipath && !t.strict() && becamePlain(o.conn)
	d.report(p, &o, declined)
	if o.conn == nil {
		return nil, &DialError{Network: t.network, Address: t.address, Attempts: o.failed, Err: o.err}
	}
	w := o.winner
	return withInfo(o.conn, Info{
		Decided: true, Candidate: w.index, Source: w.local, Device: w.device, Multipath: w.multipath && !t.strict(), PlainTCP: declined,
		Reason: p.reason, ID: DecisionID(p.id), Attempts: o.failed, Duration: time.Since(begun),
	}), nil
}

// driver makes the driver of the plan's race, with the delays of the Dialer.
func (d *Dialer) driver(p *plan, connect func(context.Context, *candidate, netip.AddrPort) (net.Conn, error)) *driver {
	return &driver{
		race: race{
			pace:            pace{fixed: d.ConnectionAttemptDelay != 0, delay: max(0, d.ConnectionAttemptDelay)},
			resolutionDelay: delay(d.ResolutionDelay, defaultResolutionDelay),
		},
		lookup: func(ctx context.Context, c *candidate) (*candidate, error) {
			found, err := d.lookup(ctx, p, c)
			if err == nil && p.target.sole && !found.local.IsValid() && found.device == "" {
				err = errNoAddress // the name has no address that this network can reach
			}
			return found, err
		},
		connect: connect,
	}
}

func delay(set, standard time.Duration) time.Duration {
	switch {
	case set == 0:
		return standard
	case set < 0:
		return 0
	}
	return set
}

// connect makes one connection attempt.
func (d *Dialer) connect(ctx context.Context, t *target, c *candidate, remote netip.AddrPort) (net.Conn, error) {
	options := c.options
	strict := t.strict()
	if strict {
		at := t.siteOf(c, remote.Addr())
		if err := t.permits(at); err != nil {
			return nil, err
		}
		options = c.held(at.device, remote.Addr())
	}
	nd := d.plainDialer()
	network := t.network[:3] + "6"
	if remote.Addr().Is4() {
		network = t.network[:3] + "4"
	}
	if strict {
		nd.SetMultipathTCP(false)
	} else if c.multipath && t.typ == wire.SockStream {
		nd.SetMultipathTCP(true)
	}
	bind := c.local.IsValid() && nd.LocalAddr == nil
	var local netip.Addr // to be bound to before package net sees the socket
	var source net.Addr
	if bind && t.typ == wire.SockStream {
		source = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.local, 0))
	} else if bind {
		source = net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.local, 0))
	}
	switch {
	case bind && canBegin(network, c.local, remote.Addr()) && !nd.MultipathTCP():
		local = c.local
	case bind:
		nd.LocalAddr = source
	}
	var prepare func(syscall.RawConn) error
	if bind || len(options) > 0 {
		prepare = func(raw syscall.RawConn) error { return applyOptions(raw, bind, options) }
	}
	control(nd, prepare, local)
	conn, err := nd.DialContext(ctx, network, remote.String())
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Source == nil && local.IsValid() {
		failed.Source = source // package net does not know of it
	}
	return conn, err
}

// control makes nd call prepare, unless it is nil, for each socket before nd's own
// functions. Right after these a TCP socket is bound to local, if that is valid, and begins
// to connect, unless package net will bind it.
func control(nd *net.Dialer, prepare func(syscall.RawConn) error, local netip.Addr) {
	own, ownCtx := nd.Control, nd.ControlContext
	begin := canBeginConnect && nd.LocalAddr == nil && !nd.MultipathTCP()
	if prepare == nil && !begin {
		return
	}
	nd.Control = nil
	nd.ControlContext = func(ctx context.Context, network, address string, raw syscall.RawConn) (err error) {
		if prepare != nil {
			err = prepare(raw)
		}
		switch { // the first set of these counts, as in net.Dialer
		case err != nil:
		case ownCtx != nil:
			err = ownCtx(ctx, network, address, raw)
		case own != nil:
			err = own(network, address, raw)
		}
		if err == nil && begin {
			err = beginConnect(network, address, local, raw)
		}
		return err
	}
}

// becamePlain tells whether a connection that was opened with MPTCP is plain TCP.
func becamePlain(conn net.Conn) bool {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	multipath, err := tc.MultipathTCP()
	return err == nil && !multipath
}

// report tells the manager which of its suggestions worked. Datagram sockets are left
// out: they connect even if the network does not work.
func (d *Dialer) report(p *plan, o *outcome, declined bool) {
	if p.lease != nil && (o.conn == nil || len(p.candidates) == 0 || o.winner.index != p.candidates[0].index) {
		d.daemon().doubt(p.lease)
	}
	if p.features&wire.FeatureReports == 0 || p.id == uuid.Nil || p.target.typ != wire.SockStream {
		return
	}
	report := func(index Candidate, took time.Duration, errno int32, port uint16) *wire.Message {
		return &wire.Message{Action: wire.ActionReportRequest, DecisionID: p.id, Outcome: &wire.Outcome{
			Candidate: int32(index), Milliseconds: milliseconds(took), Errno: errno, LocalPort: port,
		}}
	}
	// An expected result can be reported later. One with Multipath TCP cannot: the
	// kernel tells the manager of the new connection, and the manager then looks for
	// the decision.
	later := o.conn != nil && o.winner.index == 0 && !o.winner.multipath
	if later && len(o.failed) == 0 && p.lease != nil && !declined {
		d.daemon().connected(p.id, o.waited)
		return
	}
	var reports []*wire.Message
	for _, a := range o.failed {
		if errno := errnoOf(a.Err); errno != 0 && a.Remote.IsValid() {
			reports = append(reports, report(a.Candidate, a.Duration, errno, 0))
			later = false
		}
	}
	// A connection by a later candidate usually means that those before were slow. It
	// does not if each candidate is dialled on its own.
	if o.conn != nil && (!p.target.sole || o.winner.index == FirstChoice) {
		m := report(o.winner.index, o.waited, 0, addrPort(o.conn.LocalAddr()).Port())
		if declined {
			m.Outcome.Flags = wire.OutcomePlainTCP
		}
		reports = append(reports, m)
	}
	d.daemon().report(later, reports...)
}

// etimedout has Linux's number on every host, because the manager runs on Linux.
const etimedout = 110

// errnoOf returns the errno of a failed attempt, 0 if the attempt was given up.
func errnoOf(err error) int32 {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return int32(errno)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return etimedout
	}
	return 0
}
