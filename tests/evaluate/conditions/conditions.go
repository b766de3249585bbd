// Package conditions is what the policies are judged by in virtual time: groups of
// cases in which networks change, are shared, lose packets, or are new. A case is a
// host and what it loads; it is played over each network alone, then by each scheme.
//
// The cases of a group are drawn: a seed gives networks, traffic and pages. Policies
// are tuned on one seed and judged on another.
package conditions

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// The seeds of the two sets.
const (
	Tuning  = 1
	Judging = 7919
)

// Host is a host that loads, in virtual time or over emulated links. Networks are
// counted from 0.
type Host interface {
	// Set changes rate, queue and loss of a network. Its round-trip time stays.
	Set(path int, p simulate.Path)
	// Follow gives a network the rates of a trace in Mbit/s, each for a second.
	Follow(path int, p simulate.Path, trace []float64)
	// Start lets others load, and returns what ends that.
	Start(t simulate.Traffic) (stop func())
	// Idle lets time pass.
	Idle(d time.Duration)
	// Load loads a page and returns how long that takes.
	Load(p *workload.Page) time.Duration
	// Fetch loads a file on a new connection.
	Fetch(size int64) time.Duration
}

// Case is one condition.
type Case struct {
	Name string
	Host simulate.Config // Scheme and Seed are filled in
	// Play loads what the case is about, and returns how long each load took.
	Play func(h Host) []time.Duration
	// Skip is how many loads at the beginning do not count.
	Skip int
	// Film is set in place of Play, and returns a mean opinion score.
	Film func(h *simulate.Host) float64
}

// Group is a set of conditions of one kind.
type Group struct {
	Name  string
	Cases []Case
}

// Result is how a case went by one scheme. Value is its time over that of the best
// single network, or for a film its score less that of the best.
type Result struct {
	Case  string
	Value float64
}

// Run plays the cases of a group by the schemes, and returns the results by scheme.
func Run(ctx context.Context, g Group, schemes []simulate.Scheme, workers int) ([][]Result, error) {
	all := make([][]Result, len(schemes))
	for i := range all {
		all[i] = make([]Result, len(g.Cases))
	}
	wg, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range workers {
		wg.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(g.Cases) || ctx.Err() != nil {
					return ctx.Err()
				}
				c := &g.Cases[i]
				values, err := c.compare(schemes, uint64(i+1))
				if err != nil {
					return err
				}
				for k, v := range values {
					all[k][i] = Result{c.Name, v}
				}
			}
		})
	}
	return all, wg.Wait()
}

// compare plays a case over each network alone and by each scheme.
func (c *Case) compare(schemes []simulate.Scheme, seed uint64) ([]float64, error) {
	best := math.Inf(1)
	if c.Film != nil {
		best = math.Inf(-1)
	}
	for n := range c.Host.Paths {
		v, err := c.play(simulate.Net(n+1), seed)
		if err != nil {
			return nil, err
		}
		if c.Film != nil {
			best = max(best, v)
		} else {
			best = min(best, v)
		}
	}
	var list []float64
	for _, s := range schemes {
		v, err := c.play(s, seed)
		if err != nil {
			return nil, err
		}
		if c.Film != nil {
			list = append(list, v-best)
		} else {
			list = append(list, v/best)
		}
	}
	return list, nil
}

// play returns the seconds that the loads took together, or the film's score.
func (c *Case) play(s simulate.Scheme, seed uint64) (float64, error) {
	cfg := c.Host
	cfg.Scheme, cfg.Seed = s, seed
	h, err := simulate.NewHost(cfg)
	if err != nil {
		return 0, err
	}
	if c.Film != nil {
		return c.Film(h), nil
	}
	return c.Seconds(h), nil
}

// Seconds plays a case that is not a film, and returns how long the loads that count took
// together.
func (c *Case) Seconds(h Host) float64 {
	sum := time.Duration(0)
	for _, t := range c.Play(h)[c.Skip:] {
		sum += t
	}
	return sum.Seconds()
}

// Summary is a line of the table.
type Summary struct {
	Cases         int
	Mean          float64 // geometric of times, plain of films
	Over5, Over50 int     // cases over 1.05 and 1.5; of films those that lose over 0.1 and over 0.5
	Worst         float64
	WorstAt       string
}

// Summarise sums results up.
func Summarise(list []Result, films bool) (s Summary) {
	s.Cases = len(list)
	if s.Cases == 0 {
		return s
	}
	sum := 0.0
	worse := func(a, b float64) bool { return a > b }
	limits := [2]float64{1.05, 1.5}
	if films {
		worse = func(a, b float64) bool { return a < b }
		limits = [2]float64{-0.1, -0.5}
	}
	for i, r := range list {
		if films {
			sum += r.Value
		} else {
			sum += math.Log(r.Value)
		}
		if worse(r.Value, limits[0]) {
			s.Over5++
		}
		if worse(r.Value, limits[1]) {
			s.Over50++
		}
		if i == 0 || worse(r.Value, s.Worst) {
			s.Worst, s.WorstAt = r.Value, r.Case
		}
	}
	s.Mean = sum / float64(len(list))
	if !films {
		s.Mean = math.Exp(s.Mean)
	}
	return s
}

// Films tells whether a group is judged by scores.
func (g *Group) Films() bool { return len(g.Cases) > 0 && g.Cases[0].Film != nil }

// Every returns a group with each n-th case only.
func (g Group) Every(n int) Group {
	var list []Case
	for i := 0; i < len(g.Cases); i += n {
		list = append(list, g.Cases[i])
	}
	return Group{g.Name, list}
}

// Named returns the groups of those names, all where none are given.
func Named(groups []Group, names ...string) []Group {
	if len(names) == 0 {
		return groups
	}
	return slices.DeleteFunc(groups, func(g Group) bool { return !slices.Contains(names, g.Name) })
}
