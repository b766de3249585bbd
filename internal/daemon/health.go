package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/health"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// maxReports bounds the reports that wait. Further ones are dropped, because later
// reports say the same.
const maxReports = 256

// healthWatch judges the health of the managed prefixes. Its evidence is what the
// kernel says about them, how clients' connects end, how connections proceed, and
// probes. It is safe for concurrent use. All methods but run and probes return at once.
type healthWatch struct {
	log     *slog.Logger
	unbound lookup
	changed func() // called by run when the judgement has changed; no lock is held

	reports  chan mam.Record // clients' reports that wait
	silences chan silence    // of networks that clients' datagrams have left
	poked    chan struct{}   // one slot; makes run look at the state

	mu       sync.Mutex
	tracker  health.Tracker
	stays    map[policy.PrefixID]stay // of each managed prefix
	begun    uint64                   // number of the latest stay
	how      config.Probe
	prefixes []probed
	doubtful []policy.PrefixID
	rejudge  time.Time // when time alone may next change the judgement; zero: never
	current  judgement
}

// stay is the time in which a network has its prefix. A new network with the same
// prefix, or the return of a link, begins a new stay. Evidence from an earlier stay,
// such as a probe that began then, does not count in a later one.
type stay struct {
	number  uint64
	since   time.Time
	offered time.Time // since when requests are decided with it; zero: they are not yet
}

// judgement is the present conclusion of a healthWatch. Its maps must not be changed.
type judgement struct {
	health map[policy.PrefixID]policy.Health // of each managed prefix
	avoid  map[uint32][]policy.PrefixID      // by user id, in the form of mam.View
	// claimed holds those that are down only because users say so.
	claimed map[policy.PrefixID]bool
}

func newHealthWatch(unbound lookup, changed func(), log *slog.Logger) *healthWatch {
	return &healthWatch{
		log: log, unbound: unbound, changed: changed,
		reports: make(chan mam.Record, maxReports), silences: make(chan silence, maxReports), poked: make(chan struct{}, 1),
	}
}

// judgement returns the latest judgement.
func (h *healthWatch) judgement() judgement {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// networks takes over the managed prefixes, and how to probe them. The caller then
// publishes a View with them, and calls offered after that.
func (h *healthWatch) networks(now time.Time, how config.Probe, list []managed, nets *netmon.Snapshot, lookups map[policy.PrefixID]mam.Resolver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.how, h.prefixes = how, probable(list, lookups, local(nets))
	stays := make(map[policy.PrefixID]stay, len(list))
	for i := range list {
		stays[list[i].prefix.ID] = h.stays[list[i].prefix.ID]
	}
	for _, id := range h.tracker.Networks(now, networks(list, nets)) {
		h.begun++
		stays[id] = stay{number: h.begun, since: now}
	}
	h.stays = stays
	h.judgeLocked(now)
	h.poke() // there may be other probes to make now
}

// offered notes that requests are now decided with the networks of the last call of
// networks.
func (h *healthWatch) offered(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, s := range h.stays {
		if s.offered.IsZero() {
			s.offered = now
			h.stays[id] = s
		}
	}
}

// flows takes what the kernel has shown about connections in a pass.
func (h *healthWatch) flows(now, seen time.Time, flows map[policy.PrefixID]pathstat.Flow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.prefixes {
		if seen.Before(h.stays[p.id].since) {
			continue
		}
		f, ok := flows[p.id]
		if !ok {
			f.Heard = -1
		}
		h.tracker.Flow(p.id, health.Flow{Stalled: f.Stalled, Heard: f.Heard})
	}
	h.judgeLocked(now)
}

// reported takes a client's report. It drops the report if too many wait.
func (h *healthWatch) reported(rec mam.Record) {
	select {
	case h.reports <- rec:
	default:
	}
}

// silence is a network over which a destination did not answer a client's datagrams any
// more, while it did over another one.
type silence struct {
	health.Connect
	at time.Time // when it was reported
}

// flow takes what a client reports of its datagrams. It drops it if too many wait.
func (h *healthWatch) flow(f *mam.FlowReport) {
	if !f.Silent {
		return
	}
	select {
	case h.silences <- silence{health.Connect{Prefix: f.Over, UID: f.App.UID, Remote: f.Remote.Addr().String(), Elsewhere: true}, time.Now()}:
	default:
	}
}

// networks converts the managed prefixes to the form that package health needs.
func networks(list []managed, nets *netmon.Snapshot) []health.Network {
	out := make([]health.Network, len(list))
	for i := range list {
		p := &list[i].prefix
		out[i] = health.Network{ID: p.ID, Index: p.Index, Doubt: list[i].doubt, Portal: list[i].portal, Costs: p.Cost > policy.Free}
		n := nets.PrefixOn(p.Index, p.CIDR)
		if n == nil {
			continue // happens only in tests: both come from one snapshot
		}
		out[i].Running = n.Running
		out[i].Far = n.Scope == netmon.ScopeGlobal && !n.Loopback && !n.OwnLink
		if n.Refused != oracle.NoRoute {
			out[i].Refused = n.Refused.String()
		}
		out[i].Default = n.HasDefault
		if n.HasDefault {
			out[i].Gateway = fmt.Sprintf("%v, stay %d", n.Gateway, list[i].stay)
		}
	}
	return out
}

// judgeLocked brings the judgement up to date, and tells whether it has changed.
func (h *healthWatch) judgeLocked(now time.Time) (changed bool) {
	r := h.tracker.Report(now)
	for _, p := range h.prefixes {
		// A new prefix has no earlier judgement.
		if old, next := h.current.health[p.id], r.Health[p.id]; old != next {
			changed = true
			h.logChange(p.id, old, next)
		}
	}
	if !maps.EqualFunc(h.current.avoid, r.Avoid, sameIDs) || !maps.Equal(h.current.claimed, r.Claimed) {
		changed = true
	}
	h.current = judgement{health: r.Health, avoid: r.Avoid, claimed: r.Claimed}
	h.doubtful = r.Doubtful
	if !h.rejudge.Equal(r.Next) {
		h.rejudge = r.Next
		h.poke()
	}
	if len(r.Doubtful) > 0 {
		h.poke()
	}
	return changed
}

func sameIDs(a, b []policy.PrefixID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id policy.PrefixID) bool { return !slices.Contains(b, id) })
}

