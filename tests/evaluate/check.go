package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/socket-intents/mamma/tests/evaluate/report"
)

// limit is a bound of the quick selection: a way's median may be at most so many
// times that of the better network. The bounds are wide, as they have to hold on
// busy machines, but narrow enough for a policy that stopped working.
type limit struct {
	scenario, load, way string
	most                float64
}

func limits() []limit {
	return []limit{
		{"E1", "P1", "adaptive", 1.25},
		{"E1", "P1", "threshold", 1.75},
		{"E2", "P1", "adaptive", 0.8},
		{"E2", "P1", "threshold", 0.95},
		{"E7", "10000", "adaptive", 1.5},
		{"E7", "10000", "threshold", 1.5},
		{"E7", "1000000", "adaptive", 1.25},
		{"E7", "1000000", "threshold", 1.25},
	}
}

// check prints how the quick selection went, and is an error if a limit was
// exceeded.
func (e *evaluation) check(out io.Writer) error {
	rs := &e.results
	t := &report.Table{Head: []string{"scenario", "load", "way", "s", "of the better net", "at most", ""}}
	var failed []error
	for _, l := range limits() {
		for i := range e.plan.scenarios {
			s := &e.plan.scenarios[i]
			if s.name != l.scenario {
				continue
			}
			k := key{s.name, s.pairs[0].String(), l.load, l.way}
			m := rs.median(k)
			ratio := m / rs.better(k)
			word := "ok"
			if !(ratio <= l.most) {
				word = "exceeded"
				failed = append(failed, fmt.Errorf("%s, %s by %s takes %.2f of the better network's time, at most %.2f are allowed", l.scenario, s.title(l.load), l.way, ratio, l.most))
			}
			t.Add(s.name, s.title(l.load), l.way, report.Number(m), report.Number(ratio), report.Number(l.most), word)
		}
	}
	if _, err := fmt.Fprint(out, t.Markdown()); err != nil {
		return err
	}
	return errors.Join(failed...)
}
