package placement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/placement/notify"
)

// decisionTimeout is how long a program waits for the manager at most. Nobody notices
// that: programs wait as long for a connection attempt before they begin another (RFC
// 8305 section 5).
const decisionTimeout = 250 * time.Millisecond

// placer answers calls by binding their sockets.
type placer struct {
	options *stated
	say     *speaker
	dialer  *client.Dialer
	netns   uint64
	self    maker
	guests  guests
	follow  *follower
	tracer  *tracer
	threads threads

	mu     sync.Mutex
	placed map[uint64]bool     // by cookie: whether the socket was placed, or is as the program has bound it
	uses   map[agreed]struct{} // that were decided about, with Options.Require
}

func newPlacer(o Options, say *speaker) (*placer, error) {
	netns, err := ownNetns()
	if err != nil {
		return nil, fmt.Errorf("find out about this network namespace: %w", err)
	}
	self, err := makerOf("/proc/self")
	if err != nil && o.MPTCP {
		return nil, fmt.Errorf("find out who this process is: %w", err)
	}
	s, err := newStated(o, say)
	if err != nil {
		return nil, err
	}
	f := newFollower()
	p := &placer{options: s, say: say, netns: netns, self: self, follow: f, tracer: &tracer{}, placed: map[uint64]bool{}, uses: map[agreed]struct{}{}}
	p.dialer = &client.Dialer{Daemon: &client.Daemon{Path: o.Socket, DecisionTimeout: decisionTimeout}}
	f.tracer = p.tracer
	f.meter, err = newMeter()
	if err != nil {
		say.once("meter", "sizes are not learnt: %v", err)
	} else {
		go f.meter.run(nil)
	}
	go f.run(nil)
	go func() {
		for range time.Tick(habits.SaveEvery) {
			p.save()
		}
	}()
	p.warm()
	return p, nil
}

// warm connects to the manager before the program runs, so that the program's first
// connection does not wait for that. It does not ask for a decision: "mammactl
// decisions" would show one that the program has not asked for.
func (p *placer) warm() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := p.dialer.Daemon.Ping(ctx); err != nil {
		p.withoutManager(err)
	}
}

// save stores what was learnt.
func (p *placer) save() {
	p.options.save(p.say)
	for _, o := range p.guests.all() {
		o.save(p.say)
	}
}

// flushPatience bounds the wait for the manager at the end. Nobody waits for this
// process by then. A manager of the original may be busy measuring before it answers.
const flushPatience = 2 * time.Second

// end is called when the last process is gone. It reports and stores what is known
// about connections.
func (p *placer) end() {
	p.follow.end(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience)
	defer cancel()
	_ = p.dialer.Daemon.Flush(ctx) // an error is ignored: the manager is gone
	if p.follow.meter != nil {
		p.follow.meter.end(time.Now())
	}
	p.save()
}

// withoutManager prints once that connections are not placed.
func (p *placer) withoutManager(err error) {
	then := "connections go as if nobody was there"
	if p.options.Require {
		then = "connections are refused"
	}
	p.say.once("manager", "no Multi Access Manager answers, %s: %v", then, err)
}

// serve handles the calls from l as long as there are processes.
func (p *placer) serve(l *notify.Listener) {
	// A receiver that waits in the kernel keeps its processor of Go's scheduler for a while.
	// All else needs others.
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	r := newReceiving(l)
	r.start = func() { go r.run(p) }
	r.start()
	furnish()
}

// handle answers one call.
func (p *placer) handle(from *receiving, c notify.Call) {
	l := from.l
	var err error
	switch {
	case c.NR == unix.SYS_SETSOCKOPT && !c.Foreign:
		err = p.option(from, c)
	case c.NR != unix.SYS_SOCKET && !c.Foreign:
		err = p.place(from, c)
	default:
		if err = p.open(c); err == nil && p.streams(c) {
			p.makeStream(l, c)
			return
		}
	}
	var refused *refusal
	if errors.As(err, &refused) {
		if refused.said() {
			from.blocks() // the terminal may be slow
			p.say.line("%v", refused)
		}
		_ = l.Fail(c, refused.errno())
	} else {
		_ = l.Continue(c)
	}
}

// errNoManager means that nobody has decided.
var errNoManager = errors.New("no Multi Access Manager answers")

