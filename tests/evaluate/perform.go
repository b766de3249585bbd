package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/evaluate/report"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
	"github.com/socket-intents/mamma/tests/internal/pulse"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// plan is what a run does.
type plan struct {
	scenarios []scenario
	repeats   int // of scenarios whose share is ten
	warmup    time.Duration
	video     time.Duration
	bulk      int64
	parallel  int
	mptcp     bool
	short     bool // no report is written
}

// reps is how often a scenario is repeated, at least once.
func (p *plan) reps(s *scenario) int { return max(1, p.repeats*s.share/10) }

// pause between two loads lets queues and connections drain.
const pause = 300 * time.Millisecond

// performer carries a plan out.
type performer struct {
	plan     plan
	program  string // the daemon
	journal  *journal
	progress func(format string, args ...any)
	skipped  func(what string, err error)
	finished func() error  // a scenario is complete
	done     *atomic.Int64 // repetitions; nil: nobody counts
	browser  *live.Chromium
}

// maxRate is how many Mbit/s of links may be emulated at a time: they need the
// processor, and must not wait for it.
const maxRate = 80

// run carries out what the journal does not have yet, several parts at a time.
func (p *performer) run(ctx0 context.Context) error {
	g, ctx := errgroup.WithContext(ctx0)
	g.SetLimit(p.plan.parallel)
	rates := semaphore.NewWeighted(maxRate)
	for i := range p.plan.scenarios {
		s := &p.plan.scenarios[i]
		if s.work == browser {
			continue
		}
		parts := s.parts()
		left := new(atomic.Int64)
		left.Store(int64(len(parts)))
		for _, t := range parts {
			rate := min(maxRate, int64(math.Ceil(t.pair[0].Mbps+t.pair[1].Mbps)))
			if err := rates.Acquire(ctx, rate); err != nil {
				break // the first error is that of the group
			}
			g.Go(func() error {
				defer rates.Release(rate)
				if err := p.part(ctx, s, t); err != nil {
					return fmt.Errorf("%s over %v: %w", s.name, t.pair, err)
				}
				if left.Add(-1) == 0 {
					return p.finished()
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return p.browse(ctx0)
}

// browse has the browser load pages, one after the other: it needs the processor.
func (p *performer) browse(ctx context.Context) error {
	for i := range p.plan.scenarios {
		s := &p.plan.scenarios[i]
		if s.work != browser {
			continue
		}
		for _, t := range s.parts() {
			err := p.part(ctx, s, t)
			if errors.Is(err, live.ErrNoChromium) {
				p.skipped(s.name, err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s over %v: %w", s.name, t.pair, err)
			}
		}
	}
	return nil
}

// part is what is done one after the other on one rig.
type part struct {
	pair  simulate.Pair
	loads []string
	name  string // "" if a scenario's part is all loads of a pair
}

// parts are pairs; films take so long that each player has a rig of its own.
func (s *scenario) parts() []part {
	var list []part
	for _, pair := range s.pairs {
		if s.work != video {
			list = append(list, part{pair: pair, loads: s.loads})
			continue
		}
		for _, load := range s.loads {
			list = append(list, part{pair, []string{load}, load})
		}
	}
	return list
}

// missing are the repetitions of a part that the journal does not have.
func (p *performer) missing(s *scenario, t part) []int {
	var todo []int
	for rep := 1; rep <= p.plan.reps(s); rep++ {
		mark := record{Scenario: s.name, Pair: t.pair.String(), Part: t.name, Repeat: rep}
		if !p.journal.has(mark.unit()) {
			todo = append(todo, rep)
		}
	}
	return todo
}

// todo counts the repetitions of all parts that the journal does not have.
func (p *performer) todo() (n int64) {
	for i := range p.plan.scenarios {
		s := &p.plan.scenarios[i]
		for _, t := range s.parts() {
			n += int64(len(p.missing(s, t)))
		}
	}
	return n
}

// part does all repetitions of a part.
func (p *performer) part(ctx context.Context, s *scenario, t part) error {
	todo := p.missing(s, t)
	if len(todo) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	dir, err := os.MkdirTemp("", "evaluate") // below it are sockets, whose paths must be short
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	rig, err := live.NewRig(ctx, p.program, dir, paths(t.pair), s.policies)
	if err != nil {
		return err
	}
	defer func() { _ = rig.Close() }()
	if rig.MPTCP != nil && p.plan.mptcp {
		p.skipped("MPTCP", rig.MPTCP)
	}
	if err := rig.Warm(p.plan.warmup); err != nil {
		return err
	}
	if s.work == browser {
		end, err := p.chromium(ctx, rig, dir, s)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, rep := range todo {
		if err := p.repetition(ctx, rig, s, t, rep); err != nil {
			return fmt.Errorf("repetition %d: %w", rep, err)
		}
		if p.done != nil {
			p.done.Add(1)
		}
		p.progress("%-4s %-20v %srepetition %d of %d", s.name, t.pair, t.title(), rep, p.plan.reps(s))
	}
	return nil
}

// chromium prepares a rig for the browser, and has it load the pages once by each
// way, for the proxies to learn. The returned function ends that.
func (p *performer) chromium(ctx context.Context, rig *live.Rig, dir string, s *scenario) (func(), error) {
	program, err := stage.BuildProgram(ctx, dir, "muacsocksd")
	if err != nil {
		return nil, err
	}
	c, err := live.NewChromium(rig, program, dir)
	if err != nil {
		return nil, err
	}
	for _, load := range s.loads {
		page, err := pageOf(load)
		if err != nil {
			return nil, err
		}
		for _, q := range s.policies {
			if _, err := c.Load(ctx, q.Name, page); err != nil {
				p.progress("%s: %s by %s, to learn: %v", s.name, load, q.Name, err)
			}
		}
	}
	p.browser = c
	return c.Close, nil
}

func (t *part) title() string {
	if t.name == "" {
		return ""
	}
	return t.name + ", "
}

func paths(pair simulate.Pair) []live.Path {
	var list []live.Path
	for _, p := range pair {
		list = append(list, live.Path{Mbps: p.Mbps, RTT: p.RTT})
	}
	return list
}

// ways lists the comparators, in an order of their own for each repetition.
func (p *performer) ways(rig *live.Rig, s *scenario, seed string) []live.Way {
	list := []live.Way{rig.One(0), rig.One(1)}
	if s.work == browser {
		list = nil // the daemons are all there is
	}
	if p.plan.mptcp && rig.MPTCP == nil && s.work != browser {
		list = append(list, rig.Plain(live.Two, multipath))
	}
	if s.work == files {
		list = append(list, rig.Plain(live.First, firstConnect))
	}
	for _, q := range s.policies {
		kind := live.Asked
		if q.Policy == "rr_naive" {
			kind = live.New
		}
		list = append(list, rig.Asked(q.Name, kind))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed)) // cannot fail
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (p *performer) repetition(ctx context.Context, rig *live.Rig, s *scenario, t part, rep int) error {
	mark := record{Scenario: s.name, Pair: t.pair.String(), Part: t.name, Repeat: rep}
	var list []record
	for _, load := range t.loads {
		for _, way := range p.ways(rig, s, mark.unit()+load) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r := mark
			r.Load, r.Way = load, way.Name
			if err := p.patiently(ctx, rig, s, t.pair, way, &r); err != nil {
				return err
			}
			list = append(list, r)
		}
	}
	mark.Done = true
	return p.journal.add(append(list, mark)...)
}

// attempts is how often a load is tried that fails: one that hangs must not end a run
// of an hour. The report lists the failures.
const attempts = 3

// patiently measures, and pauses.
func (p *performer) patiently(ctx context.Context, rig *live.Rig, s *scenario, pair simulate.Pair, way live.Way, r *record) error {
	mark := *r
	for try := 1; ; try++ {
		before := rig.Received()
		watch := pulse.New()
		err := p.measure(ctx, rig, s, pair, way, r)
		r.Late = watch.Stop()
		if err == nil {
			for i, n := range rig.Received() {
				r.Bytes = append(r.Bytes, n-before[i])
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		p.progress("%-4s %-20v %s by %s failed: %v", s.name, pair, r.Load, way.Name, err)
		mark.Failed = append(mark.Failed, err.Error())
		*r = mark
		if try == attempts {
			r.Lost = true
			return nil
		}
	}
}

// measure does one load by one way and fills in what came of it.
func (p *performer) measure(ctx context.Context, rig *live.Rig, s *scenario, pair simulate.Pair, way live.Way, r *record) error {
	switch s.work {
	case video:
		return p.film(ctx, rig, pair, way, r)
	case messages:
		var m live.Messages
		job := live.MessagesJob{Way: way, Server: rig.Server.Address, Bulk: p.plan.bulk, Message: messageSize, Every: messageEvery}
		if err := rig.Actor.Do("messages", job, &m); err != nil {
			return err
		}
		r.Messages, r.Value = &m, report.Quantile(m.Latencies, 0.95)
		return nil
	}
	page, err := pageOf(r.Load)
	if err != nil {
		return err
	}
	if s.work == browser {
		r.Value, err = p.browser.Load(ctx, way.Name, page)
		return err
	}
	server := rig.Server
	if secure(r.Load) {
		server = rig.Secure
	}
	var got live.Loaded
	if err := rig.Actor.Do("page", live.PageJob{Way: way, Server: server, Page: page}, &got); err != nil {
		return err
	}
	r.Value, r.DecisionM, r.Page = got.Seconds, got.DecisionMicros, got.Objects
	r.Objects = make([]int, len(pair))
	for _, o := range got.Objects {
		if o.Net >= 0 {
			r.Objects[o.Net]++
		}
		if o.Reused {
			r.Reused++
		}
	}
	return nil
}

// overTLS is the end of the name of a load over TLS.
const overTLS = "-tls"

// secure tells whether a load goes over TLS.
func secure(load string) bool { return strings.HasSuffix(load, overTLS) }

// pageOf is the page of that name; a number is a page of one file.
func pageOf(load string) (workload.Page, error) {
	load = strings.TrimSuffix(load, overTLS)
	if size, err := strconv.ParseInt(load, 10, 64); err == nil {
		return workload.Page{Name: load, Objects: []workload.Object{{Type: workload.Other, Size: size, After: workload.None}}}, nil
	}
	page, ok := workload.ByName(load)
	if !ok {
		return page, fmt.Errorf("no page %q", load)
	}
	return page, nil
}

// film shows a film while the second network collapses. Before, that network is
// well again for as long as the policies look back for its recent rate.
func (p *performer) film(ctx context.Context, rig *live.Rig, pair simulate.Pair, way live.Way, r *record) error {
	all := paths(pair)
	if err := rig.Set(1, all[1]); err != nil {
		return err
	}
	if err := rig.Warm(min(p.plan.warmup, 5*time.Second)); err != nil {
		return err
	}
	v := workload.V()
	v.Length = p.plan.video
	after, low := collapse(&v)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	collapsed := make(chan error, 1)
	go func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			collapsed <- rig.Set(1, low)
		case <-ctx.Done():
			collapsed <- ctx.Err()
		}
	}()
	var w live.Watched
	if err := rig.Actor.Do("video", live.VideoJob{Way: way, Server: rig.Server.Address, Video: v, Algorithm: r.Load}, &w); err != nil {
		return err
	}
	r.Video, r.Value = &w, w.Judgement.MOS
	r.Objects = make([]int, len(pair))
	for _, s := range w.Segments {
		if s.Net >= 0 {
			r.Objects[s.Net]++
		}
	}
	return <-collapsed
}

// selected keeps the scenarios of the given names; all if there are none.
func selected(list []scenario, names []string) ([]scenario, error) {
	if len(names) == 0 {
		return list, nil
	}
	var kept []scenario
	for _, name := range names {
		i := slices.IndexFunc(list, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q here; there are E1 to E10 and E1-chromium, with --quick E1, E2 and E7", name)
		}
		kept = append(kept, list[i])
	}
	return kept, nil
}
