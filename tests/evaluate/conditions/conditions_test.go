package conditions

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/tests/evaluate/simulate"
)

// The cases of a seed are always the same, and differ from those of another seed.
func TestSets(t *testing.T) {
	names := func(seed uint64) map[string]int {
		list := map[string]int{}
		for _, g := range Groups(seed) {
			for _, c := range g.Cases {
				list[g.Name+": "+c.Name]++
			}
		}
		return list
	}
	tuning := names(Tuning)
	if diff := cmp.Diff(tuning, names(Tuning)); diff != "" {
		t.Errorf("drawn again (-first +second)\n%s", diff)
	}
	counts := map[string]int{}
	for _, g := range Groups(Judging) {
		counts[g.Name] = len(g.Cases)
		if g.Name == "static" { // it has the same links with other pages
			continue
		}
		for _, c := range g.Cases {
			if tuning[g.Name+": "+c.Name] > 0 {
				t.Errorf("both sets have %s: %s", g.Name, c.Name)
			}
		}
	}
	want := map[string]int{
		"static": 263, "cross traffic": 84, "rates that change each second": 28, "loss": 80, "three and four networks": 16,
		"a change for good": 64, "no size, or wrong ones": 36, "cold, idle, recovery": 87, "random pairs, cold": 1500, "films": 136,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("cases (-want +got)\n%s", diff)
	}
}

// Every case can be played. A network that is compared with itself is as good as the
// best.
func TestRun(t *testing.T) {
	for _, g := range Groups(Tuning) {
		g = g.Every(max(1, len(g.Cases)/2))
		for i := range g.Cases {
			g.Cases[i].Host.Paths = g.Cases[i].Host.Paths[:2]
		}
		results, err := Run(t.Context(), g, []simulate.Scheme{simulate.Net(1), simulate.Net(2)}, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results[0] {
			best := min(r.Value, results[1][i].Value)
			want := 1.0
			if g.Films() {
				best, want = max(r.Value, results[1][i].Value), 0
			}
			if math.Abs(best-want) > 1e-9 {
				t.Errorf("%s: %s: the better network differs from itself: %v", g.Name, r.Case, best)
			}
		}
	}
}

func TestSummarise(t *testing.T) {
	got := Summarise([]Result{{"a", 0.5}, {"b", 1.06}, {"c", 2}}, false)
	want := Summary{Cases: 3, Mean: math.Cbrt(1.06), Over5: 2, Over50: 1, Worst: 2, WorstAt: "c"}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("times (-want +got)\n%s", diff)
	}
	got = Summarise([]Result{{"a", 0.5}, {"b", -0.2}, {"c", -1.2}}, true)
	want = Summary{Cases: 3, Mean: -0.3, Over5: 2, Over50: 1, Worst: -1.2, WorstAt: "c"}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("films (-want +got)\n%s", diff)
	}
}
