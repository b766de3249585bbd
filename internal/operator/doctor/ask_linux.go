package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/probe"
)

// Asked counts questions to gateways and name servers while they run.
type Asked struct {
	All  atomic.Int64 // questions begun
	Done atomic.Int64 // questions answered or given up
}

// question counts f as a question.
func (a *Asked) question(f func()) func() error {
	if a != nil {
		a.All.Add(1)
	}
	return func() error {
		f()
		if a != nil {
			a.Done.Add(1)
		}
		return nil
	}
}

// askTime bounds each question to a gateway. Neighbours answer within milliseconds. The
// kernel gives up looking for a neighbour after three seconds (retrans_time_ms,
// ucast_solicit and mcast_solicit).
const askTime = 3500 * time.Millisecond

// ask asks gateways and name servers, all at the same time.
func (c *collection) ask(ctx context.Context) {
	o := c.o
	var g errgroup.Group
	for i := range c.facts.Prefixes {
		p := &c.facts.Prefixes[i]
		if !p.Link {
			continue
		}
		g.Go(o.Asked.question(func() { o.askGateway(ctx, p, c.nets) }))
		for j := range p.Servers {
			g.Go(o.Asked.question(func() { o.askServer(ctx, p, &p.Servers[j]) }))
		}
	}
	_ = g.Wait() // a failed question is a fact, too
}

func (o *Options) via(p *Prefix) probe.Via {
	v := probe.Via{Source: p.Addr, Dial: o.Dial}
	// This is what mamma does: with a bound device, the kernel skips rules that refuse.
	if p.Far && p.Egress != p.ID.Interface {
		v.Device = p.ID.Interface
	}
	return v
}

func (o *Options) askServer(ctx context.Context, p *Prefix, s *Server) {
	if err := probe.DNS(ctx, o.via(p), []netip.AddrPort{s.Addr}); err != nil {
		s.Error = reason(err)
	}
}

// askGateway tests whether a gateway answers. First it sends a datagram, which shows
// whether a packet filter of this host lets packets out. Then it connects to the port
// that gateways serve most often. A gateway that refuses the connection has answered,
// too.
func (o *Options) askGateway(ctx context.Context, p *Prefix, nets *netmon.Snapshot) {
	if !p.Gateway.IsValid() || p.Gateway.Is4() != p.Addr.Is4() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	to, v := p.Gateway, o.via(p)
	if to.IsLinkLocalUnicast() {
		// From a global address, the gateway's answer would have to be routed.
		to = to.WithZone(p.ID.Interface)
		own := slices.IndexFunc(nets.Prefixes(), func(q netmon.Prefix) bool {
			return q.Interface == p.ID.Interface && q.Prefix.Addr().Is6() && q.Scope == netmon.ScopeLink
		})
		if own < 0 {
			return
		}
		v.Source = nets.Prefixes()[own].Addrs[0].WithZone(p.ID.Interface)
	}
	const dnsPort = 53
	at := netip.AddrPortFrom(to, dnsPort)
	err := probe.Datagram(ctx, v, at)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		err = probe.TCP(ctx, v, at)
	}
	switch {
	case err == nil, errors.Is(err, unix.EHOSTUNREACH) && o.neighbour(p.ID.Interface, p.Gateway, nets):
		p.GatewayState = GatewayAnswers
		return
	case errors.Is(err, unix.EHOSTUNREACH):
		p.GatewayState = GatewayUnreachable
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EINVAL):
		p.GatewayState = GatewayFiltered
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		p.GatewayState = GatewaySilent
	default:
		return
	}
	p.GatewayError = reason(err)
}

// neighbour tells whether the link-layer address of a gateway is known. If so, the
// gateway itself has refused, by an ICMP message as firewalls send (RFC 1122, section
// 3.2.2.1). This must be asked because the kernel returns the same error for a
// neighbour that it does not find.
func (o *Options) neighbour(iface string, gateway netip.Addr, nets *netmon.Snapshot) bool {
	l, ok := nets.LinkByName(iface)
	if !ok {
		return false
	}
	ns := netns.None()
	if o.Namespace != 0 {
		ns = netns.NsHandle(o.Namespace)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer h.Close()
	list, err := h.NeighList(l.Index, netlink.FAMILY_ALL)
	return err == nil && slices.ContainsFunc(list, func(n netlink.Neigh) bool {
		a, _ := netip.AddrFromSlice(n.IP)
		const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP
		return a.Unmap() == gateway.WithZone("") && n.State&known != 0
	})
}

// reason returns the end of an error's text, without the addresses, which are shown
// elsewhere.
func reason(err error) string {
	var e *net.OpError
	if errors.As(err, &e) {
		if e.Timeout() {
			return "no answer in time"
		}
		return e.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
