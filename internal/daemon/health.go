package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/health"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/network/probe"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxReports is how many reports of clients may wait; more are dropped, as
	// the next ones tell the same.
	maxReports = 256
	// probeTimeout bounds a probe: three tries at a name server, or a page over a
	// slow network.
	probeTimeout = 4 * time.Second
	// slowRTT is from which round-trip time on a prefix is slow by nature: that a
	// connect did not finish within the attempt delay (RFC 8305 section 8) tells
	// nothing then.
	slowRTT = 200 * time.Millisecond
)

// networks is what health needs to know of the managed prefixes.
func networks(list []managed, nets *netmon.Snapshot) []health.Network {
	out := make([]health.Network, len(list))
	for i := range list {
		p := &list[i].prefix
		out[i] = health.Network{ID: p.ID, Index: p.Index}
		n := nets.PrefixWith(p.Addr())
		if n == nil || n.Index != p.Index {
			continue // only in tests: both are of one snapshot
		}
		out[i].Running = n.Running
		out[i].Far = n.Scope == netmon.ScopeGlobal && !n.Loopback
		out[i].Default = n.HasDefault
		if n.HasDefault {
			out[i].Gateway = n.Gateway.String()
		}
	}
	return out
}

// judgeLocked brings the health of the managed prefixes up to date and tells
// whether anything changed.
func (d *Daemon) judgeLocked(now time.Time) (changed bool) {
	r := d.tracker.Report(now)
	for i := range d.list {
		h := &d.list[i].prefix.Health
		next := r.Health[d.list[i].prefix.ID]
		if *h != next {
			changed = true
			d.logHealth(d.list[i].prefix.ID, *h, next)
		}
		*h = next
	}
	if !maps.EqualFunc(d.avoid, r.Avoid, sameIDs) {
		d.avoid, changed = r.Avoid, true
	}
	d.doubtful = r.Doubtful
	if !d.rejudge.Equal(r.Next) {
		d.rejudge = r.Next
		d.poke()
	}
	if len(r.Doubtful) > 0 {
		d.poke()
	}
	return changed
}

// poke makes watchHealth look at the state again.
func (d *Daemon) poke() {
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

func sameIDs(a, b []policy.PrefixID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id policy.PrefixID) bool { return !slices.Contains(b, id) })
}

func (d *Daemon) logHealth(id policy.PrefixID, old, now policy.Health) {
	if old.State == now.State {
		return
	}
	if now.State == policy.Up {
		d.log.Info("prefix is up", "prefix", id.Prefix, "iface", id.Interface)
		return
	}
	d.log.Warn("prefix is "+now.State.String(), "prefix", id.Prefix, "iface", id.Interface, "reason", now.Reason)
}

// flowsLocked passes on what the kernel shows of connections.
func (d *Daemon) flowsLocked(s *pathstat.Snapshot) {
	for i := range d.list {
		id := d.list[i].prefix.ID
		f, ok := s.Flows[id]
		if !ok {
			f.Heard = -1
		}
		d.tracker.Flow(id, health.Flow{Stalled: f.Stalled, Heard: f.Heard})
	}
}

// reported is called with each report of a client, and must return at once.
func (d *Daemon) reported(rec mam.Record) {
	d.metrics.Reported(&rec)
	if paths := d.paths.Load(); paths != nil {
		paths.Reported(rec)
	}
	select {
	case d.reports <- rec:
	default:
	}
}

// connects tells what a report says about prefixes. Clients report each attempt
// that failed and the one that won. A failure alone may be the destination's;
// that another prefix won where one did not counts against the latter.
func connects(rec *mam.Record) []health.Connect {
	o := rec.Outcome
	if o == nil || rec.Decision.Prefix == nil || rec.Reused || rec.Bound.IsValid() {
		return nil
	}
	candidates := append([]*policy.Prefix{rec.Decision.Prefix}, rec.Decision.Alternates...)
	remote := rec.Host
	if rec.Remote.IsValid() {
		remote = rec.Remote.Addr().String()
	}
	about := func(p *policy.Prefix) health.Connect {
		return health.Connect{Prefix: p.ID, UID: rec.App.UID, Remote: remote}
	}
	n := int(o.Candidate)
	if n >= len(candidates) || n < -1 {
		return nil
	}
	if o.Errno != 0 {
		c := health.Connect{}
		if n >= 0 {
			c = about(candidates[n])
		}
		switch unix.Errno(o.Errno) {
		case unix.ECONNREFUSED, unix.ECONNRESET: // an answer
			c.OK = true
		case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// With alternates the report of the winner tells more.
			if len(candidates) > 1 {
				return nil
			}
		default:
			return nil
		}
		if n < 0 {
			return nil
		}
		return []health.Connect{c}
	}
	lost := candidates // plain dialling comes last
	var out []health.Connect
	if n >= 0 {
		lost = candidates[:n]
		c := about(candidates[n])
		c.OK = true
		out = append(out, c)
	}
	for _, p := range lost {
		if p.Stats.SRTTMin > slowRTT {
			continue
		}
		c := about(p)
		c.Elsewhere = true
		out = append(out, c)
	}
	return out
}

