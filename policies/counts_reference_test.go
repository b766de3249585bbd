package policies

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policy"
)

// tally is what section 12 keeps about one prefix, with one difference that MAPPING.md
// names. The original adds a socket to the large ones while the count of large
// transfers is higher than before the last of them. Here the decision that chose the
// socket says which set the socket belongs to, and that is one set at most.
type tally struct {
	arrival.State
	suggested map[owned]time.Time
	small     map[owned]bool
	big       map[owned]bool
}

// owned is a descriptor of one client.
type owned struct {
	pid uint32
	fd  int32
}

// counting is section 12, and section 14 if pick and noTLS are set.
type counting struct {
	arrivalRule
	t       *testing.T
	aid     *aid
	tallies map[*policy.Prefix]*tally
	own     *arrival.Counts // the policy's

	// These are about the present request.
	reuse map[*policy.Prefix]int
	inUse map[int32]bool
	was   string // "small", "big", or "" for the default
}

// countEvents are the branches of update_counts.
var countEvents = []string{"too early", "small is over", "big is over", "another is over"}

func newCounting(t *testing.T, aid *aid, own *arrival.Counts) *counting {
	t.Helper()
	c := &counting{t: t, aid: aid, own: own, tallies: map[*policy.Prefix]*tally{}}
	c.update = c.updateCounts
	c.capacity = func(p *policy.Prefix) float64 {
		n := c.of(p)
		if v := float64(p.Link.DownRateMax) / float64(n.Big+n.Small+1); v >= eps {
			return v
		}
		return -1
	}
	c.chose = func(p *policy.Prefix, big bool) {
		n := c.of(p)
		if !big {
			n.Small++
			c.was = "small"
			return
		}
		n.BigBefore = n.Big
		n.Big++
		c.was = "big"
	}
	return c
}

func (c *counting) of(p *policy.Prefix) *tally {
	n := c.tallies[p]
	if n == nil {
		n = &tally{suggested: map[owned]time.Time{}, small: map[owned]bool{}, big: map[owned]bool{}}
		c.tallies[p] = n
	}
	return n
}

// decide compares the counts before the request, and then decides.
func (c *counting) decide(r *policy.Request) wanted {
	for p, n := range c.tallies {
		if diff := cmp.Diff(n.State, c.own.State(p.ID)); diff != "" {
			c.t.Errorf("counts of %s (-want +got):\n%s", p.Interface, diff)
		}
	}
	c.times, c.inUse, c.reuse, c.was = map[*policy.Prefix]float64{}, map[int32]bool{}, map[*policy.Prefix]int{}, ""
	for _, p := range r.Prefixes {
		c.reuse[p] = offeredOn(r, p)
	}
	return shapeA(r, func() (*policy.Prefix, bool) {
		p := c.choose(r)
		if p != nil {
			c.suggest(r, p)
		}
		return p, false
	}, c.inUse)
}

// updateCounts is update_counts. The returned function returns reuse, which
// updateCounts may have lowered.
func (c *counting) updateCounts(r *policy.Request) func(*policy.Prefix) int {
	for _, p := range r.Prefixes {
		n := c.of(p)
		if diff := c.reuse[p] - n.Reuse; c.reuse[p] > 0 && diff > 0 {
			c.over(r, p, n, diff)
		}
		n.Reuse = c.reuse[p]
	}
	return func(p *policy.Prefix) int { return c.reuse[p] }
}

func (c *counting) over(r *policy.Request, p *policy.Prefix, n *tally, diff int) {
	done := 0
	for _, s := range r.Sockets {
		o := owned{r.App.PID, s.FD}
		at, known := n.suggested[o]
		if m := p.Stats.SRTTMin; known && m > 0 && r.Now.Sub(at) < m {
			diff--
			c.reuse[p]--
			c.inUse[s.FD] = true
			c.aid.events["too early"]++
			continue
		}
		small, big := n.small[o], n.big[o]
		delete(n.small, o)
		delete(n.big, o)
		switch {
		case small && n.Small > 0 && done < diff:
			n.Small--
			done++
			c.aid.events["small is over"]++
		case big && n.Big > 0 && done < diff:
			n.Big--
			done++
			c.aid.events["big is over"]++
		}
	}
	for ; diff > done && (n.Small > 0 || n.Big > 0); done++ {
		c.aid.events["another is over"]++
		if n.Small > 0 {
			n.Small--
		} else {
			n.Big--
		}
	}
}

// suggest does the bookkeeping after the choice of p.
func (c *counting) suggest(r *policy.Request, p *policy.Prefix) {
	n := c.of(p)
	if c.reuse[p] <= 0 {
		return
	}
	n.Reuse--
	for _, s := range r.Sockets {
		if !p.CIDR.Contains(s.Local) || c.inUse[s.FD] {
			continue
		}
		o := owned{r.App.PID, s.FD}
		n.suggested[o] = r.Now
		delete(n.small, o)
		delete(n.big, o)
		switch c.was {
		case "small":
			n.small[o] = true
		case "big":
			n.big[o] = true
		}
		return
	}
}

// clients makes the request come from one of two programs, 12 ms after the request
// before, with descriptors in any order.
func clients(rnd *rand.Rand, r *policy.Request, step int) {
	r.App.PID += uint32(rnd.IntN(2)) //nolint:gosec // 0 or 1
	r.Now = r.Now.Add(time.Duration(step) * 12 * time.Millisecond)
	numbers := []int32{5, 6, 7, 1023, 1024, 1 << 20}
	rnd.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	for i := range r.Sockets {
		r.Sockets[i].FD = numbers[i]
	}
}

// byChance is the choice of section 14 with the default penalty.
func byChance(able []*policy.Prefix, times map[*policy.Prefix]float64, r float64) *policy.Prefix {
	if len(able) == 1 {
		return able[0]
	}
	shares := make([]float64, len(able))
	sum := 0.0
	for i, p := range able {
		shares[i] = 1 / times[p]
		if v := p.Stats.RTTVarMean.Seconds() * 1000; v > 0 {
			shares[i] /= v
		}
		sum += shares[i]
	}
	reached := 0.0
	for i, p := range able {
		if reached += shares[i] / sum; reached > r {
			return p
		}
	}
	return able[len(able)-1]
}
