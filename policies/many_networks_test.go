package policies

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/intent"
	countconns "github.com/socket-intents/mamma/policies/earliest_arrival_countconns"
	probabilities "github.com/socket-intents/mamma/policies/earliest_arrival_probabilities"
	"github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policies/video"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// rule makes a policy's reference, anew for each sequence of requests. setUp changes
// the policy under test if that needs it.
type rule struct {
	policy   string
	settings []string
	families []policy.Family // of requests; nil: all three
	kinds    []policy.Kind   // nil: all three
	unbound  bool            // the description does not say what a bound request gets
	services []string
	network  func(*rand.Rand, *policy.Prefix)       // changes a network
	more     func(*rand.Rand, *policy.Request, int) // changes the request of a step
	needs    []string                               // events that must happen in some step
	make     func(t *testing.T, p policy.Policy, aid *aid) func(*policy.Request) wanted
}

// aid is shared by test and reference.
type aid struct {
	draw   float64        // the next random number, also for the policy
	events map[string]int // how often each event happened
}

var (
	oneFamily = []policy.Family{policy.IPv4, policy.IPv6}
	connects  = []policy.Kind{policy.Connect}
	noChoice  = []policy.Kind{policy.Connect, policy.SocketConnect}
)

func plain(choose func(*policy.Request) wanted) func(*testing.T, policy.Policy, *aid) func(*policy.Request) wanted {
	return func(*testing.T, policy.Policy, *aid) func(*policy.Request) wanted { return choose }
}

// arriving is a rule of the family of section 9.
func arriving(a arrivalRule) func(*policy.Request) wanted {
	return func(r *policy.Request) wanted {
		a.times = map[*policy.Prefix]float64{}
		return shapeA(r, func() (*policy.Prefix, bool) { return a.choose(r), false }, nil)
	}
}

func circle() func([]*policy.Prefix) *policy.Prefix {
	next := map[policy.Family]int{}
	return func(list []*policy.Prefix) *policy.Prefix {
		if len(list) == 0 {
			return nil
		}
		f := list[0].Family()
		p := list[next[f]%len(list)]
		next[f]++
		return p
	}
}

// network returns one of several networks. Some of its figures are unknown, some are
// equal to others'.
func network(rnd *rand.Rand, i int, six bool) *policy.Prefix {
	addr := fmt.Sprintf("10.0.%d.2/24", i)
	if six {
		addr = fmt.Sprintf("2001:db8:%d::2/64", i)
	}
	p := policytest.Prefix(fmt.Sprint("n", i), addr)
	p.Default = rnd.IntN(3) == 0
	rate := func(most int) policy.BytesPerSecond {
		return policy.BytesPerSecond(rnd.IntN(5)) * policy.BytesPerSecond(most) / 4
	}
	p.Stats.Time, p.Stats.SampleTime, p.Link.Time = policytest.Now(), policytest.Now(), policytest.Now()
	p.Stats.SRTTMin = situation.Milliseconds(float64(rnd.IntN(5) * 10))
	if p.Stats.SRTTMin > 0 && rnd.IntN(8) > 0 {
		p.Stats.SRTTMedian = p.Stats.SRTTMin + situation.Milliseconds(float64(rnd.IntN(3)*7))
	}
	p.Stats.RTTVarMean = situation.Milliseconds(float64(rnd.IntN(4) * 3))
	p.Stats.Conns = rnd.IntN(4)
	if p.Link.DownRateMax = rate(6_000_000); p.Link.DownRateMax > 0 {
		p.Link.DownRate = p.Link.DownRateMax * policy.BytesPerSecond(rnd.IntN(10)) / 9
	}
	p.Link.DownSMAMax = policy.Windowed{Short: rate(4_000_000), Mid: rate(4_000_000), Long: rate(4_000_000), VeryLong: rate(4_000_000)}
	return p
}

