package split

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// link is a network of a world: its rate in bytes per second, and the time until a
// response begins. With a rate of 0 nothing comes. broken tells when requests fail.
type link struct {
	latency time.Duration
	rate    func(at time.Duration) float64
	broken  func(at time.Duration) bool
	odd     bool
}

func steady(mbps float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return mbps * 1e6 / 8 }
}

// then returns a rate that changes for good.
func then(mbps float64, at time.Duration, after float64) func(time.Duration) float64 {
	return func(now time.Duration) float64 {
		if now < at {
			return mbps * 1e6 / 8
		}
		return after * 1e6 / 8
	}
}

// request is a request under way in a world.
type request struct {
	Work
	begins time.Duration
	pos    int64
	rest   float64
}

// world plays a Plan over links, in steps of virtual time.
type world struct {
	t        *testing.T
	plan     *Plan
	links    []link
	requests []*request
	now      time.Duration
	bytes    []int64 // how often each byte came; nil: not counted
	read     func(now time.Duration) int64
	taken    int64
	kept     int64 // the most bytes that waited for their turn
	came     []int64
}

const step = 2 * time.Millisecond

func newWorld(t *testing.T, size, window int64, links ...link) *world {
	w := &world{t: t, plan: New(Span{0, size}, window), links: links, came: make([]int64, len(links))}
	for range links {
		w.plan.Add(0, -1)
	}
	return w
}

// open begins with a response over the first link that goes on to the end of the file.
func (w *world) open() {
	work := w.plan.Begin(0, 0, Span{0, min(256<<10, w.plan.all.To)}, true)
	w.requests = append(w.requests, &request{Work: work, begins: w.links[0].latency})
}

// run plays until all bytes are there. It returns the time of that.
func (w *world) run(limit time.Duration) time.Duration {
	w.t.Helper()
	for !w.plan.Done() {
		if w.now > limit {
			w.t.Fatalf("not done after %v: %d of %d bytes, under way %v, todo %v", w.now, w.plan.have.bytes(), w.plan.all.Len(), w.requests, w.plan.todo)
		}
		w.step()
	}
	return w.now
}

func (w *world) step() {
	for i := range w.links {
		for {
			work, ok := w.plan.Next(w.now, i)
			if !ok {
				break
			}
			if work.Len() <= 0 || work.From < 0 || work.To > w.plan.all.To {
				w.t.Fatalf("asked for %v", work)
			}
			if w.plan.window > 0 && work.To > w.plan.taken+w.plan.window {
				w.t.Fatalf("asked for %v, taken %d, window %d", work, w.plan.taken, w.plan.window)
			}
			w.requests = append(w.requests, &request{Work: work, begins: w.now + w.links[i].latency, pos: work.From})
		}
	}
	w.end(w.plan.Stops(), Complete)
	w.now += step
	active := make([]int, len(w.links))
	for _, r := range w.requests {
		if r.begins <= w.now {
			active[r.Network]++
		}
	}
	for _, r := range append([]*request(nil), w.requests...) {
		l := w.links[r.Network]
		if l.broken != nil && l.broken(w.now) {
			w.end([]int{r.ID}, Failed)
			continue
		}
		if r.begins > w.now {
			continue
		}
		if l.odd {
			w.end([]int{r.ID}, Odd)
			continue
		}
		w.plan.Proved(r.ID)
		r.rest += l.rate(w.now) * step.Seconds() / float64(active[r.Network])
		for {
			room, do := w.plan.Room(w.now, r.ID)
			n := min(int64(r.rest), room)
			if do == Stop {
				w.end([]int{r.ID}, Complete)
			}
			if do == Wait { // TCP's window is full
				r.rest = 0
			}
			if do != Read || n == 0 {
				break
			}
			r.rest -= float64(n)
			for _, s := range w.plan.Arrived(w.now, r.ID, n) {
				if w.bytes != nil {
					for i := s.From; i < s.To; i++ {
						w.bytes[i]++
					}
				}
			}
			r.pos += n
			w.came[r.Network] += n
		}
	}
	w.end(w.plan.Stops(), Complete)
	ready := w.plan.Ready(w.taken)
	w.kept = max(w.kept, w.plan.have.bytes()-w.taken)
	if w.read != nil {
		ready = min(ready, w.read(w.now))
	}
	if ready > w.taken {
		w.taken = ready
		w.plan.Take(ready)
	}
}

