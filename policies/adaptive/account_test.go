package adaptive

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// books are an account that the test keeps by itself, from what it sees from outside: the
// decisions and the transfers. All figures are in seconds.
type books struct {
	spent, lost, risk float64
	excess            float64 // what tries cost beyond what they were predicted to
	tries             int
}

// try is what is known of a transfer under way.
type try struct {
	user  uint32
	end   time.Time
	best  float64 // what the best network was predicted to take
	risk  float64 // what trying another one was predicted to cost beyond that
	tried bool
	ended policy.Transfer
}

// world is two to four networks, each of which is slow at times, and users whose transfers
// it plays.
type world struct {
	*rand.Rand
	policy   *Policy
	networks []*policy.Prefix
	slow     []float64 // by how much each network is slower than it was measured
	running  []try     // by their ends
	books    map[uint32]*books
	bytes    []float64 // that tries were to bring, by network
	tries    int
	now      time.Time
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 20)), policy: Make(New)(t).(*Policy), books: map[uint32]*books{}, now: Now()} //nolint:gosec // runs are to repeat
	for i := range 2 + w.IntN(3) {
		edits := []func(*policy.Prefix){RTT(5+w.Float64()*95, 5, 0), Down(policy.BytesPerSecond(w.between(60e3, 10e6)), 0), loaded}
		if i == 0 {
			edits = append(edits, Default)
		}
		name := string(rune('a' + i))
		w.networks = append(w.networks, Prefix(name, "10.0."+string(rune('1'+i))+".2/24", edits...))
		w.slow = append(w.slow, 1)
		w.bytes = append(w.bytes, 0)
	}
	return w
}

// between draws a number, with all magnitudes equally likely.
func (w *world) between(least, most float64) float64 {
	return least * math.Exp(w.Float64()*math.Log(most/least))
}

// step lets time pass, and with it what has ended meanwhile. Now and then a network
// becomes slow or recovers.
func (w *world) step(d time.Duration) {
	w.now = w.now.Add(d)
	for len(w.running) > 0 && !w.running[0].end.After(w.now) {
		x := w.running[0]
		w.running = slices.Delete(w.running, 0, 1)
		w.policy.Ended(&x.ended)
		b := w.books[x.user]
		took := x.ended.Duration.Seconds()
		b.spent += took
		if x.tried {
			b.risk -= x.risk
			b.lost += max(0, took-x.best)
			b.excess += max(0, took-x.best-x.risk)
		}
	}
	if i := w.IntN(len(w.networks)); w.Float64() < 0.02 {
		w.slow[i] = []float64{1, 1, w.between(2, 20)}[w.IntN(3)]
	}
}

// ask lets a user's program ask, and begins the transfer that follows. It checks that the
// account allows a try.
func (w *world) ask(t *testing.T) {
	user := uint32(1000 + w.IntN(2))
	b := w.books[user]
	if b == nil {
		b = &books{}
		w.books[user] = b
	}
	size := w.between(5e3, 3e6)
	r := Size(Request(open, w.networks...), int64(size))
	r.Now, r.App.UID, r.Host, r.Port = w.now, user, string(rune('a'+w.IntN(5))), 443
	d := w.policy.Choose(r)
	i := slices.Index(w.networks, d.Prefix)
	x := try{user: user, best: math.Inf(1), tried: d.Reason == reasonExplore}
	for k := range w.policy.cands {
		x.best = min(x.best, w.policy.cands[k].cost)
	}
	if x.tried {
		b.tries++
		w.tries++
		w.bytes[i] += size
		x.risk = max(w.policy.cands[i].feared-x.best, 1e-3) // less than a millisecond is nothing
		if risked := w.policy.cands[i].feared - x.best; b.lost+b.risk+risked > share*b.spent+1e-9 {
			t.Errorf("a try that may cost %.3f s, with %.3f s lost, %.3f s at risk and %.1f s spent", risked, b.lost, b.risk, b.spent)
		}
		b.risk += x.risk
	}
	took := 2*w.networks[i].Stats.SRTTMin.Seconds() + size/float64(w.networks[i].Link.DownRateMax)*w.slow[i]*w.between(0.7, 1.4)
	duration := time.Duration(took * float64(time.Second))
	x.end = w.now.Add(duration)
	x.ended = policy.Transfer{
		Token: d.Token, Prefix: d.Prefix, App: r.App, Host: r.Host, Port: r.Port, Kind: r.Kind, Intents: r.Intents,
		Bytes: uint64(size), Duration: duration, MinRTT: w.networks[i].Stats.SRTTMin, End: x.end,
	}
	at, _ := slices.BinarySearchFunc(w.running, x.end, func(a try, end time.Time) int { return a.end.Compare(end) })
	w.running = slices.Insert(w.running, at, x)
}