var rules = []rule{
	{policy: "sample", make: plain(func(r *policy.Request) wanted {
		return shapeB(r, func() *policy.Prefix { return firstDefault(r.Prefixes) })
	})},
	{policy: "rr_naive", families: oneFamily, kinds: connects, make: func(*testing.T, policy.Policy, *aid) func(*policy.Request) wanted {
		next := circle()
		return func(r *policy.Request) (w wanted) {
			if !r.Bound.IsValid() {
				w.prefix = next(r.Prefixes)
			}
			return w
		}
	}},
	{policy: "rr_pipelining", families: oneFamily, kinds: []policy.Kind{policy.SocketConnect, policy.SocketChoose}, make: func(*testing.T, policy.Policy, *aid) func(*policy.Request) wanted {
		next, last := circle(), map[string]int32{} // by service, because the host is always the same
		return func(r *policy.Request) (w wanted) {
			if len(r.Sockets) >= 2 {
				i := slices.IndexFunc(r.Sockets, func(s policy.Socket) bool { return s.FD == last[r.Service] })
				if i+1 == len(r.Sockets) {
					i = -1 // it has no successor
				}
				w.fd = r.Sockets[i+1].FD
				last[r.Service] = w.fd
			} else if !r.Bound.IsValid() {
				w.prefix = next(r.Prefixes)
			}
			return w
		}
	}},
	{policy: "intents", families: oneFamily, kinds: noChoice, unbound: true, network: func(rnd *rand.Rand, p *policy.Prefix) {
		if i := rnd.IntN(4); i < 3 {
			policytest.Option("category", []string{"query", "bulktransfer", "stream"}[i])(p)
		}
	}, make: plain(func(r *policy.Request) (w wanted) {
		name := ""
		if c, ok := stated(r, intent.OptCategory); ok {
			name = intent.Category(c).String()
		}
		w.prefix = byCategory(r.Prefixes, name)
		return w
	})},
	{policy: "filesize", families: oneFamily, network: ranged, make: plain(func(r *policy.Request) wanted {
		return shapeB(r, func() *policy.Prefix {
			size, given := stated(r, intent.OptFileSize)
			if !given && r.Kind != policy.Connect {
				return nil
			} else if !given {
				size = -1
			}
			return byRange(r.Prefixes, size)
		})
	})},
	{policy: "mptcp_filesize", families: oneFamily, kinds: connects, unbound: true, network: ranged, make: plain(func(r *policy.Request) (w wanted) {
		size, given := stated(r, intent.OptFileSize)
		if !given {
			size = -1
		}
		w.prefix = byRange(r.Prefixes, size)
		return w
	})},
	{policy: "earliest_arrival", make: plain(arriving(arrivalRule{}))},
	{policy: "threshold", make: plain(arriving(arrivalRule{capacity: freeCapacity}))},
	{policy: "earliest_arrival_free_or_busy", make: plain(arriving(arrivalRule{capacity: func(p *policy.Prefix) float64 {
		highest := float64(p.Link.DownRateMax)
		if highest <= eps {
			return -1
		}
		u := float64(p.Link.DownRate) / highest
		if u > 0.5 {
			u = 1
		}
		if u < 0.1 {
			u = 0
		}
		return highest / (float64(p.Stats.Conns)*u + 1)
	}}))},
	{policy: "earliest_arrival_static", services: []string{"80"}, network: func(rnd *rand.Rand, p *policy.Prefix) {
		p.Stats, p.Link = policy.PathStats{}, policy.LinkStats{}
		policytest.Option("min_srtt", fmt.Sprint(10+rnd.IntN(50)))(p)
		policytest.Option("download_max_rate", fmt.Sprint(100_000+rnd.IntN(9_000_000)))(p)
	}, make: plain(arriving(arrivalRule{figures: func(p *policy.Prefix) (rtt, capacity float64) {
		rtt, _ = p.Options.Number("min_srtt")
		capacity, _ = p.Options.Number("download_max_rate")
		return rtt, capacity
	}}))},
	{policy: "earliest_arrival_countconns", more: clients, needs: countEvents, make: func(t *testing.T, p policy.Policy, aid *aid) func(*policy.Request) wanted {
		return newCounting(t, aid, p.(*countconns.Policy).Counts).decide
	}},
	{policy: "earliest_arrival_probabilities", more: clients, needs: countEvents, make: func(t *testing.T, p policy.Policy, aid *aid) func(*policy.Request) wanted {
		own := p.(*probabilities.Policy)
		own.Random = func() float64 { return aid.draw }
		c := newCounting(t, aid, own.Counts)
		c.noTLS = true
		c.pick = func(able []*policy.Prefix) *policy.Prefix { return byChance(able, c.times, aid.draw) }
		return c.decide
	}},
	{policy: "video", make: videoOf(false)},
	{policy: "video", settings: []string{"be_pessimist=true"}, make: videoOf(true)},
	{policy: "mptcp_simple", make: plain(func(r *policy.Request) wanted {
		w := shapeB(r, func() *policy.Prefix {
			if p := lowestRTT(r.Prefixes); p != nil {
				return p
			}
			return firstDefault(r.Prefixes)
		})
		w.mptcp = w.fd == 0
		return w
	})},
	{policy: "mptcp_default_flow", make: plain(func(r *policy.Request) wanted {
		w := shapeB(r, func() *policy.Prefix { return firstDefault(r.Prefixes) })
		w.mptcp = r.Kind != policy.SocketChoose
		return w
	})},
}

func ranged(rnd *rand.Rand, p *policy.Prefix) {
	if rnd.IntN(3) > 0 {
		policytest.Option("minfilesize", fmt.Sprint(rnd.IntN(3)*1000))(p)
	}
	if rnd.IntN(3) > 0 {
		policytest.Option("maxfilesize", fmt.Sprint(1000+rnd.IntN(3)*5000))(p)
	}
}

