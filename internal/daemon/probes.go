package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/probe"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// probeTimeout bounds a probe. It suffices for three tries at a name server, or for a
// page over a slow network.
const probeTimeout = 4 * time.Second

// longWait is the setting of a timer that waits for nothing.
const longWait = time.Hour

// probed is a prefix that may be probed.
type probed struct {
	id     policy.PrefixID
	source netip.Addr
	device string
	own    *lookup // its resolver; nil: the default one
	local  func(netip.Addr) bool
	costs  bool // its traffic is paid for by its amount
}

// probable lists the prefixes that may be probed, with their resolvers. local tells
// whether an address belongs to the host.
func probable(list []managed, lookups map[policy.PrefixID]mam.Resolver, local func(netip.Addr) bool) []probed {
	out := make([]probed, len(list))
	for i := range list {
		p := &list[i].prefix
		out[i] = probed{id: p.ID, source: p.Addr(), device: list[i].device, local: local, costs: p.Cost > policy.Free}
		if own, ok := lookups[p.ID].(lookup); ok {
			out[i].own = &own
		}
	}
	return out
}

// job is a probe that is due.
type job struct {
	id   policy.PrefixID
	stay uint64 // number of the stay that the probe tests
	run  func(context.Context) error
}

// lastProbe is the latest probe of a prefix.
type lastProbe struct {
	stay  uint64
	ended time.Time // zero: it is still running
	count int       // of the probes in this doubt
}

// next is the probe that begins after l.
func (l lastProbe) next(stay uint64) lastProbe {
	if l.stay != stay {
		l.count = 0
	}
	return lastProbe{stay: stay, count: l.count + 1}
}

// pause is how long to wait after a probe. Where probes cost something a doubt that stays is
// settled: the first two have confirmed it, and the next ones only tell when the network
// works again.
func (l lastProbe) pause(interval time.Duration, costs bool) time.Duration {
	const longest = 2 // doublings; it may be the only network, so its recovery is not missed for long
	if !costs || l.count < 2 {
		return interval
	}
	return interval << min(l.count-1, longest)
}

// probes returns the probes that are due, given the last ones, and how long to wait
// before the next call. It makes them without the lock, because a file may name the
// servers to ask, and reading it may take long.
func (h *healthWatch) probes(last map[policy.PrefixID]lastProbe) (jobs []job, wait time.Duration) {
	due, target, wait := h.due(last)
	for i := range due {
		d := &due[i]
		if run := d.probe(target, h.unbound); run != nil {
			jobs = append(jobs, job{d.id, d.stay, run})
		}
	}
	return jobs, wait
}

// dueProbe is a prefix to be probed now, in a stay.
type dueProbe struct {
	probed
	stay uint64
}

// due returns the prefixes to be probed, how, and how long to wait before the next call.
func (h *healthWatch) due(last map[policy.PrefixID]lastProbe) (list []dueProbe, target config.ProbeTarget, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	wait = longWait
	if !h.rejudge.IsZero() {
		wait = min(wait, max(h.rejudge.Sub(now), 0))
	}
	present := map[policy.PrefixID]bool{}
	for _, p := range h.prefixes {
		present[p.id] = true
		if !h.wantedLocked(&p) {
			if before, known := last[p.id]; known {
				before.count = 0
				last[p.id] = before
			}
			continue
		}
		stay := h.stays[p.id].number
		if before, known := last[p.id]; known && before.stay == stay {
			if before.ended.IsZero() {
				continue
			}
			if rest := before.ended.Add(before.pause(h.how.Interval, p.costs)).Sub(now); rest > 0 {
				wait = min(wait, rest)
				continue
			}
		}
		list = append(list, dueProbe{p, stay})
	}
	for id := range last {
		if !present[id] {
			delete(last, id)
		}
	}
	return list, h.how.Target, wait
}

// wantedLocked tells whether a prefix is to be probed: where that costs something only in
// doubt.
func (h *healthWatch) wantedLocked(p *probed) bool {
	switch h.how.When {
	case config.ProbeNever:
		return false
	case config.ProbeAlways:
		if !p.costs {
			return true
		}
	}
	return slices.Contains(h.doubtful, p.id)
}

// probe returns a function that probes a prefix, nil if there is nothing to probe with.
// If the prefix has no resolver of its own, the function asks unbound for names.
func (p *probed) probe(target config.ProbeTarget, unbound lookup) func(context.Context) error {
	via := probe.Via{Source: p.source, Device: p.device}
	switch {
	case target.TCP.IsValid():
		if target.TCP.Addr().Is4() != via.Source.Is4() {
			return nil
		}
		return func(ctx context.Context) error { return probe.TCP(ctx, via, target.TCP) }
	case target.HTTP != "":
		names := unbound
		if p.own != nil {
			names = *p.own
		}
		family := policy.IPv6
		if p.source.Is4() {
			family = policy.IPv4
		}
		via.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			a, err := names.Lookup(ctx, host, family)
			return a.Addrs, err
		}
		return func(ctx context.Context) error { return probe.HTTP(ctx, via, target.HTTP) }
	}
	if p.own == nil {
		return nil
	}
	// A name server on this host answers even if the network does not work, so it
	// proves nothing.
	servers := slices.DeleteFunc(slices.Clone(p.own.Servers()), func(s netip.AddrPort) bool {
		return s.Addr().Is4() != via.Source.Is4() || p.local(s.Addr()) != via.Source.IsLoopback()
	})
	if len(servers) == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		if err := probe.DNS(ctx, via, servers); err != nil {
			return fmt.Errorf("name servers: %w", err)
		}
		return nil
	}
}