func (w *world) end(ids []int, o Outcome) {
	for _, id := range ids {
		for i, r := range w.requests {
			if r.ID == id {
				w.requests = append(w.requests[:i:i], w.requests[i+1:]...)
				w.plan.Ended(w.now, id, o)
				break
			}
		}
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// A download over both networks takes at most a given part of the time that the better
// network takes alone.
func TestPlanTakesBoth(t *testing.T) {
	const size = 20e6
	after := func(at time.Duration) func(time.Duration) bool {
		return func(now time.Duration) bool { return now > at }
	}
	for _, test := range []struct {
		name  string
		links []link
		alone time.Duration // of the better network
		most  float64       // of that
	}{
		{"equal", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: steady(20)}}, 8 * time.Second, 0.53},
		{"alike", []link{{latency: ms(50), rate: steady(6)}, {latency: ms(50), rate: steady(5)}}, 26667 * time.Millisecond, 0.58},
		{"slow and near, fast and far", []link{{latency: ms(10), rate: steady(2)}, {latency: ms(100), rate: steady(20)}}, 8 * time.Second, 0.955},
		{"fast and near, slow and far", []link{{latency: ms(10), rate: steady(50)}, {latency: ms(200), rate: steady(0.5)}}, 3200 * time.Millisecond, 1.02},
		{"very slow and near", []link{{latency: ms(50), rate: steady(0.5)}, {latency: ms(20), rate: steady(50)}}, 3200 * time.Millisecond, 1.02},
		{"one alone", []link{{latency: ms(20), rate: steady(20)}}, 8 * time.Second, 1.02},
		{"three", []link{{latency: ms(20), rate: steady(10)}, {latency: ms(20), rate: steady(10)}, {latency: ms(20), rate: steady(10)}}, 16 * time.Second, 0.37},
		{"the second collapses", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: then(20, 2*time.Second, 0.2)}}, 8 * time.Second, 0.82},
		{"the first collapses", []link{{latency: ms(20), rate: then(20, 2*time.Second, 0.2)}, {latency: ms(20), rate: steady(20)}}, 8 * time.Second, 0.82},
		{"the second recovers", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: then(0.2, 2*time.Second, 20)}}, 8 * time.Second, 0.75},
		{"the second falls silent", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: then(20, 2*time.Second, 0)}}, 8 * time.Second, 0.82},
		{"the first falls silent", []link{{latency: ms(20), rate: then(20, 2*time.Second, 0)}, {latency: ms(20), rate: steady(20)}}, 8 * time.Second, 0.82},
		{"the second breaks", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: steady(20), broken: after(2 * time.Second)}}, 8 * time.Second, 0.78},
		{"the second never answers", []link{{latency: ms(20), rate: steady(20)}, {latency: time.Hour, rate: steady(20)}}, 8 * time.Second, 1.02},
		{"the second is odd", []link{{latency: ms(20), rate: steady(20)}, {latency: ms(20), rate: steady(20), odd: true}}, 8 * time.Second, 1.02},
	} {
		for n := range 4 {
			window, open := int64(n%2)*12<<20, n >= 2
			t.Run(fmt.Sprintf("%s, window %d, open %v", test.name, window, open), func(t *testing.T) {
				w := newWorld(t, size, window, test.links...)
				if open {
					w.open()
				}
				took := w.run(10 * test.alone)
				most := test.most
				if open { // what the first link has begun is missing for longer
					most += 0.03
				}
				if share := took.Seconds() / test.alone.Seconds(); share > most {
					t.Errorf("took %v, %.3f of the better network alone, want %.3f; bytes %v", took, share, most, w.came)
				}
				if window > 0 && w.kept > window {
					t.Errorf("%d bytes waited for their turn", w.kept)
				}
				t.Logf("%v, %.3f, bytes %v, %d kept", took, took.Seconds()/test.alone.Seconds(), w.came, w.kept)
			})
		}
	}
}