// place binds the socket that c is about. If the error is a refusal, the call fails.
// Otherwise it goes on, with or without an error.
func (p *placer) place(from *receiving, c notify.Call) error {
	holding := p.holding()
	w, unread := readWish(c, holding)
	if errors.Is(unread, errNoSocket) || unread == nil && !w.matters(holding) {
		return nil
	}
	r, err := p.reach(from, c, w.fd)
	defer r.close()
	switch kind := errors.Is(err, errKind); {
	case errors.Is(err, errNoSocket), errors.Is(err, errOver), kind && !r.options.Require:
		return nil
	case unread != nil || err != nil && !kind:
		return r.options.unplaced(w.dest(), r.who, cmp.Or(unread, err))
	case r.options.Require:
		return r.hold(w, err)
	}
	if !w.matters(false) {
		return nil
	}
	how, ok := p.way(&r.socket)
	if _, known := p.known(r.socket.cookie); known || !ok || w.parts[0].bare && r.socket.v6 {
		return nil
	}
	return r.put(w.dest(), how)
}

// holding tells whether there may be a caller with Options.Require.
func (p *placer) holding() bool { return p.options.Require || p.guests.any() }

// reached is a caller with a copy of its socket.
type reached struct {
	p       *placer
	from    *receiving // the receiver that handles the call; nil: there is none
	who     caller
	options *stated
	socket  socket // with a descriptor of -1 if there is no copy
	theirs  waiter
	// followed tells that the follower has the copy, which belongs to it then.
	followed bool
}

// errOver says that a call waits no more.
var errOver = errors.New("the call is over")

// reach copies the socket that a call is about, and looks at it. If there is an error,
// the result says as much as is known; the error is errNoSocket if the kernel itself
// will refuse the call.
func (p *placer) reach(from *receiving, c notify.Call, fd int) (*reached, error) {
	r := &reached{p: p, from: from, socket: socket{fd: -1}}
	th, who, err := p.threads.caller(c.PID)
	r.who, r.options = who, p.optionsOf(who)
	if err != nil {
		return r, err
	}
	if r.theirs = (waiter{c.PID, who.pid, fd, p.follow.copies}); c.NR != unix.SYS_CONNECT {
		r.theirs.fd = -1
	}
	defer p.threads.give(th)
	own, err := th.descriptor(fd)
	switch {
	case errors.Is(err, unix.EBADF):
		return r, errNoSocket
	case err != nil:
		return r, err
	}
	r.socket, err = inspect(own)
	if err == nil && !from.l.Valid(c) {
		return r, errOver // what was read may belong to another thread
	}
	return r, err
}

func (r *reached) close() {
	if !r.followed && r.socket.fd >= 0 {
		r.p.follow.copies.close(r.socket.fd)
	}
}

// put binds the socket for a destination, as the manager decides.
func (r *reached) put(dest netip.AddrPort, how binding) error {
	p, s := r.p, &r.socket
	begun := time.Now()
	ch, err := r.decide(dest)
	if err == nil {
		if err = p.bind(s, ch, how); err != nil && ch.decision.Only() {
			err = fmt.Errorf("%w: nothing but %v is permitted: %w", client.ErrRefused, ch.endpoint.Source, err)
		}
	}
	if err != nil {
		return r.unplaced(dest, err)
	}
	p.note(s.cookie, true)
	r.placed(dest, ch, begun)
	return nil
}

// unplaced decides about a connection that could not be placed.
func (r *reached) unplaced(dest netip.AddrPort, err error) error {
	if errors.Is(err, errNoManager) {
		r.p.withoutManager(err)
	}
	return r.options.unplaced(dest, r.who, err)
}

// placed tells of a connection that goes where the manager has decided, and follows it.
func (r *reached) placed(dest netip.AddrPort, ch *choice, begun time.Time) {
	p, s := r.p, &r.socket
	if r.options.Verbose {
		r.blocks() // the terminal may be slow
		p.say.line("%q[%d] -> %v  %v  %v", r.who.command, r.who.pid, dest, ch, time.Since(begun).Round(10*time.Microsecond))
	}
	source := ch.endpoint.Source
	switch own := s.source.Addr(); {
	case s.typ != unix.SOCK_STREAM, r.followed:
		return
	case source.IsValid() && fixed(own) && own.Unmap() != source:
		return // it leaves by another network, so that its result tells nothing of the first
	}
	a := &attempt{
		fd: s.fd, decision: ch.decision, candidate: ch.endpoint.Candidate, dest: dest, cookie: s.cookie, bound: s.source.Port() != 0,
		multipath: s.protocol == unix.IPPROTO_MPTCP, learner: r.options.learnt,
		source: source, offered: ch.offered, v6: s.v6, theirs: r.theirs,
	}
	if r.options.Verbose {
		who := r.who
		a.say = func(what string) { p.say.later("%q[%d] -> %v  %s", who.command, who.pid, dest, what) }
	}
	r.followed = p.follow.add(a)
}