// However networks change, what tries have cost a user stays within what the README
// promises: share of the time spent, and what tries cost more than predicted. All runs
// together keep below a twentieth.
func TestRegret(t *testing.T) {
	var all books
	for seed := range uint64(100) {
		w := newWorld(t, seed)
		for range 1500 {
			w.ask(t)
			w.step(time.Duration(w.between(0.05, 20) * float64(time.Second)))
		}
		w.step(time.Hour)
		for user, b := range w.books {
			if b.lost > share*b.spent+b.excess+1e-9 || b.risk > 1e-9 || b.risk < -1e-9 {
				t.Errorf("seed %d, user %d: %.3f s of %.1f s lost by %d tries, %.3f s beyond predictions, %.3f s at risk", seed, user, b.lost, b.spent, b.tries, b.excess, b.risk)
			}
			// A transfer that takes far longer than predicted is forgotten. Its time does not
			// count as spent then, and its risk stays.
			if own := w.policy.of(user).account; own.spent > b.spent+1e-6 || own.lost > b.lost+1e-6 || own.risk < -1e-9 {
				t.Errorf("seed %d, user %d: the policy has booked %+v, the test %+v", seed, user, own, *b)
			}
			all.spent, all.lost, all.excess, all.tries = all.spent+b.spent, all.lost+b.lost, all.excess+b.excess, all.tries+b.tries
		}
	}
	t.Logf("%d tries have lost %.1f s of %.0f s, %.1f s of it beyond predictions", all.tries, all.lost, all.spent, all.excess)
	if all.tries < 100 {
		t.Errorf("%d tries: the account was hardly tested", all.tries)
	}
	if all.lost > all.spent/20 {
		t.Errorf("%.1f s of %.0f s lost", all.lost, all.spent)
	}
}

// What costs money is tried only within its budget: without a budget never, else with a
// hundredth of it between two resets, and with no more than is left. What is expensive is
// never tried.
func TestTriesWithinBudget(t *testing.T) {
	const limit = 2e9
	month := Now().AddDate(0, 1, 0)
	for _, tt := range []struct {
		name   string
		cost   policy.Cost
		budget policy.Budget
		months int
		most   float64 // bytes that may be tried over a network
	}{
		{"metered", policy.Metered, policy.Budget{}, 1, 0},
		{"metered, with a budget", policy.Metered, policy.Budget{Limit: limit, Reset: month}, 1, tryShare * limit},
		{"free, with a budget", policy.Free, policy.Budget{Limit: limit, Reset: month}, 1, tryShare * limit},
		{"two months", policy.Metered, policy.Budget{Limit: limit, Reset: month}, 2, 2 * tryShare * limit},
		{"little is left", policy.Metered, policy.Budget{Limit: limit, Used: limit - 5000, Reset: month}, 1, 0},
		{"expensive", policy.Expensive, policy.Budget{Limit: limit, Reset: month}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries, most := 0, 0.0
			for seed := range uint64(15) {
				w := newWorld(t, seed)
				for i := range tt.months {
					for _, q := range w.networks[1:] {
						q.Cost, q.Budget = tt.cost, tt.budget
						q.Budget.Reset = tt.budget.Reset.AddDate(0, i, 0)
					}
					for range 1500 {
						w.ask(t)
						w.step(time.Duration(w.between(0.05, 20) * float64(time.Second)))
					}
				}
				for i, b := range w.bytes[1:] {
					if b > tt.most {
						t.Errorf("seed %d, network %d: %.0f bytes tried, %.0f allowed", seed, i+2, b, tt.most)
					}
					most = max(most, b)
				}
				tries += w.tries
			}
			t.Logf("%d tries, at most %.0f bytes over a network", tries, most)
			if tt.most > 0 && most == 0 {
				t.Error("none was tried although the budget allows it")
			}
		})
	}
}

