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

// probeTimeout bounds a probe: three tries at a name server, or a page over a
// slow network.
const probeTimeout = 4 * time.Second

// longWait is for timers with nothing to wait for.
const longWait = time.Hour

// probed is a prefix that may be probed.
type probed struct {
	id     policy.PrefixID
	source netip.Addr
	device string
	own    *lookup // its resolver; nil: the default one
	local  func(netip.Addr) bool
}

// probable lists the prefixes, with their resolvers. local tells which addresses are
// the host's.
func probable(list []managed, lookups map[policy.PrefixID]mam.Resolver, local func(netip.Addr) bool) []probed {
	out := make([]probed, len(list))
	for i := range list {
		p := &list[i].prefix
		out[i] = probed{id: p.ID, source: p.Addr(), device: list[i].device, local: local}
		if own, ok := lookups[p.ID].(lookup); ok {
			out[i].own = &own
		}
	}
	return out
}

// job is a probe to run.
type job struct {
	id   policy.PrefixID
	stay uint64 // number of the stay that it is about
	run  func(context.Context) error
}

// lastProbe is the latest probe of a prefix.
type lastProbe struct {
	stay  uint64
	ended time.Time // zero: it is under way
}

// probes tells what is to be probed now, after the last ones, and when to look again.
func (h *healthWatch) probes(last map[policy.PrefixID]lastProbe) (jobs []job, wait time.Duration) {
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
		if !h.wantedLocked(p.id) {
			continue
		}
		stay := h.stays[p.id].number
		if before, known := last[p.id]; known && before.stay == stay {
			if before.ended.IsZero() {
				continue
			}
			if rest := before.ended.Add(h.how.Interval).Sub(now); rest > 0 {
				wait = min(wait, rest)
				continue
			}
		}
		if run := p.probe(h.how.Target, h.unbound); run != nil {
			jobs = append(jobs, job{p.id, stay, run})
		}
	}
	for id := range last {
		if !present[id] {
			delete(last, id)
		}
	}
	return jobs, wait
}

func (h *healthWatch) wantedLocked(id policy.PrefixID) bool {
	switch h.how.When {
	case config.ProbeNever:
		return false
	case config.ProbeAlways:
		return true
	}
	return slices.Contains(h.doubtful, id)
}

// probe makes the probe of a prefix, which asks unbound for names if the prefix
// has no resolver of its own; nil if there is nothing to probe by.
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
	// A server that runs on this host answers whatever the network does.
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