func (h *healthWatch) logChange(id policy.PrefixID, old, now policy.Health) {
	if old.State == now.State {
		return
	}
	if now.State == policy.Up {
		h.log.Info("prefix is up", "prefix", id.Prefix, "iface", id.Interface)
		return
	}
	h.log.Warn("prefix is "+now.State.String(), "prefix", id.Prefix, "iface", id.Interface, "reason", now.Reason)
}

// poke makes run look at the state again.
func (h *healthWatch) poke() {
	select {
	case h.poked <- struct{}{}:
	default:
	}
}

// run handles reports, makes probes, and looks again when time may have changed the
// judgement, until ctx ends.
func (h *healthWatch) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	results := make(chan result)
	last := map[policy.PrefixID]lastProbe{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case rec := <-h.reports:
			h.heard(&rec)
		case s := <-h.silences:
			h.update(func(now time.Time) {
				if at := h.stays[s.Prefix]; !at.offered.IsZero() && !s.at.Before(at.offered) {
					h.tracker.Connect(now, s.Connect)
				}
			})
		case r := <-results:
			if last[r.id].stay == r.stay {
				last[r.id] = lastProbe{r.stay, time.Now(), last[r.id].count}
			}
			h.took(r)
		case <-timer.C:
			h.update(func(time.Time) {})
		case <-h.poked:
		}
		jobs, wait := h.probes(last)
		for _, job := range jobs {
			last[job.id] = last[job.id].next(job.stay)
			g.Go(func() error {
				limited, cancel := context.WithTimeout(ctx, probeTimeout)
				defer cancel()
				err := job.run(limited)
				select {
				case results <- result{job, err}:
				case <-ctx.Done():
				}
				return nil
			})
		}
		timer.Reset(wait)
	}
}

// result is the result of a probe.
type result struct {
	job
	err error
}

// took takes the result of a probe, if the probed network is still there.
func (h *healthWatch) took(r result) {
	h.update(func(time.Time) {
		if h.stays[r.id].number != r.stay {
			return
		}
		p := health.Probe{OK: r.err == nil}
		if r.err != nil {
			p.Reason = r.err.Error()
		}
		h.tracker.Probe(r.id, p)
	})
}

// heard takes a client's report, but only what concerns networks that are still there.
func (h *healthWatch) heard(rec *mam.Record) {
	h.update(func(now time.Time) {
		for _, c := range connects(rec) {
			if s := h.stays[c.Prefix]; !s.offered.IsZero() && !rec.Time.Before(s.offered) {
				h.tracker.Connect(now, c)
			}
		}
	})
}

// update applies a change to the tracker, and reports a changed judgement.
func (h *healthWatch) update(change func(now time.Time)) {
	h.mu.Lock()
	now := time.Now()
	change(now)
	changed := h.judgeLocked(now)
	h.mu.Unlock()
	if changed {
		h.changed()
	}
}