// A handshake is raced over a network that costs money only if its budget allows that, as
// the quicker one gets the transfer. It does not matter what the chosen one costs.
func TestRaceWithinBudget(t *testing.T) {
	for _, tt := range []struct {
		name         string
		chosen, next policy.Cost
		budget       policy.Budget // of the next one
		want         bool
	}{
		{"both free", policy.Free, policy.Free, policy.Budget{}, true},
		{"the chosen one is metered", policy.Metered, policy.Free, policy.Budget{}, true},
		{"the next one is metered", policy.Free, policy.Metered, policy.Budget{}, false},
		{"the next one has a budget", policy.Free, policy.Metered, policy.Budget{Limit: 1e9}, true},
		{"the budget is small", policy.Free, policy.Metered, policy.Budget{Limit: 100e3}, false},
		{"the budget is used up", policy.Free, policy.Metered, policy.Budget{Limit: 1e9, Used: 1e9}, false},
	} {
		a, b := Prefix("a", "10.0.1.2/24", Default), Prefix("b", "10.0.2.2/24")
		a.Cost, b.Cost, b.Budget = tt.chosen, tt.next, tt.budget
		d := Make(New)(t).Choose(Size(Request(open, a, b), 5000))
		if d.Prefix != a {
			t.Fatalf("%s: %v", tt.name, d.Prefix)
		}
		if d.Race != tt.want {
			t.Errorf("%s: race %v", tt.name, d.Race)
		}
	}
}

// A network of which little is known is tried after half a minute, if the account allows it,
// and not twice at once.
func TestTriesUnknown(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a := Prefix("a", "10.0.1.2/24", Default, RTT(10, 10, 0), Down(700e3, 0), loaded)
	b := Prefix("b", "10.0.2.2/24", RTT(20, 20, 0), Down(20e3, 0)) // something came over it
	ask := func(d time.Duration, spent float64) string {
		r := Size(Request(open, a, b), 900e3)
		r.Now = Now().Add(d)
		for _, q := range r.Prefixes {
			q.Link.Time = r.Now
		}
		p.of(r.App.UID).account.spent = spent
		return p.Choose(r).Reason
	}
	for _, tt := range []struct {
		after time.Duration
		spent float64
		want  bool
	}{
		{0, 1000, false}, {10 * time.Second, 1000, false}, {time.Minute, 10, false},
		{2 * time.Minute, 1000, true}, {2 * time.Minute, 1000, false}, {2*time.Minute + time.Second, 1000, false},
	} {
		if reason := ask(tt.after, tt.spent); (reason == reasonExplore) != tt.want {
			t.Errorf("after %v, with %v s spent: %s", tt.after, tt.spent, reason)
		}
	}
}

// Handshakes are not raced over a network that would be too slow even if it is as near as
// the chosen one.
func TestRaceIfItMayWin(t *testing.T) {
	for _, tt := range []struct {
		capacity policy.BytesPerSecond
		want     bool
	}{{50e3, false}, {2e6, true}} {
		a := Prefix("a", "10.0.1.2/24", Default, RTT(30, 30, 0), Down(1e6, 0), loaded)
		b := Prefix("b", "10.0.2.2/24", Down(tt.capacity, 0), loaded)
		d := Make(New)(t).Choose(Size(Request(open, a, b), 100e3))
		if d.Prefix != a || d.Race != tt.want {
			t.Errorf("capacity %v: %s, race %v", tt.capacity, d.Prefix.Interface, d.Race)
		}
	}
}