// Whatever the networks do, every byte comes, and is new exactly once.
func TestPlanHostile(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		size := int64(r.IntN(3_000_000) + 1)
		window := int64(0)
		if seed%2 == 0 {
			window = 1 << 20
		}
		var links []link
		for range r.IntN(3) + 1 {
			phase := time.Duration(r.IntN(3000)) * time.Millisecond
			speed, bad := float64(r.IntN(40)+1), r.IntN(3)
			links = append(links, link{
				latency: time.Duration(r.IntN(300)) * time.Millisecond,
				rate: func(now time.Duration) float64 {
					if bad == 1 && (now+phase)%(4*time.Second) < 2*time.Second {
						return 0
					}
					return speed * 1e5
				},
				broken: func(now time.Duration) bool { return bad == 2 && (now+phase)%time.Second < 100*time.Millisecond },
			})
		}
		w := newWorld(t, size, window, links...)
		w.bytes = make([]int64, size)
		if seed%4 >= 2 {
			w.open()
		}
		if seed%3 == 0 { // a slow reader
			w.read = func(now time.Duration) int64 { return int64(now.Seconds() * 2e5) }
		}
		w.run(10 * time.Minute)
		for i, n := range w.bytes {
			if n != 1 {
				t.Fatalf("seed %d: byte %d came %d times", seed, i, n)
			}
		}
	}
}

// A network is never asked for more bytes than its limit, even if requests fail.
func TestPlanLimit(t *testing.T) {
	w := newWorld(t, 20e6, 0, link{latency: ms(20), rate: steady(20)})
	w.links = append(w.links, link{latency: ms(20), rate: steady(20)})
	w.came = append(w.came, 0)
	w.plan.Add(0, 3e6)
	w.run(time.Minute)
	if w.came[1] > 3e6 || w.came[1] < 2.5e6 {
		t.Errorf("%d bytes, limit 3 MB", w.came[1])
	}
}

// A response that goes on beyond what was asked for ends at the network's limit, too.
func TestPlanLimitOfOpen(t *testing.T) {
	for _, limit := range []int64{0, 100e3, 1e6, 3e6} {
		p := New(Span{0, 20e6}, 0)
		p.Add(ms(20), limit)
		w, came := p.Begin(0, 0, Span{0, 256 << 10}, true), int64(0)
		for now := time.Duration(0); ; now += ms(10) {
			n, do := p.Room(now, w.ID)
			if do != Read {
				break
			}
			p.Arrived(now, w.ID, min(n, 100e3))
			came += min(n, 100e3)
		}
		if most := max(limit, 256<<10); came != most {
			t.Errorf("limit %d: %d bytes came; want %d", limit, came, most)
		}
	}
}

// If no network works, the plan is stuck and says so.
func TestPlanStuck(t *testing.T) {
	w := newWorld(t, 1e6, 0, link{latency: ms(1), rate: steady(1), broken: func(time.Duration) bool { return true }}, link{latency: ms(1), odd: true})
	for !w.plan.Stuck() {
		if w.step(); w.now > time.Minute {
			t.Fatalf("shares %+v", w.plan.Shares(w.now))
		}
	}
	if w.now < time.Second {
		t.Errorf("given up after %v", w.now)
	}
	all := w.plan.Shares(w.now)
	if all[0].Failures != maxFailures || !all[1].Gone {
		t.Errorf("shares %+v", all)
	}
}

// An ordinary response goes on until another network has shown that it can send ranges.
// If none can, the response goes on to the end.
func TestPlanOpen(t *testing.T) {
	for _, test := range []struct {
		name string
		odd  bool
		end  bool
	}{{"ranges are ignored", true, true}, {"there are ranges", false, false}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 10e6, 4<<20, link{latency: ms(20), rate: steady(20), odd: test.odd}, link{latency: ms(20), rate: steady(20), odd: test.odd})
			first := w.plan.Begin(0, 0, Span{0, 1 << 20}, true)
			pos, stopped := int64(0), false
			for !w.plan.Done() {
				if w.now > time.Minute {
					t.Fatal("not done")
				}
				if !stopped {
					n, do := w.plan.Room(w.now, first.ID)
					if n = min(n, 5000); do == Read {
						w.plan.Arrived(w.now, first.ID, n)
						pos += n
					}
					if do == Stop {
						stopped = true
						w.plan.Ended(w.now, first.ID, Complete)
					}
				}
				w.step()
			}
			if test.end && pos != 10e6 || !test.end && pos > 5e6 {
				t.Errorf("%d bytes of the first response", pos)
			}
		})
	}
}

