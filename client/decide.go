package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// plain is the index of the candidate that is dialled without the manager's suggestion.
const plain = PlainDial

// target is the destination of a dial.
type target struct {
	network   string
	address   string // as the caller gave it
	typ       int32  // stream or datagram
	family    int32  // the address family that network asks for; 0: any
	host      string
	port      uint16
	literal   netip.Addr // host as an address, invalid for a name
	bound     netip.AddrPort
	intents   intent.Set
	selection SelectionProperties
	only      bool // only the manager's candidates may be used
	vouched   bool // the manager knows the selection, so its suggestions are permitted
	sole      bool // a single candidate is tried, and nothing after it
	reports   bool // what the connection brings will be reported
}

// newTarget parses the arguments of DialContext. ok is false if the manager does not
// decide about such a dial, because the network is neither TCP nor UDP, the address has
// no host, or its zone already names an interface.
func (d *Dialer) newTarget(ctx context.Context, network, address string) (t target, ok bool, err error) {
	t = target{network: network, address: address, typ: wire.SockStream, selection: d.selection(ctx)}
	if err := t.selection.check(); err != nil {
		return t, false, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if t.typ, t.family, ok = kindOf(network); !ok {
		return t, false, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return t, false, nil // net.Dialer has the better error
	}
	port, err := raw.Port(ctx, d.Net.Resolver, network, service)
	if err != nil {
		return t, false, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if host == "" {
		return t, false, nil
	}
	t.host, t.port = host, port
	if a, err := netip.ParseAddr(host); err == nil {
		t.literal = a.Unmap()
		if a.Zone() != "" {
			return t, false, nil // the zone already names the interface
		}
	}
	if d.Net.LocalAddr != nil {
		t.bound = addrPort(d.Net.LocalAddr)
	}
	t.intents = intent.FromContext(ctx).Merge(d.Intents)
	return t, true, nil
}

// kindOf parses the name of a network. ok is false if the manager does not decide about
// such networks.
func kindOf(network string) (typ, family int32, ok bool) {
	typ = wire.SockStream
	switch {
	case strings.HasPrefix(network, "udp"):
		typ = wire.SockDgram
	case !strings.HasPrefix(network, "tcp"):
		return typ, 0, false
	}
	switch network[3:] {
	case "":
	case "4":
		family = wire.AFInet
	case "6":
		family = wire.AFInet6
	default:
		return typ, 0, false
	}
	return typ, family, true
}

// candidate is one way to connect.
type candidate struct {
	index     Candidate
	local     netip.Addr // to bind to; invalid: the kernel chooses
	device    string     // to bind to; "": none
	multipath bool
	options   []wire.SockOpt
	addrs     []netip.AddrPort // known without a lookup; else empty

	rtt     time.Duration // round-trip time of its path; 0: unknown
	suspect bool          // it may not work at present
	race    bool          // the next candidate starts at the same moment
	cost    Cost          // if it is priced
	priced  bool
	// budget is the number of bytes left, if limited is set.
	limited bool
	budget  int64
}

// measured takes over what the manager has measured on c's path.
func (c *candidate) measured(p wire.Path) {
	c.rtt = time.Duration(p.Microseconds) * time.Microsecond
	c.suspect = p.Health != wire.PathUp
}

// costs takes over what the manager says about c's price.
func (c *candidate) costs(w wire.Cost) {
	c.cost, c.priced = CostExpensive, true
	switch w.Cost {
	case wire.CostFree:
		c.cost = CostFree
	case wire.CostMetered:
		c.cost = CostMetered
	}
	if w.Left != wire.NoBudget {
		c.limited = true
		c.budget = int64(min(w.Left, math.MaxInt64))
	}
}

// plan is the manager's answer, ready to be carried out.
type plan struct {
	target     target
	id         uuid.UUID
	linkID     uuid.UUID // context id of the connection that the answer came on
	features   wire.Features
	reason     string
	candidates []*candidate
	refused    []Attempt // candidates that the selection does not permit
	lease      *lease    // the lease that the plan follows; nil: the manager was asked
	existing   int32     // the socket to reuse, if reuse is set
	reuse      bool      // existing is set
}

// These errors stand for answers of the daemon.
var (
	errNotResolved = errors.New("the manager could not resolve the name")
	errNoAddress   = errors.New("no suitable address")
	errNoMember    = errors.New("the connection to be used again was not offered")
)

// decide asks for a decision. With members the answer may be to reuse one of them.
func (dm *Daemon) decide(ctx context.Context, t target, choose bool, members []wire.SetMember) (*plan, error) {
	origin := originOf(ctx)
	action := wire.ActionSocketConnectRequest
	if choose {
		action = wire.ActionSocketChooseRequest
	}
	key, asked := t.leaseKey(action, origin, members), time.Now()
	if l := dm.leased(key, !t.literal.IsValid(), t.intents, asked); l != nil {
		if p, err := l.plan(t, choose, members); err == nil {
			return p, nil
		}
	}
	q := question{intents: t.intents}
	q.request = func(f wire.Features) *wire.Message {
		m := &wire.Message{Action: action, Context: t.context(), Sockets: members}
		m.SetIntents(t.intents)
		if f&wire.FeatureWideIntents == 0 {
			m.WideIntents = nil
		}
		if f&wire.FeatureOrigin != 0 {
			m.Origin = origin
		}
		if t.reports && t.typ == wire.SockStream {
			m.Features = wire.FeatureTransfers
		}
		m.NoResolve = f&wire.FeatureNoResolve != 0
		if f&wire.FeatureSelection != 0 {
			m.Selection = t.selection.onWire()
		}
		return m
	}
	q.resolves = func(f wire.Features) bool { return f&wire.FeatureNoResolve == 0 && !t.literal.IsValid() } // only a daemon without extensions looks the name up before it answers
	var ans wire.Message
	if !choose {
		q.key = t.spareKey(origin)
		if s, ok := dm.takeSpare(q.key, time.Now()); ok && dm.DecisionTimeout >= 0 {
			return newDecision(t, choose, s.features, s.answer)
		}
	}
	from, err := dm.ask(ctx, q, &ans)
	if err != nil {
		return nil, err
	}
	p, err := newDecision(t, choose, from.features, &ans)
	if err == nil {
		dm.keepLease(key, t.intents, &ans, from, asked)
	}
	return p, err
}

// newDecision makes a plan of an answer. With choose, the answer may be to reuse a
// socket.
func newDecision(t target, choose bool, f wire.Features, ans *wire.Message) (*plan, error) {
	t.vouched = f&wire.FeatureSelection != 0
	switch {
	case ans.Only&wire.OnlyNone == 0:
	case ans.Only&wire.OnlySelected != 0:
		return nil, fmt.Errorf("%w: the manager knows none (%v)", ErrNotPermitted, t.selection)
	default:
		return nil, refusal(ans.Reason)
	}
	switch ans.Action {
	case wire.ActionSocketConnectResponse, wire.ActionSocketChooseNew,
		wire.ActionConnectResponse: // the original's fall-back (section 8.4)
	case wire.ActionSocketChooseExisting:
		if !choose || len(ans.Sockets) == 0 {
			return nil, fmt.Errorf("unexpected answer %v", ans.Action)
		}
		if !t.vouched && t.selection.needsManager() {
			return nil, fmt.Errorf("%w: the manager does not tell names and costs (%v)", ErrNotPermitted, t.selection)
		}
		return &plan{target: t, id: ans.DecisionID, linkID: ans.Context.ID, features: f, reason: ans.Reason,
			existing: ans.Sockets[0].FD, reuse: true}, nil
	case wire.ActionErrorResolve:
		if ans.Only != 0 && ans.Only&wire.OnlySelected == 0 {
			return nil, fmt.Errorf("%w; %w", errOutside, errNotResolved)
		}
		return nil, errNotResolved
	default:
		return nil, fmt.Errorf("unexpected answer %v", ans.Action)
	}
	return newPlan(t, f, ans), nil
}

// context returns the fields about the target that both kinds of request have.
func (t *target) context() wire.Context {
	return wire.Context{
		Domain: t.family, Type: t.typ,
		BindRequested: sockAddr(t.bound),
		Hostname:      t.host,
		Service:       strconv.Itoa(int(t.port)),
		Hint:          []wire.AddrInfo{{Family: t.family, Type: t.typ}},
	}
}

// sockAddr converts a to the protocol's form. A zone that is not a number is dropped,
// because the protocol has no field for its name.
func sockAddr(a netip.AddrPort) wire.SockAddr {
	if zone := a.Addr().Zone(); zone != "" {
		if _, err := strconv.ParseUint(zone, 10, 32); err != nil {
			a = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
		}
	}
	return wire.SockAddr{AddrPort: a}
}

// newPlan makes the candidates of an answer.
func newPlan(t target, f wire.Features, ans *wire.Message) *plan {
	c := &ans.Context
	t.only = ans.Only&wire.OnlyThese != 0 && ans.Only&wire.OnlySelected == 0 // the client itself keeps to its selection
	p := &plan{target: t, id: ans.DecisionID, linkID: c.ID, features: f, reason: ans.Reason}
	first := &candidate{
		local:     c.BindSuggested.AddrPort.Addr().Unmap(),
		device:    c.Device(),
		multipath: c.Protocol == wire.ProtoMPTCP,
	}
	for _, o := range c.OptionsSuggested {
		switch {
		case o.Level == intent.Level:
		case f == 0 && o.Level == wire.ProtoTCP && o.Name == 42 && len(o.Value) == 4:
			// On the original's kernel this option switches Multipath TCP on. The
			// upstream kernel uses the number for another option, so it is not passed
			// on.
			first.multipath = binary.LittleEndian.Uint32(o.Value) != 0
		default:
			o.Value = slices.Clone(o.Value)
			first.options = append(first.options, o)
		}
	}
	if len(c.Result) > 0 {
		first.addrs = t.addresses(c.Result, first.local)
	}
	if r := c.Remote.AddrPort; len(first.addrs) == 0 && r.IsValid() && r.Port() != 0 {
		first.addrs = t.addresses([]wire.AddrInfo{{Addr: c.Remote}}, first.local)
	}
	t.direct(first)
	first.settle()
	p.candidates = append(p.candidates, first)
	for i := range ans.Alternates {
		a := &ans.Alternates[i]
		alt := &candidate{
			index:     Candidate(i + 1),
			local:     a.Local.AddrPort.Addr().Unmap(),
			device:    a.Device,
			multipath: a.Protocol == wire.ProtoMPTCP,
		}
		for _, o := range first.options {
			if o.Level != wire.SolSocket || o.Name != wire.SoBindToDevice {
				alt.options = append(alt.options, o)
			}
		}
		if a.Device != "" {
			alt.options = append(alt.options, wire.SockOpt{
				Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte(a.Device), Flags: wire.SockOptOptional,
			})
		}
		for _, r := range a.Remotes {
			if addr := r.AddrPort; t.suits(addr.Addr().Unmap(), alt.local) {
				alt.addrs = append(alt.addrs, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
			}
		}
		t.direct(alt)
		alt.settle()
		p.candidates = append(p.candidates, alt)
	}
	for i := range ans.Paths[:min(len(ans.Paths), len(p.candidates))] {
		p.candidates[i].measured(ans.Paths[i])
	}
	for i := range ans.Costs[:min(len(ans.Costs), len(p.candidates))] {
		p.candidates[i].costs(ans.Costs[i])
	}
	first.race = ans.Race && len(p.candidates) > 1
	p.choose()
	return p
}

// direct gives c the dialled address, if the target is an address and not a name.
func (t *target) direct(c *candidate) {
	if len(c.addrs) == 0 && t.suits(t.literal, c.local) {
		c.addrs = []netip.AddrPort{netip.AddrPortFrom(t.literal, t.port)}
	}
}

// suits tells whether remote has the family that the network and the local address
// require.
func (t *target) suits(remote, local netip.Addr) bool {
	switch {
	case !remote.IsValid():
		return false
	case t.family == wire.AFInet && !remote.Is4(), t.family == wire.AFInet6 && !remote.Is6():
		return false
	case t.bound.IsValid() && !t.bound.Addr().IsUnspecified() && t.bound.Addr().Unmap().Is4() != remote.Is4():
		return false
	}
	return !local.IsValid() || local.Is4() == remote.Is4()
}

// addresses picks the entries of a result that suit. The port is that of the dial,
// because some entries carry none.
func (t *target) addresses(list []wire.AddrInfo, local netip.Addr) []netip.AddrPort {
	var addrs []netip.AddrPort
	for i := range list {
		a := list[i].Addr.AddrPort.Addr().Unmap()
		if list[i].Type != 0 && list[i].Type != t.typ || !t.suits(a, local) {
			continue
		}
		if ap := netip.AddrPortFrom(a, t.port); !slices.Contains(addrs, ap) {
			addrs = append(addrs, ap)
		}
	}
	return addrs
}
