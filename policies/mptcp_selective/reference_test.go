package mptcpselective

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/intent"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// reference decides as doc/original/policies.md section 19 says. It was written from
// that page and shares nothing with the policy. It returns the choice, whether to use
// MPTCP, and the socket, and changes the counters as the page says.
func reference(r *policy.Request, count map[*policy.Prefix]int) (chosen *policy.Prefix, multipath bool, fd int32) {
	usable := func(v float64) bool { return v > 0.00001 }
	mid := func(p *policy.Prefix) float64 { return float64(p.Link.DownSMAMax.Mid) }
	long := func(p *policy.Prefix) float64 { return float64(p.Link.DownSMAMax.Long) }
	get := func(o intent.Option) int64 {
		if v, ok := r.Intents.Get(o); ok {
			return v
		}
		return -1
	}
	lowest := func() (best *policy.Prefix) {
		for _, p := range r.Prefixes {
			if v := p.Stats.SRTTMin; v > 0 && (best == nil || v < best.Stats.SRTTMin) {
				best = p
			}
		}
		return best
	}
	if !r.Bound.IsValid() {
		switch get(intent.OptCategory) {
		case int64(intent.CategoryQuery):
			chosen = lowest()
		case int64(intent.CategoryControlTraffic):
			for _, p := range r.Prefixes {
				if count[p] > 0 && (chosen == nil || count[p] > count[chosen]) {
					chosen = p
				}
			}
		case int64(intent.CategoryBulkTransfer):
			var slow, fast *policy.Prefix
			capacity := 0.0
			for _, p := range r.Prefixes {
				if v := mid(p); usable(v) && (slow == nil || v < capacity) {
					slow, capacity = p, v
				} else if v := long(p); usable(v) && (slow == nil || v < capacity) {
					slow, capacity = p, v
				}
				if usable(mid(p)) && (fast == nil || mid(p) > mid(fast)) {
					fast = p
				}
			}
			if slow == nil {
				break
			}
			size := float64(get(intent.OptBitrate) / 8 * 4)
			buffer := get(intent.OptDuration)
			if r.Kind == policy.Connect {
				buffer = 0
			}
			if buffer > 10 && 8*mid(slow) > size || 4*mid(slow) > size {
				multipath, chosen = true, lowest()
				for _, p := range r.Prefixes {
					count[p] = 0
				}
			} else if fast != nil && fast != slow {
				chosen = fast
				for _, p := range r.Prefixes {
					if p != fast {
						count[p]++
					}
				}
			}
		}
		if chosen == nil {
			for _, p := range r.Prefixes {
				if p.Default {
					chosen = p
					break
				}
			}
		}
	}
	on := chosen
	if r.Bound.IsValid() {
		on = r.BoundPrefix
	}
	if r.Kind == policy.SocketChoose && on != nil {
		for _, s := range r.Sockets {
			if s.Multipath == multipath && on.CIDR.Contains(s.Local) {
				return chosen, multipath, s.FD
			}
		}
	}
	return chosen, multipath, 0
}

// In situations with one to four networks, of one family or both, with sockets of each
// kind, the policy decides as the description says, request after request.
func TestAsDescribed(t *testing.T) {
	categories := []int64{int64(intent.CategoryQuery), int64(intent.CategoryBulkTransfer), int64(intent.CategoryControlTraffic), int64(intent.CategoryStream)}
	kinds := []policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose, policy.SocketChoose}
	seen := map[string]int{}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 19)) //nolint:gosec // the same situations each time
		var all []*policy.Prefix
		for i := range 1 + rnd.IntN(4) {
			addr := fmt.Sprintf("10.0.%d.2/24", i)
			if rnd.IntN(3) == 0 {
				addr = fmt.Sprintf("2001:db8:%d::2/64", i)
			}
			p := Prefix(fmt.Sprint("n", i), addr)
			p.Default = rnd.IntN(3) == 0
			p.Stats.SRTTMin = Milliseconds(float64(rnd.IntN(4) * 10)) // 0: unknown; some are equal
			p.Link.DownSMAMax = policy.Windowed{Mid: policy.BytesPerSecond(rnd.IntN(4)) * 500_000, Long: policy.BytesPerSecond(rnd.IntN(4)) * 500_000}
			all = append(all, p)
		}
		p := Make(New)(t).(*Policy)
		count := map[*policy.Prefix]int{}
		for step := range 20 {
			r := Request(kinds[rnd.IntN(len(kinds))], all...)
			switch rnd.IntN(8) {
			case 0:
				Bind(r, all[rnd.IntN(len(all))])
			case 1: // bound to an address without a prefix
				r.Bound = netip.MustParseAddr("192.0.2.1")
			}
			if i := rnd.IntN(len(categories) + 1); i < len(categories) {
				With(r, int64(intent.OptCategory), categories[i])
			}
			if rnd.IntN(4) > 0 {
				With(r, int64(intent.OptBitrate), []int64{7, 1_000_000, 3_999_999, 4_000_000, 8_000_000, 32_000_000}[rnd.IntN(6)])
			}
			if rnd.IntN(4) > 0 {
				With(r, int64(intent.OptDuration), []int64{0, 10, 11, 5000}[rnd.IntN(4)])
			}
			if r.Kind == policy.SocketChoose {
				for range rnd.IntN(6) {
					Offer(r, all[rnd.IntN(len(all))])
				}
				for i := range r.Sockets {
					r.Sockets[i].FD, r.Sockets[i].Multipath = int32(5+i), rnd.IntN(2) == 0
				}
			}
			d := p.Choose(r)
			prefix, multipath, fd := reference(r, count)
			got, want := fmt.Sprint(Name(d.Prefix), " ", d.Multipath, " ", AnswerOf(d).FD), fmt.Sprint(Name(prefix), " ", multipath, " ", fd)
			if got != want {
				t.Fatalf("seed %d, step %d: %v, %+v\ngot %s, want %s", seed, step, r.Kind, r.Intents, got, want)
			}
			for _, q := range all {
				if p.Count(q.ID) != count[q] {
					t.Fatalf("seed %d, step %d: count of %s is %d, want %d", seed, step, q.Interface, p.Count(q.ID), count[q])
				}
			}
			seen[fmt.Sprint(multipath, fd > 0)]++
		}
	}
	if len(seen) != 4 {
		t.Errorf("not every kind of answer came: %v", seen)
	}
}
