package policies

import (
	"fmt"
	"math"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// The references decide as doc/original/policies.md says. They were written from that
// page and share nothing with the policies. The original's vectors have two networks of
// one family; here there are three and four networks of both families.

const (
	eps     = 0.0001
	unknown = math.MaxFloat64
)

// wanted is what a reference expects of a decision: the prefix, the socket to reuse (0:
// none), and whether to use MPTCP.
type wanted struct {
	prefix *policy.Prefix
	fd     int32
	mptcp  bool
}

func (w wanted) String() string {
	return fmt.Sprintf("%s, socket %d, MPTCP %t", policytest.Name(w.prefix), w.fd, w.mptcp)
}

func ms(p *policy.Prefix, median bool) float64 {
	if median {
		return p.Stats.SRTTMedian.Seconds() * 1000
	}
	return p.Stats.SRTTMin.Seconds() * 1000
}

func stated(r *policy.Request, o intent.Option) (int64, bool) { return r.Intents.Get(o) }

// Section 3.2.
func firstDefault(list []*policy.Prefix) *policy.Prefix {
	for _, p := range list {
		if p.Default {
			return p
		}
	}
	return nil
}

// Section 3.3.
func lowestRTT(list []*policy.Prefix) (best *policy.Prefix) {
	for _, p := range list {
		if v := ms(p, false); v > eps && (best == nil || v < ms(best, false)) {
			best = p
		}
	}
	return best
}

// Section 3.4.
func freeCapacity(p *policy.Prefix) float64 {
	highest, rate, n := float64(p.Link.DownRateMax), float64(p.Link.DownRate), float64(p.Stats.Conns)
	if highest <= eps {
		return -1
	}
	return highest / (n*(rate/highest) + 1)
}

// Section 3.5.
func predicted(size int64, bandwidth, rtt float64, reuse, tls bool) float64 {
	if bandwidth <= eps || rtt <= eps {
		return unknown
	}
	if reuse {
		return rtt + 1000*float64(size)/bandwidth
	}
	time := rtt
	if tls {
		time += 2 * rtt
	}
	limit, chunk, rounds := int64(bandwidth*0.8*(rtt/1000)), int64(14480), 0
	if chunk < limit {
		size -= chunk
		rounds = 1
		for size > 0 && chunk < limit/2 {
			rounds++
			chunk *= 2
			size -= chunk
		}
		size = max(size, 0)
	}
	return time + float64(rounds)*rtt + 1000*float64(size)/min(float64(chunk)/(rtt/1000), bandwidth)
}

// Section 3.6: the number of sockets offered on p.
func offeredOn(r *policy.Request, p *policy.Prefix) (n int) {
	for _, s := range r.Sockets {
		if p.CIDR.Contains(s.Local) {
			n++
		}
	}
	return n
}

// shapeA is shape A of section 3.9, for a request that choose decides. Descriptors in
// inUse, after choose has returned, are skipped.
func shapeA(r *policy.Request, choose func() (*policy.Prefix, bool), inUse map[int32]bool) (w wanted) {
	on := r.BoundPrefix
	if !r.Bound.IsValid() {
		w.prefix, w.mptcp = choose()
		on = w.prefix
	}
	if r.Kind == policy.SocketChoose && on != nil {
		for _, s := range r.Sockets {
			if on.CIDR.Contains(s.Local) && s.Multipath == w.mptcp && !inUse[s.FD] {
				w.fd = s.FD
				break
			}
		}
	}
	return w
}

// shapeB takes the first socket, whatever its prefix is.
func shapeB(r *policy.Request, choose func() *policy.Prefix) (w wanted) {
	switch {
	case len(r.Sockets) > 0:
		w.fd = r.Sockets[0].FD
	case !r.Bound.IsValid():
		w.prefix = choose()
	}
	return w
}

// arrivalRule is what the policies of sections 9 to 14 share.
type arrivalRule struct {
	times    map[*policy.Prefix]float64
	capacity func(*policy.Prefix) float64 // for the part about capacity; nil: no such part
	noTLS    bool                         // in the part about latency
	pick     func([]*policy.Prefix) *policy.Prefix
	chose    func(p *policy.Prefix, big bool)
	update   func(*policy.Request) func(*policy.Prefix) int // before the choice; returns the number of sockets on a prefix
	figures  func(*policy.Prefix) (rtt, capacity float64)
}

func (a arrivalRule) choose(r *policy.Request) *policy.Prefix {
	size, given := stated(r, intent.OptFileSize)
	if !given {
		return firstDefault(r.Prefixes)
	}
	offered := func(p *policy.Prefix) int { return offeredOn(r, p) }
	if a.update != nil {
		offered = a.update(r)
	}
	tls := r.Service == "443"
	if low := lowestRTT(r.Prefixes); a.capacity != nil && low != nil {
		latency := 2 * ms(low, false)
		switch {
		case offered(low) > 0:
			latency = ms(low, false)
		case tls && !a.noTLS:
			latency *= 2
		}
		if latency > 1000*float64(size)/a.capacity(low) {
			if a.chose != nil {
				a.chose(low, false)
			}
			return low
		}
	}
	var able []*policy.Prefix
	for _, p := range r.Prefixes {
		rtt, capacity := ms(p, true), freeCapacity(p)
		if a.figures != nil {
			rtt, capacity = a.figures(p)
		}
		a.times[p] = predicted(size, capacity, rtt, offered(p) > 0, tls)
		if a.times[p] < unknown {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		return firstDefault(r.Prefixes)
	}
	best := able[0]
	for _, p := range able {
		if a.times[p] < a.times[best] {
			best = p
		}
	}
	if a.pick != nil {
		best = a.pick(able)
	}
	if a.chose != nil {
		a.chose(best, true)
	}
	return best
}

// videoRule is section 15.
type videoRule struct {
	pessimist bool
	passed    map[*policy.Prefix]int
}

func (v videoRule) choose(r *policy.Request) *policy.Prefix {
	get := func(o intent.Option) int64 {
		if n, ok := stated(r, o); ok {
			return n
		}
		return -1
	}
	var p *policy.Prefix
	switch get(intent.OptCategory) {
	case int64(intent.CategoryQuery):
		p = lowestRTT(r.Prefixes)
	case int64(intent.CategoryControlTraffic):
		for _, q := range r.Prefixes {
			if v.passed[q] > 0 && (p == nil || v.passed[q] > v.passed[p]) {
				p = q
			}
		}
	case int64(intent.CategoryBulkTransfer):
		if p = v.segment(r, get(intent.OptBitrate)/8*4, float64(get(intent.OptDuration))); p != nil {
			for _, q := range r.Prefixes {
				v.passed[q]++
			}
			v.passed[p] = 0
		}
	}
	if p == nil {
		p = firstDefault(r.Prefixes)
	}
	return p
}

func (v videoRule) segment(r *policy.Request, size int64, duration float64) *policy.Prefix {
	const short, mid, long, longlong = 0, 1, 2, 3
	times := map[*policy.Prefix][4]float64{}
	for _, p := range r.Prefixes {
		w, one := p.Link.DownSMAMax, [4]float64{}
		for i, rate := range []policy.BytesPerSecond{w.Short, w.Mid, w.Long, w.VeryLong} {
			one[i] = predicted(size, float64(rate), ms(p, false), offeredOn(r, p) > 0, r.Service == "443")
		}
		times[p] = one
	}
	fastest := func(window int) (best *policy.Prefix) {
		for _, p := range r.Prefixes {
			if t := times[p][window]; t > 0 && t < unknown && (best == nil || t < times[best][window]) {
				best = p
			}
		}
		return best
	}
	var c *policy.Prefix
	for _, window := range []int{mid, long, longlong} {
		if c == nil {
			c = fastest(window)
		}
	}
	if c == nil {
		return nil
	}
	if !v.pessimist {
		a := fastest(longlong)
		switch {
		case a == nil || a == c:
		case duration <= 0 && v.passed[a] > 0:
			return a
		case v.passed[a] > 3 && (1.5*times[a][long] < duration || 1.5*times[c][long] > duration && times[a][long] < times[c][long] || v.passed[a] > 10):
			return a
		}
		return c
	}
	if duration <= 0 {
		return c
	}
	buffer, worst := max(duration, 4000), times[c][short]
	if worst == unknown {
		worst = times[c][mid]
	}
	switch {
	case worst > 1.5*buffer && v.passed[c] == 0:
	case worst > buffer:
		if v.passed[c] > 0 && times[c][mid] < 4000 {
			return c
		}
	case worst <= 4000:
		return c
	}
	if a := fastest(short); a != nil && a != c && (times[a][short] < duration || times[a][short] < times[c][short]) {
		return a
	}
	return c
}

// byRange is the select of section 8, byCategory that of section 7.
func byRange(list []*policy.Prefix, size int64) *policy.Prefix {
	var last *policy.Prefix
	for _, p := range list {
		low, high := 0.0, 2147483647.0
		if v, ok := p.Options.Number("minfilesize"); ok {
			low = v
		}
		if v, ok := p.Options.Number("maxfilesize"); ok {
			high = v
		}
		if low <= float64(size) && float64(size) <= high {
			return p
		}
		if p.Default {
			last = p
		}
	}
	return last
}

func byCategory(list []*policy.Prefix, category string) *policy.Prefix {
	var last *policy.Prefix
	for _, p := range list {
		if category != "" && p.Options.Text("category") == category {
			return p
		}
		if p.Default {
			last = p
		}
	}
	return last
}