// watchHealth takes reports, probes, and looks again at what time changes.
func (d *Daemon) watchHealth(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	type result struct {
		id  policy.PrefixID
		err error
	}
	results := make(chan result)
	last := map[policy.PrefixID]time.Time{} // zero: a probe is under way
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case rec := <-d.reports:
			d.update(func(now time.Time) {
				for _, c := range connects(&rec) {
					d.tracker.Connect(now, c)
				}
			})
		case r := <-results:
			last[r.id] = time.Now()
			d.update(func(time.Time) {
				p := health.Probe{OK: r.err == nil}
				if r.err != nil {
					p.Reason = r.err.Error()
				}
				d.tracker.Probe(r.id, p)
			})
		case <-timer.C:
			d.update(func(time.Time) {})
		case <-d.poked:
		}
		jobs, wait := d.probes(last)
		for _, job := range jobs {
			last[job.id] = time.Time{}
			g.Go(func() error {
				limited, cancel := context.WithTimeout(ctx, probeTimeout)
				defer cancel()
				err := job.run(limited)
				select {
				case results <- result{job.id, err}:
				case <-ctx.Done():
				}
				return nil
			})
		}
		timer.Reset(wait)
	}
}

// update changes the tracker and publishes what follows.
func (d *Daemon) update(change func(now time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	change(now)
	if d.judgeLocked(now) {
		d.publishLocked()
	}
}

// job is a probe to run.
type job struct {
	id  policy.PrefixID
	run func(context.Context) error
}

// longWait is for timers with nothing to wait for.
const longWait = time.Hour

// probes tells what is to be probed now, last being when that happened, and
// when to look again.
func (d *Daemon) probes(last map[policy.PrefixID]time.Time) (jobs []job, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	wait = longWait
	if !d.rejudge.IsZero() {
		wait = min(wait, max(d.rejudge.Sub(now), 0))
	}
	present := map[policy.PrefixID]bool{}
	for i := range d.list {
		m := &d.list[i]
		id := m.prefix.ID
		present[id] = true
		if !d.wantProbe(m) {
			continue
		}
		at, known := last[id]
		if known && at.IsZero() {
			continue
		}
		if rest := at.Add(d.cfg.Probe.Interval).Sub(now); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		if run := d.probeOf(m); run != nil {
			jobs = append(jobs, job{id, run})
		}
	}
	for id, at := range last {
		if !present[id] && !at.IsZero() {
			delete(last, id)
		}
	}
	return jobs, wait
}

func (d *Daemon) wantProbe(m *managed) bool {
	switch d.cfg.Probe.When {
	case config.ProbeNever:
		return false
	case config.ProbeAlways:
		return true
	}
	return slices.Contains(d.doubtful, m.prefix.ID)
}

// probeOf makes the probe of a prefix; nil if there is nothing to ask.
func (d *Daemon) probeOf(m *managed) func(context.Context) error {
	via := probe.Via{Source: m.prefix.Addr(), Device: m.device}
	target := d.cfg.Probe.Target
	own, hasOwn := d.lookups[m.prefix.ID].(lookup)
	switch {
	case target.TCP.IsValid():
		if target.TCP.Addr().Is4() != via.Source.Is4() {
			return nil
		}
		return func(ctx context.Context) error { return probe.TCP(ctx, via, target.TCP) }
	case target.HTTP != "":
		if !hasOwn {
			own = lookup{d.resolvers.unbound}
		}
		family := m.prefix.Family()
		via.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			a, err := own.Lookup(ctx, host, family)
			return a.Addrs, err
		}
		return func(ctx context.Context) error { return probe.HTTP(ctx, via, target.HTTP) }
	}
	if !hasOwn {
		return nil
	}
	servers := slices.DeleteFunc(slices.Clone(own.Servers()), func(s netip.AddrPort) bool {
		return s.Addr().Is4() != via.Source.Is4() || s.Addr().IsLoopback() != via.Source.IsLoopback()
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