// While an open response goes on from the front, its network gets no other request. The
// other networks are asked for the back.
func TestPlanMeetsTheOpenResponse(t *testing.T) {
	for _, window := range []int64{0, 4 << 20} {
		p := New(Span{0, 20e6}, window)
		p.Add(ms(100), -1)
		p.Add(ms(10), -1)
		lead := p.Begin(0, 0, Span{0, 256 << 10}, true)
		p.Proved(lead.ID)
		p.Arrived(ms(100), lead.ID, 100_000)
		back := Span{0, 20e6}
		if window > 0 {
			back.To = window
		}
		for range 3 {
			if w, ok := p.Next(ms(100), 0); ok {
				t.Errorf("window %d: asked for %v over the network of the open response", window, w)
			}
			w, ok := p.Next(ms(100), 1)
			if !ok || w.To != back.To || w.Len() != firstPiece {
				t.Fatalf("window %d: asked for %v, want what ends at %d", window, w, back.To)
			}
			back.To = w.From
			p.Proved(w.ID)
			p.Arrived(ms(110), w.ID, w.Len())
			p.Ended(ms(110), w.ID, Complete)
			p.networks[1].known = 0
		}
	}
}

// If a response reaches bytes that others have brought, it reads a short stretch again
// instead of ending, because a request for what follows would take longer. At a long
// stretch it ends.
func TestPlanReadsAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		have Span
		want Verdict
	}{
		{"short", Span{500_000, 600_000}, Read},
		{"long", Span{500_000, 15e6}, Stop},
	} {
		p := New(Span{0, 20e6}, 0)
		p.Add(ms(100), -1)
		p.Add(ms(100), -1)
		lead := p.Begin(0, 0, Span{0, 500_000}, true)
		p.Proved(lead.ID)
		p.Arrived(ms(100), lead.ID, 0)
		p.Have(test.have)
		p.Arrived(ms(200), lead.ID, 500_000) // 5 MB/s
		room, do := p.Room(ms(200), lead.ID)
		if do != test.want || do == Read && room <= test.have.Len() {
			t.Errorf("%s: %v, %d bytes, want %v", test.name, do, room, test.want)
		}
	}
}

// If a response reaches bytes that another network is still bringing, it waits. It goes
// on as soon as it would bring them sooner.
func TestPlanGoesOnWhereOthersAreLate(t *testing.T) {
	p := New(Span{0, 1_000_000}, 0)
	p.Add(ms(20), -1)
	p.Add(ms(20), -1)
	lead := p.Begin(0, 0, Span{0, 500_000}, true)
	p.Proved(lead.ID)
	other := p.Begin(0, 1, Span{500_000, 1_000_000}, false)
	p.Proved(other.ID)
	for at := ms(20); at <= ms(1000); at += ms(20) {
		p.Arrived(at, lead.ID, 10_000)
		p.Arrived(at, other.ID, 9_900)
	}
	if _, do := p.Room(ms(1000), lead.ID); do != Wait {
		t.Fatalf("with 5000 bytes of another network to come: %v, want Wait", do)
	}
	late := ms(1000)
	for ; late < 10*time.Second; late += ms(50) {
		if room, do := p.Room(late, lead.ID); do == Read {
			if p.Arrived(late, lead.ID, room); !p.Done() && room < 500_000-9900*50 {
				continue
			}
			break
		}
	}
	if late < ms(1050) || late > 5*time.Second {
		t.Errorf("went on after %v", late)
	}
}

func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l spans
	var model [64]bool
	for range 2000 {
		s := Span{r.Int64N(64), r.Int64N(65)}
		add := r.IntN(2) == 0
		if add {
			l.add(s)
		} else {
			l.remove(s)
		}
		for i := s.From; i < s.To; i++ {
			model[i] = add
		}
		count := int64(0)
		for i := range model {
			end, ok := l.at(int64(i))
			if ok != model[i] || ok && (end <= int64(i) || end < 64 && model[end]) {
				t.Fatalf("%v at %d: %v to %d, want %v", l, i, ok, end, model[i])
			}
			if ok {
				count++
			}
		}
		if l.bytes() != count || spans(l.within(Span{0, 64})).bytes() != count || l.without(Span{0, 64}).bytes() != 64-count {
			t.Fatalf("%v has %d bytes, want %d", l, l.bytes(), count)
		}
	}
}

// One of the networks takes the rest at the end, however small the rest is.
func TestPlanTakesTheLast(t *testing.T) {
	for _, size := range []int64{1, 1000, minPiece, firstPiece + 1, 3*firstPiece + 10} {
		w := newWorld(t, size, 12<<20, link{latency: ms(5), rate: steady(20)}, link{latency: ms(5), rate: steady(20)})
		for i := range w.links {
			w.plan.networks[i].known, w.plan.networks[i].proved, w.plan.networks[i].latency = 2.5e6, true, ms(5)
		}
		if took := w.run(time.Minute); took > time.Second {
			t.Errorf("%d bytes took %v", size, took)
		}
	}
}
