package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const never = time.Hour

// course is how a simulated race goes.
type course struct {
	resolve map[Candidate]time.Duration // per candidate; missing: at once; negative: fails then
	addrs   map[Candidate]int           // number of addresses per candidate; missing: 1
	connect map[string]time.Duration    // per "candidate.address"; missing: fails at once; negative: fails then
	rtt     map[Candidate]time.Duration // per candidate; missing: unknown
	suspect map[Candidate]bool          // per candidate
}

var errRefused = errors.New("refused")

const ms = time.Millisecond

// courses are races, and what is to come of them. The log has the starts of
// attempts in milliseconds.
var courses = []struct {
	name       string
	candidates int // besides the last resort
	course     course
	winner     string // "" if nobody
	after      time.Duration
	log        []string
}{
	{
		name: "first wins", candidates: 2,
		course: course{connect: map[string]time.Duration{"0.0": 30 * ms}},
		winner: "0.0", after: 30 * ms, log: []string{"0.0@0"},
	},
	{
		name: "slow first, quick alternate", candidates: 2,
		course: course{connect: map[string]time.Duration{"0.0": never, "1.0": 30 * ms}},
		winner: "1.0", after: 280 * ms, log: []string{"0.0@0", "1.0@250"},
	},
	{
		name: "slow first still wins", candidates: 2,
		course: course{connect: map[string]time.Duration{"0.0": 260 * ms, "1.0": 30 * ms}},
		winner: "0.0", after: 260 * ms, log: []string{"0.0@0", "1.0@250"},
	},
	{
		name: "early failure starts the next", candidates: 2,
		course: course{connect: map[string]time.Duration{"0.0": -10 * ms, "1.0": 30 * ms}},
		winner: "1.0", after: 40 * ms, log: []string{"0.0@0", "1.0@10"},
	},
	{
		name: "after a failure the same candidate's next address", candidates: 2,
		course: course{addrs: map[Candidate]int{0: 2}, connect: map[string]time.Duration{"0.0": -10 * ms, "0.1": 30 * ms}},
		winner: "0.1", after: 40 * ms, log: []string{"0.0@0", "0.1@10"},
	},
	{
		name: "after a delay the next candidate, then more addresses", candidates: 2,
		course: course{addrs: map[Candidate]int{0: 2, 1: 2}, connect: map[string]time.Duration{"0.0": never, "1.0": never, "0.1": never, "1.1": 5 * ms}},
		winner: "1.1", after: 755 * ms, log: []string{"0.0@0", "1.0@250", "0.1@500", "1.1@750"},
	},
	{
		name: "slow resolver of the first", candidates: 2,
		course: course{resolve: map[Candidate]time.Duration{0: never}, connect: map[string]time.Duration{"1.0": 5 * ms}},
		winner: "1.0", after: 255 * ms, log: []string{"1.0@250"},
	},
	{
		name: "slow resolver of an alternate delays nobody", candidates: 3,
		course: course{resolve: map[Candidate]time.Duration{1: never}, connect: map[string]time.Duration{"0.0": never, "2.0": 5 * ms}},
		winner: "2.0", after: 505 * ms, log: []string{"0.0@0", "2.0@500"},
	},
	{
		name: "slow resolver of two: the others are asked together, the better of them waited for", candidates: 4,
		course: course{resolve: map[Candidate]time.Duration{0: never, 1: never}, connect: map[string]time.Duration{"2.0": 5 * ms, "3.0": 5 * ms}},
		winner: "2.0", after: 305 * ms, log: []string{"2.0@300"},
	},
	{
		name: "the better one's name arrives in the resolution delay", candidates: 3,
		course: course{resolve: map[Candidate]time.Duration{0: never, 1: 30 * ms}, connect: map[string]time.Duration{"1.0": 5 * ms, "2.0": 5 * ms}},
		winner: "1.0", after: 285 * ms, log: []string{"1.0@280"},
	},
	{
		name: "slow resolver of the first answers before anything connects", candidates: 2,
		course: course{resolve: map[Candidate]time.Duration{0: 270 * ms}, connect: map[string]time.Duration{"0.0": 5 * ms, "1.0": never}},
		winner: "0.0", after: 505 * ms, log: []string{"1.0@250", "0.0@500"},
	},
	{
		name: "slow resolvers everywhere", candidates: 2,
		course: course{resolve: map[Candidate]time.Duration{0: 700 * ms, 1: 600 * ms}, connect: map[string]time.Duration{"0.0": 5 * ms, "1.0": never}},
		winner: "0.0", after: 705 * ms, log: []string{"0.0@700"},
	},
	{
		name: "a failing resolver starts the next at once", candidates: 3,
		course: course{resolve: map[Candidate]time.Duration{0: -10 * ms, 1: -5 * ms}, connect: map[string]time.Duration{"2.0": 5 * ms}},
		winner: "2.0", after: 20 * ms, log: []string{"2.0@15"},
	},
	{
		name: "delay by round-trip time", candidates: 3,
		course: course{
			rtt:     map[Candidate]time.Duration{0: 10 * ms, 1: 50 * ms, 2: 600 * ms},
			connect: map[string]time.Duration{"0.0": never, "1.0": never, "2.0": 1790 * ms},
		},
		winner: "2.0", after: 2040 * ms, log: []string{"0.0@0", "1.0@100", "2.0@250"},
	},
	{
		name: "a long way is waited for", candidates: 2,
		course: course{rtt: map[Candidate]time.Duration{0: 600 * ms}, connect: map[string]time.Duration{"0.0": 1300 * ms, "1.0": 5 * ms}},
		winner: "0.0", after: 1300 * ms, log: []string{"0.0@0"},
	},
	{
		name: "not if there is doubt about it", candidates: 2,
		course: course{
			rtt: map[Candidate]time.Duration{0: 600 * ms}, suspect: map[Candidate]bool{0: true},
			connect: map[string]time.Duration{"0.0": 1300 * ms, "1.0": 5 * ms},
		},
		winner: "1.0", after: 255 * ms, log: []string{"0.0@0", "1.0@250"},
	},
	{
		name: "not resolved", candidates: 1,
		course: course{resolve: map[Candidate]time.Duration{0: -20 * ms}, connect: map[string]time.Duration{"-1.0": 5 * ms}},
		winner: "-1.0", after: 25 * ms, log: []string{"-1.0@20"},
	},
	{
		name: "last resort after all failed", candidates: 2,
		course: course{connect: map[string]time.Duration{"0.0": -10 * ms, "1.0": -20 * ms, "-1.0": 5 * ms}},
		winner: "-1.0", after: 35 * ms, log: []string{"0.0@0", "1.0@10", "-1.0@30"},
	},
	{
		name: "last resort waits longer", candidates: 1,
		course: course{connect: map[string]time.Duration{"0.0": never, "-1.0": 5 * ms}},
		winner: "-1.0", after: 2255 * ms, log: []string{"0.0@0", "-1.0@2250"},
	},
	{
		name: "suggestion slower than the attempt delay is not undone", candidates: 1,
		course: course{connect: map[string]time.Duration{"0.0": 900 * ms, "-1.0": 5 * ms}},
		winner: "0.0", after: 900 * ms, log: []string{"0.0@0"},
	},
	{
		name: "all fail", candidates: 2,
		course: course{resolve: map[Candidate]time.Duration{1: -5 * ms}},
		after:  5 * ms, log: []string{"0.0@0", "-1.0@5"},
	},
}

