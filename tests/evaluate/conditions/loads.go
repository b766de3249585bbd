package conditions

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// play is what a host loads.
type play = func(h Host) []time.Duration

// files loads files one after the other, each over a new connection.
func files(n int, size int64, gap time.Duration) play {
	return func(h Host) (list []time.Duration) {
		for range n {
			list = append(list, h.Fetch(size))
			h.Idle(gap)
		}
		return list
	}
}

// pages loads web pages one after the other.
func pages(list []workload.Page, gap time.Duration) play {
	return func(h Host) (times []time.Duration) {
		for i := range list {
			times = append(times, h.Load(&list[i]))
			h.Idle(gap)
		}
		return times
	}
}

// first does something before a play.
func first(do func(h Host), p play) play {
	return func(h Host) []time.Duration {
		do(h)
		return p(h)
	}
}

// named is a page of a name, n times.
func named(name string, n int) (list []workload.Page) {
	p, ok := workload.ByName(name)
	if !ok {
		panic("no page " + name)
	}
	for range n {
		list = append(list, p)
	}
	return list
}

// untold states no size.
func untold(int64) intent.Set { return intent.Set{} }

// scaled states a size that is wrong by a factor.
func scaled(factor float64) func(int64) intent.Set {
	return func(size int64) intent.Set {
		return intent.Set{}.WithFileSize(max(1, int64(float64(size)*factor)))
	}
}

// dice draws.
type dice struct{ *rand.Rand }

func roll(seed uint64, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

// between draws from an interval, all magnitudes being equally likely.
func (d dice) between(low, high float64) float64 {
	return low * math.Pow(high/low, d.Float64())
}

// round cuts to two digits, so that names say what was played.
func round(x float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(x))-1)
	return math.Round(math.Round(x/scale)*scale*1e6) / 1e6
}

func (d dice) path(rateLow, rateHigh, rttLow, rttHigh float64) simulate.Path {
	return simulate.Path{Mbps: round(d.between(rateLow, rateHigh)), RTT: time.Duration(round(d.between(rttLow, rttHigh)) * float64(time.Millisecond))}
}

// pair draws two networks of which each is better in something, or not.
func (d dice) pair() []simulate.Path {
	return []simulate.Path{d.path(0.5, 60, 8, 200), d.path(0.5, 60, 8, 200)}
}

// usual draws a page, a few files, or a synthetic page.
func (d dice) usual(n int, gap time.Duration) (string, play) {
	switch d.IntN(4) {
	case 0:
		size := int64(round(d.between(20e3, 2e6)))
		return text("%d files of %d kB", n, size/1000), files(n, size, gap)
	case 1:
		name := []string{"G", "mixedA", "mixedD", "10kBx16"}[d.IntN(4)]
		return text("%d of %s", n, name), pages(named(name, n), gap)
	default:
		return text("%d drawn pages", n), pages(workload.Drawn(n, d.Uint64()), gap)
	}
}

// trace draws rates for each second about a mean: a random walk of the logarithm
// that returns to it, with stretches of little.
func (d dice) trace(mean, spread float64, n int) []float64 {
	list := make([]float64, n)
	x, sum := 0.0, 0.0
	bad := 0
	for i := range list {
		x = 0.8*x + 0.6*spread*d.NormFloat64()
		list[i] = math.Exp(x)
		if bad == 0 && d.Float64() < 0.02 {
			bad = 2 + d.IntN(6)
		}
		if bad > 0 {
			list[i] *= 0.1
			bad--
		}
		sum += list[i]
	}
	for i := range list {
		list[i] *= mean * float64(n) / sum
	}
	return list
}