func videoOf(pessimist bool) func(*testing.T, policy.Policy, *aid) func(*policy.Request) wanted {
	return func(t *testing.T, p policy.Policy, _ *aid) func(*policy.Request) wanted {
		v := videoRule{pessimist: pessimist, passed: map[*policy.Prefix]int{}}
		known := map[*policy.Prefix]bool{}
		return func(r *policy.Request) wanted {
			for q := range known { // known from the request before
				if got := p.(*video.Policy).NotPicked(q.ID); got != v.passed[q] {
					t.Errorf("%s was passed over %d times, want %d", q.Interface, got, v.passed[q])
				}
			}
			for _, q := range r.Prefixes {
				known[q] = true
			}
			return shapeA(r, func() (*policy.Prefix, bool) { return v.choose(r), false }, nil)
		}
	}
}

// With three and four networks of both families, every policy decides as its
// description says, request by request.
func TestManyNetworks(t *testing.T) {
	for _, ru := range rules {
		t.Run(fmt.Sprint(ru.policy, ru.settings), func(t *testing.T) {
			chosen, reused, events := map[string]int{}, 0, map[string]int{}
			for seed := range uint64(150) {
				rnd := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // the same situations each time
				var all []*policy.Prefix
				n := 3 + rnd.IntN(2)
				six := rnd.IntN(n + 1) // the networks from here on are IPv6
				for i := range n {
					p := network(rnd, i, i >= six)
					if ru.network != nil {
						ru.network(rnd, p)
					}
					all = append(all, p)
				}
				aid := &aid{events: events}
				p := newPolicy(t, ru.policy, ru.settings...)
				decide := ru.make(t, p, aid)
				for step := range 15 {
					r := ru.request(rnd, all)
					if ru.more != nil {
						ru.more(rnd, r, step)
					}
					aid.draw = rnd.Float64()
					want := decide(r) // comes first, because it compares the states
					d := p.Choose(r)
					got := wanted{prefix: d.Prefix, mptcp: d.Multipath}
					if d.Socket != nil {
						// An answer with a socket has that socket's context, including
						// its options.
						got.fd, got.prefix, want.prefix = d.Socket.FD, nil, nil
						want.mptcp = d.Socket.Multipath
					}
					if got != want || t.Failed() {
						t.Fatalf("seed %d, step %d: %v of family %v, bound %v, service %s, %+v, %d sockets\ngot  %v (%s)\nwant %v",
							seed, step, r.Kind, r.Network.Family, r.Bound, r.Service, r.Intents, len(r.Sockets), got, d.Reason, want)
					}
					chosen[policytest.Name(want.prefix)]++
					if want.fd != 0 {
						reused++
					}
				}
			}
			for i := range 3 { // the last ones have their turn, too
				if chosen[fmt.Sprint("n", i)] == 0 {
					t.Errorf("n%d was never chosen: %v", i, chosen)
				}
			}
			if slices.Contains(ru.kinds, policy.SocketChoose) != (reused > 0) && ru.kinds != nil || ru.kinds == nil && reused == 0 {
				t.Errorf("%d sockets were used again", reused)
			}
			for _, name := range ru.needs {
				if events[name] == 0 {
					t.Errorf("it never happened: %s (%v)", name, events)
				}
			}
		})
	}
}

// request returns a request that the rule is about.
func (ru rule) request(rnd *rand.Rand, all []*policy.Prefix) *policy.Request {
	kinds := ru.kinds
	if kinds == nil {
		kinds = []policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose, policy.SocketChoose}
	}
	families := ru.families
	if families == nil {
		families = []policy.Family{policy.IPv4, policy.IPv6, policy.Unspecified, policy.Unspecified}
	}
	f := families[rnd.IntN(len(families))]
	var list []*policy.Prefix
	for _, p := range all {
		if f == policy.Unspecified || p.Family() == f {
			list = append(list, p)
		}
	}
	r := policytest.Request(kinds[rnd.IntN(len(kinds))], list...)
	r.Network.Family = f
	services := ru.services
	if services == nil {
		services = []string{"80", "80", "443", "https", ""}
	}
	r.Service = services[rnd.IntN(len(services))]
	if !ru.unbound {
		switch rnd.IntN(8) {
		case 0:
			policytest.Bind(r, all[rnd.IntN(len(all))])
		case 1: // bound to an address without a prefix
			r.Bound = netip.MustParseAddr("192.0.2.1")
		}
	}
	state := func(o intent.Option, values ...int64) {
		if i := rnd.IntN(len(values) + 1); i < len(values) {
			r.Intents = r.Intents.With(o, values[i])
		}
	}
	state(intent.OptFileSize, 0, 900, 20_000, 60_000, 300_000, 5_000_000)
	state(intent.OptCategory, int64(intent.CategoryQuery), int64(intent.CategoryBulkTransfer), int64(intent.CategoryBulkTransfer), int64(intent.CategoryControlTraffic), int64(intent.CategoryStream))
	state(intent.OptBitrate, 7, 1_000_000, 8_000_000, 30_000_000)
	state(intent.OptDuration, 0, 2000, 4500, 9000)
	if r.Kind == policy.SocketChoose {
		for range rnd.IntN(5) {
			policytest.Offer(r, all[rnd.IntN(len(all))])
		}
		for i := range r.Sockets {
			r.Sockets[i].FD, r.Sockets[i].Multipath = int32(5+i), rnd.IntN(4) == 0
		}
	}
	return r
}