// found is what a lookup for cand finds.
func (c *course) found(cand *candidate) *candidate {
	found := *cand
	for i := range max(1, c.addrs[cand.index]) {
		found.addrs = append(found.addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(cand.index), byte(i)}), 80))
	}
	return &found
}

// candidates are those of the course with n besides the last resort.
func (c *course) candidates(n int) (list []*candidate) {
	for i := range Candidate(n) {
		list = append(list, &candidate{index: i, device: fmt.Sprint(int(i)), rtt: c.rtt[i], suspect: c.suspect[i]})
	}
	return append(list, &candidate{index: plain})
}

// key is the name of an attempt in a course.
func key(index Candidate, remote netip.AddrPort) string {
	return fmt.Sprintf("%d.%d", index, remote.Addr().As4()[3])
}

// play runs a race without a driver. Time moves from one event to the next. Events at
// the same time come in the order in which they began, and before a turn.
func play(r *race, c *course, begun time.Time) (winner string, after time.Duration, log []string) {
	type ending struct {
		at  time.Time
		res result
	}
	var underway []ending
	now := begun
	for {
		tasks, wake := r.next(now)
		for _, t := range tasks {
			res, took := result{task: t}, c.resolve[t.Candidate]
			failure := errNotResolved
			if t.Remote.IsValid() {
				log = append(log, fmt.Sprintf("%s@%d", key(t.Candidate, t.Remote), now.Sub(begun).Milliseconds()))
				failure = errRefused
				var ok bool
				if took, ok = c.connect[key(t.Candidate, t.Remote)]; !ok {
					res.err = failure
				}
			} else {
				res.found = c.found(t.candidate)
			}
			if took < 0 {
				took, res.err = -took, failure
			}
			underway = append(underway, ending{now.Add(took), res})
		}
		if len(underway) != r.running {
			panic(fmt.Sprintf("%d tasks under way, counted %d", len(underway), r.running))
		}
		if r.running == 0 {
			return "", now.Sub(begun), log
		}
		first := 0
		for i := range underway {
			if underway[i].at.Before(underway[first].at) {
				first = i
			}
		}
		e := underway[first]
		if !wake.IsZero() && wake.Before(e.at) {
			now = wake
			continue
		}
		now = e.at
		underway = slices.Delete(underway, first, first+1)
		if r.event(e.res, now) {
			return key(e.res.Candidate, e.res.Remote), now.Sub(begun), log
		}
	}
}