// optionsOf returns what was stated for a process. An inner run that the process
// belongs to takes precedence over this run.
func (p *placer) optionsOf(who caller) *stated {
	if o, ok := p.guests.of(who.pid); ok {
		return o
	}
	return p.options
}

// unplaced decides about a connection that could not be placed. It is refused if
// Options.Require or the policy says so; else the program's call goes on.
func (o *Options) unplaced(dest netip.AddrPort, who caller, err error) error {
	if !o.Require && !errors.Is(err, client.ErrRefused) {
		return err
	}
	return &refusal{fmt.Sprintf("connect to %v", dest), who, err}
}

// far tells whether the choice of network matters for a destination. Loopback,
// link-local and multicast destinations belong to one interface.
func far(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && a.Zone() == "" &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// binding is a way to place a socket.
type binding int

const (
	bySource binding = iota
	byDevice
)

// way returns how to place a socket, and whether to place it at all. Three kinds of
// sockets are left alone: those that the program has bound itself, connected ones, and
// sockets of another network namespace, in which the same names and addresses mean
// other networks.
func (p *placer) way(s *socket) (binding, bool) {
	switch {
	case s.netns != p.netns, s.device != "", !s.closed, !s.source.Addr().Unmap().IsUnspecified() && s.source.Addr().IsValid():
		return 0, false
	case s.source.Port() == 0:
		return bySource, true
	case ephemeral(s.source.Port()):
		// The socket is bound to a port of the kernel's choice and to no address, as
		// QUIC and event libraries do. It is not a server's. An address can no longer be
		// set, but a device can.
		return byDevice, true
	}
	return 0, false
}

// choice is what was decided about a connection.
type choice struct {
	endpoint client.Endpoint
	device   string // "": the source address is enough
	offered  []client.Endpoint
	decision *client.Decision
}

func (c *choice) String() string {
	if !c.endpoint.Source.IsValid() {
		return "the kernel's choice: " + c.decision.Reason()
	}
	device := c.device
	if device == "" {
		device = interfaceOf(c.endpoint.Source)
	}
	return fmt.Sprintf("%v on %s: %s", c.endpoint.Source, device, c.decision.Reason())
}

// blocks is called before something that may take long.
func (r *reached) blocks() {
	if r.from != nil {
		r.from.blocks()
	}
}

// decide asks the manager about a connection.
func (r *reached) decide(dest netip.AddrPort) (*choice, error) {
	s, who := &r.socket, r.who
	set, from := r.options.intents(dest, who)
	ctx := context.Background()
	if r.from != nil {
		ctx = asking{ctx, r.from}
	}
	ctx = client.WithOrigin(intent.NewContext(ctx, set), client.Origin{
		UID: who.uid, PID: uint32(who.pid), Command: who.command, Source: from,
	})
	dec, err := r.p.dialer.Decide(ctx, s.network(), dest.String())
	if err != nil {
		return nil, err
	}
	if err := dec.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoManager, err)
	}
	list, err := dec.Endpoints(context.Background()) // waits for nothing: there is no name
	if err != nil && dec.Only() {
		err = fmt.Errorf("%w: %w", client.ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(e client.Endpoint) bool { return e.Remote.Addr() == dest.Addr() })
	if i < 0 {
		return nil, errors.New("the decision is about another address")
	}
	return &choice{list[i], dec.Device(), list, dec}, nil
}

// bind binds the socket as decided.
func (p *placer) bind(s *socket, c *choice, how binding) error {
	if !c.endpoint.Source.IsValid() && c.device == "" {
		return nil
	}
	if how == byDevice {
		device := c.device
		if device == "" {
			device = interfaceOf(c.endpoint.Source)
		}
		if device == "" {
			return fmt.Errorf("no interface has the address %v", c.endpoint.Source)
		}
		return s.bindDevice(device)
	}
	return s.bind(c.endpoint)
}

// interfaceOf returns the interface that has an address, "" if none has.
func interfaceOf(a netip.Addr) string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, have := range addrs {
			if n, ok := have.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
					return i.Name
				}
			}
		}
	}
	return ""
}

// maxPlaced bounds the placed sockets that are remembered. A forgotten socket is looked
// at again, and found to be bound.
const maxPlaced = 65536

// known tells whether the socket was decided about before, and whether it was placed
// then. That happens because the kernel may report the same call twice, and because a
// program sends many datagrams from one socket.
func (p *placer) known(cookie uint64) (placed, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	placed, known = p.placed[cookie]
	return placed, known
}

func (p *placer) note(cookie uint64, placed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.placed) >= maxPlaced {
		clear(p.placed)
	}
	p.placed[cookie] = placed
}
