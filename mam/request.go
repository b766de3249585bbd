package mam

import (
	"math"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// kindOf maps a request's action to the kind of question for the policy. The
// original's fall-back action never leaves its library, so it is unknown here
// (doc/original/daemon.md D19).
func kindOf(a wire.Action) (policy.Kind, bool) {
	switch a {
	case wire.ActionConnectRequest:
		return policy.Connect, true
	case wire.ActionResolveRequest:
		return policy.Resolve, true
	case wire.ActionSocketConnectRequest:
		return policy.SocketConnect, true
	case wire.ActionSocketChooseRequest:
		return policy.SocketChoose, true
	}
	return 0, false
}

// request is one request of a client from arrival to answer: the message, the question
// to the policy, and the result. Its memory is reused for the client's next request.
type request struct {
	view    *View
	asked   policy.Request
	sockets []policy.Socket
	list    []*policy.Prefix     // memory for narrowed candidates, reused
	dests   []policy.PathStats   // memory for figures of the destination, reused
	conns   []policy.Connections // memory for connection counts of the asking program, reused
	passive bool                 // AI_PASSIVE was set in the hint
	// mapped tells that the IPv6 socket speaks to an IPv4-mapped address. Suggested
	// addresses must then be mapped, too.
	mapped bool
	// source is the address that the kernel would use towards the destination, if a
	// specific route leads there. It is invalid otherwise.
	source netip.Addr

	seen  seen // generations when work on the request began
	named bool // the destination is a name
	// line is the text for the policy's log file, logFile. It is written when the
	// decision is final: the policy may be asked twice for one request, which still
	// gets one line.
	line, logFile string

	origin    *Origin // as claimed, nil if not said
	inode     uint64  // of the socket, as the client says; 0: not said
	reports   bool    // the client will report the outcome
	transfers bool    // the client will report what the connection brings

	decision policy.Decision
	fallback string        // why the policy's decision is not used; "": it is used
	refused  bool          // the decision refuses the connection
	took     time.Duration // from the request's arrival to the decision
	result   Result        // the resolver's, once it was asked

	selection *selection // which networks the application permits and prefers; nil: not said
	selected  bool       // the decision has Only set because of the selection
}

// fill turns a client's message into the question for the policy.
func (rq *request) fill(m *wire.Message, kind policy.Kind, app policy.App, v *View, now time.Time) {
	c := &m.Context
	rq.clear(m)
	rq.selection = nil
	if kind != policy.Resolve { // in a Resolve, it names the network of an earlier decision
		rq.selection = selectionOf(m)
	}
	rq.look(v)
	v = rq.view
	rq.asked = policy.Request{
		Kind:    kind,
		Intents: m.Intents(),
		Network: policy.Network{Family: family(c.Domain)},
		Host:    c.Hostname,
		Service: c.Service,
		Bound:   addr(c.BindRequested),
		App:     app,
		Now:     now,
	}
	r := &rq.asked
	rq.passive = hint(c).Flags&aiPassive != 0
	if len(c.Hint) > 0 {
		if f := family(c.Hint[0].Family); r.Network.Family == policy.Unspecified || kind == policy.Resolve {
			r.Network.Family = f
		}
	}
	if c.Type == wire.SockDgram || c.Type == 0 && len(c.Hint) > 0 && c.Hint[0].Type == wire.SockDgram {
		r.Network.Transport = policy.Datagram
	}
	dst := rq.destination(c)
	if r.Bound.IsValid() {
		r.BoundPrefix = v.prefixOf(r.Bound)
		if r.Network.Family == policy.Unspecified && !r.Bound.IsUnspecified() {
			r.Network.Family = policy.FamilyOf(r.Bound.Unmap()) // a bound socket connects only within its family
		}
	}
	if kind != policy.Connect && hint(c).Flags&aiAddrConfig != 0 {
		r.Network.Family = v.addrConfig(r.Network.Family)
	}
	rq.idle(m.Sockets)
	f := r.Network.Family
	if f == policy.Unspecified { // an address in place of a name tells the family
		f = policy.FamilyOf(dst)
	}
	rq.narrow(f, dst)
	rq.selectSockets()
}

// clear forgets the request that the memory was used for before, and takes from the
// message what the policy is not told.
func (rq *request) clear(m *wire.Message) {
	rq.selected, rq.mapped, rq.named, rq.refused = false, false, false, false
	rq.decision, rq.fallback, rq.took, rq.result = policy.Decision{}, "", 0, Result{}
	rq.line, rq.logFile = "", ""
	rq.origin, rq.inode, rq.reports = nil, m.Context.Inode, m.Features&wire.FeatureReports != 0
	rq.transfers = rq.reports && m.Features&wire.FeatureTransfers != 0
	if m.Features&wire.FeatureOrigin != 0 && m.Origin != nil {
		rq.origin = &Origin{UID: m.Origin.UID, PID: m.Origin.PID, Command: m.Origin.Command, Source: m.Origin.Source}
	}
}

// destination notes where the connection goes. It returns the address, which is invalid
// for a name.
func (rq *request) destination(c *wire.Context) (dst netip.Addr) {
	r := &rq.asked
	if r.Kind != policy.Connect {
		r.Port, _ = number(c.Service)
		a, literal := rq.view.literal(c.Hostname)
		if literal {
			dst = a.Unmap()
		}
		rq.named = !literal
		return dst
	}
	if c.Remote.IsValid() {
		r.Remote = c.Remote.AddrPort
		dst = r.Remote.Addr()
		if dst.Is4In6() {
			dst = dst.Unmap()
			r.Remote = netip.AddrPortFrom(dst, r.Remote.Port())
			rq.mapped = true
		}
		r.Network.Family = policy.FamilyOf(dst)
		r.Port = r.Remote.Port()
	}
	return dst
}

// idle lists the client's idle connections that still work, for a SocketChoose.
func (rq *request) idle(list []wire.SetMember) {
	rq.sockets = rq.sockets[:0]
	if rq.asked.Kind == policy.SocketChoose {
		for i := range list {
			s := &list[i]
			local := addr(s.Context.BindSuggested)
			if !local.IsValid() {
				local = addr(s.Context.BindRequested)
			}
			p := rq.view.prefixOf(local)
			if rq.view.dead(local, p, rq.asked.App.UID) {
				continue
			}
			rq.sockets = append(rq.sockets, policy.Socket{FD: s.FD, Local: local, Prefix: p, Multipath: multipath(&s.Context)})
		}
	}
	rq.asked.Sockets = rq.sockets
}

// resolves tells whether the request only looks up a name.
func (rq *request) resolves() bool { return rq.asked.Kind == policy.Resolve }

// narrow sets the candidates for destination dst: prefixes of family f that reach dst
// and that work for this user. It also looks up what was measured on the paths to dst.
func (rq *request) narrow(f policy.Family, dst netip.Addr) {
	r := &rq.asked
	reach := rq.view.reach(Flow{Dst: dst, User: r.App.UID, Transport: r.Network.Transport, Port: r.Port})
	rq.source = reach.Source
	if r.Prefixes = rq.view.serving(f, dst, r.Port, reach); len(r.Prefixes) == 0 {
		r.Prefixes = rq.view.candidates(rq.list, f, dst, reach, r.App.UID)
	}
	if n := len(r.Prefixes); n > 0 && cap(rq.list) < n {
		rq.list = make([]*policy.Prefix, 0, n) // kept for the next request
	}
	r.StandIn = rq.view.standIn(r.Prefixes, f, dst, reach)
	r.Aside = len(r.Prefixes) == 0 && (reach.Specific || rq.toItself())
	r.DestStats = nil
	if dst.IsValid() && rq.view.Destinations != nil && len(r.Prefixes) > 0 {
		rq.dests = rq.dests[:0]
		for _, p := range r.Prefixes {
			stats := rq.view.Destinations.Destination(p.ID, dst)
			if rq.view.Reports != nil && knownUser(r.App) {
				stats = rq.view.Reports.With(stats, r.App.UID, p.ID, dst)
			}
			rq.dests = append(rq.dests, stats)
		}
		r.DestStats = rq.dests
	}
	r.Connections = nil
	if rq.view.Connections != nil && len(r.Prefixes) > 0 && knownUser(r.App) {
		rq.conns = rq.view.Connections.Count(rq.conns[:0], r.Prefixes, r.App)
		if len(rq.conns) == len(r.Prefixes) {
			r.Connections = rq.conns
		}
	}
}

// knownUser tells whether the daemon knows which user asks.
func knownUser(a policy.App) bool { return (a.UID != 0 || a.PID != 0) && userid.Known(a.UID) }

// The original ran on a kernel in which this socket option switched MPTCP on. A socket
// that such a client has stored may still carry the option.
const (
	solTCP          = 6
	oldMPTCPEnabled = 42
)

// multipath tells whether a stored socket was opened with MPTCP.
func multipath(c *wire.Context) bool {
	if c.Protocol == wire.ProtoMPTCP {
		return true
	}
	for _, o := range c.OptionsSuggested {
		if o.Level == solTCP && o.Name == oldMPTCPEnabled && len(o.Value) > 0 && o.Value[0] != 0 {
			return true
		}
	}
	return false
}

func family(domain int32) policy.Family {
	switch domain {
	case wire.AFInet:
		return policy.IPv4
	case wire.AFInet6:
		return policy.IPv6
	}
	return policy.Unspecified
}

func domain(f policy.Family) int32 {
	switch f {
	case policy.IPv4:
		return wire.AFInet
	case policy.IPv6:
		return wire.AFInet6
	}
	return wire.AFUnspec
}

func addr(a wire.SockAddr) netip.Addr {
	if !a.IsValid() {
		return netip.Addr{}
	}
	return a.AddrPort.Addr()
}

func milliseconds(n uint32) time.Duration {
	return time.Duration(min(uint64(n), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}