// TestRace plays the courses without a clock and without goroutines.
func TestRace(t *testing.T) {
	for _, test := range courses {
		t.Run(test.name, func(t *testing.T) {
			r := race{resolutionDelay: defaultResolutionDelay}
			r.enter(test.course.candidates(test.candidates))
			winner, after, log := play(&r, &test.course, time.Unix(1, 0))
			if winner != test.winner || after != test.after {
				t.Errorf("%q won after %v, want %q after %v", winner, after, test.winner, test.after)
			}
			if winner == "" && len(r.failed) == 0 {
				t.Error("nothing won and nothing failed")
			}
			if diff := cmp.Diff(test.log, log); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDriver runs the same courses in virtual time, as dials do.
func TestDriver(t *testing.T) {
	for _, test := range courses {
		// The first attempt runs alone in the caller's goroutine, or not.
		run := func(t *testing.T, deaf bool) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				var mu sync.Mutex // guards log
				var log []string
				r := driver{race: race{resolutionDelay: defaultResolutionDelay}, deaf: deaf}
				opened, closed := make(chan net.Conn, 10), make(chan struct{}, 10)
				r.lookup = func(ctx context.Context, c *candidate) (*candidate, error) {
					return test.course.found(c), pass(ctx, test.course.resolve[c.index], errNotResolved)
				}
				r.connect = func(ctx context.Context, c *candidate, remote netip.AddrPort) (net.Conn, error) {
					key := key(c.index, remote)
					mu.Lock()
					log = append(log, fmt.Sprintf("%s@%d", key, time.Since(begun).Milliseconds()))
					mu.Unlock()
					d, ok := test.course.connect[key]
					if !ok {
						return nil, errRefused
					}
					if err := pass(ctx, d, errRefused); err != nil {
						return nil, err
					}
					conn := &trackedConn{key: key, closed: closed}
					opened <- conn
					return conn, nil
				}
				o := r.run(t.Context(), test.course.candidates(test.candidates))
				took := time.Since(begun)
				if o.err != nil {
					t.Error(o.err)
				}
				got := ""
				if o.conn != nil {
					got = o.conn.(*trackedConn).key
					if want := o.winner.index; got[:len(got)-2] != fmt.Sprint(int(want)) {
						t.Errorf("winner %d, connection of %s", want, got)
					}
				} else if len(o.failed) == 0 {
					t.Error("nothing won and nothing failed")
				}
				if o.conn != nil && o.waited != test.after {
					t.Errorf("the caller is said to have waited for %v, want %v", o.waited, test.after)
				}
				if got != test.winner || took != test.after {
					t.Errorf("%q won after %v, want %q after %v", got, took, test.winner, test.after)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if diff := cmp.Diff(test.log, log); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
				if n, want := len(closed), max(0, len(opened)-1); n != want {
					t.Errorf("%d losers closed, want %d", n, want)
				}
			})
		}
		t.Run(test.name, func(t *testing.T) { run(t, false) })
		t.Run(test.name+", deaf", func(t *testing.T) { run(t, true) })
	}
}

// pass waits for d, or fails after -d if it is negative.
func pass(ctx context.Context, d time.Duration, failure error) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(max(d, -d)):
		if d < 0 {
			return failure
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type trackedConn struct {
	net.Conn
	key    string
	closed chan struct{}
}

func (c *trackedConn) Close() error { c.closed <- struct{}{}; return nil }

func TestRaceEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		addrs := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")}
		closed := make(chan struct{}, 2)
		r := driver{deaf: true, connect: func(ctx context.Context, c *candidate, _ netip.AddrPort) (net.Conn, error) {
			time.Sleep(time.Second)
			return &trackedConn{closed: closed}, nil
		}}
		o := r.run(ctx, []*candidate{{addrs: addrs}})
		if o.err != context.DeadlineExceeded || len(o.failed) != 2 {
			t.Errorf("error %v, %d attempts, want a timeout of 2", o.err, len(o.failed))
		}
		for _, a := range o.failed {
			if a.Err != context.DeadlineExceeded || !slices.Contains(addrs, a.Remote) {
				t.Errorf("attempt %v", a)
			}
		}
		<-closed // losers close their connections
		<-closed
	})
}

// A first runner that is alone also ends with the context.
func TestSoloEndsWithContext(t *testing.T) {
	remote := netip.MustParseAddrPort("10.0.0.1:80")
	for _, test := range []struct {
		name   string
		addrs  []netip.AddrPort
		failed int
	}{
		{"connection", []netip.AddrPort{remote}, 1},
		{"lookup", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(20*time.Millisecond, cancel)
				hang := func(ctx context.Context) error {
					<-ctx.Done()
					return errRefused // what became of it is not the reason
				}
				r := driver{
					lookup:  func(ctx context.Context, c *candidate) (*candidate, error) { return c, hang(ctx) },
					connect: func(ctx context.Context, c *candidate, _ netip.AddrPort) (net.Conn, error) { return nil, hang(ctx) },
				}
				o := r.run(ctx, []*candidate{{addrs: test.addrs}, {index: plain}})
				if o.err != context.Canceled || len(o.failed) != test.failed {
					t.Errorf("error %v, attempts %v, want cancelled with %d", o.err, o.failed, test.failed)
				}
				for _, a := range o.failed {
					if a.Err != context.Canceled || a.Remote != remote {
						t.Errorf("attempt %v", a)
					}
				}
			})
		})
	}
}

func TestRaceOfNobody(t *testing.T) {
	r := driver{}
	if o := r.run(t.Context(), nil); o.err != errNothing {
		t.Errorf("error %v, want %v", o.err, errNothing)
	}
}

func TestInterleave(t *testing.T) {
	parse := func(texts ...string) (addrs []netip.AddrPort) {
		for _, s := range texts {
			addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr(s), 1))
		}
		return addrs
	}
	got := interleave(parse("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"))
	want := parse("2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3")
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
