package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func TestMain(m *testing.M) {
	if actor, err := stage.Act(live.Jobs()); actor {
		exit(err)
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(m.Run())
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--quick --full", "exclude each other"},
		{"--repeat -1", "at least 0"},
		{"--parallel 0", "at least 1"},
		{"E1", `unexpected argument "E1"`},
		{"--scenario E11", `no scenario "E11"`},
		{"--quick --scenario E9", `no scenario "E9"`},
		{"--speed 3", "--speed"},
	} {
		if err := run(t.Context(), strings.Fields(tt.args), new(strings.Builder), new(strings.Builder)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"--help"}, &out, nil); err != nil || out.String() != usage {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestPlan(t *testing.T) {
	p, err := planOf(options{scenarios: []string{"E1", "E9"}, repeat: 12, parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p.scenarios[0].name != "E9" || p.reps(&p.scenarios[1]) != 12 || p.video != 80*time.Second {
		t.Errorf("%+v", p)
	}
	for _, o := range []options{{}, {full: true}, {quick: true}} {
		p, err := planOf(o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.scenarios {
			s := &p.scenarios[i]
			if p.reps(s) < 1 || len(s.loads) == 0 || len(s.pairs) == 0 {
				t.Errorf("%+v: %+v", o, s)
			}
			for _, load := range s.loads {
				if _, err := pageOf(load); err != nil && (s.work == pages || s.work == files) {
					t.Error(err)
				}
			}
		}
	}
	// A film has one part for each player; any other scenario has one for each pair.
	list := scenarios(false)
	if e8, e9 := list[7].parts(), list[8].parts(); len(e8) != 8 || len(e9) != 2 || e9[1].name != "bola" {
		t.Errorf("parts %+v, %+v", e8, e9)
	}
	pairs := map[simulate.Pair]bool{}
	for _, p := range eight() {
		pairs[p] = true
	}
	if len(pairs) != 8 {
		t.Errorf("%d pairs", len(pairs))
	}
}

// A run that was interrupted goes on after its complete parts.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := record{Scenario: "E1", Pair: "p", Repeat: 1, Load: "P1", Way: net1, Value: 2}
	mark := record{Scenario: "E1", Pair: "p", Repeat: 1, Done: true}
	second := record{Scenario: "E1", Pair: "p", Repeat: 2, Load: "P1", Way: net1, Value: 3}
	if err := j.add(first, mark, second); err != nil {
		t.Fatal(err)
	}
	_ = j.file.Close()
	path := filepath.Join(dir, rawName)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"scenario":"E`) // the power fails here
	_ = f.Close()
	again, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.file.Close() }()
	if diff := cmp.Diff([]record{first, mark}, again.records); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if part := (record{Scenario: "E1", Pair: "p", Part: "bola", Repeat: 1}); !again.has(mark.unit()) || again.has(second.unit()) || again.has(part.unit()) {
		t.Error("which repetitions are complete")
	}
	if err := os.WriteFile(path, []byte("what?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("nonsense gives %v", err)
	}
}

// made returns results as if they were measured: the time of each way in the scenarios.
func made(list []scenario, seconds map[string]float64) *results {
	rs := &results{plan: plan{scenarios: list, repeats: 6, bulk: bulkSize}}
	for _, s := range list {
		for _, pair := range s.pairs {
			for _, load := range s.loads {
				for way, v := range seconds {
					for rep := range 6 {
						r := record{Scenario: s.name, Pair: pair.String(), Repeat: rep, Load: load, Way: way, Value: v, Bytes: []uint64{1, 2}, Objects: []int{1, 2}}
						switch s.work {
						case messages:
							r.Messages = &live.Messages{Latencies: []float64{v}, BulkSeconds: 4, BulkNet: 1, MessageNets: []int{0}}
						case video:
							r.Value = 5 - v
							r.Video = &live.Watched{Judgement: player.Judgement{MOS: r.Value}, Segments: []live.Segment{{}}}
						}
						rs.records = append(rs.records, r)
					}
				}
			}
		}
	}
	return rs
}

func TestFindings(t *testing.T) {
	list := scenarios(false)
	good := map[string]float64{
		net1: 4, net2: 3.9, roundRobin: 4.8, multipath: 3, firstConnect: 40,
		"earliest_arrival": 0.35, "threshold": 0.35, "adaptive": 0.3, "optimist": 0.5, "pessimist": 0.5,
	}
	for _, f := range made(list, good).findings(list) {
		if f.verdict != reached && f.verdict != beaten {
			t.Errorf("%+v", f)
		}
	}
	bad := map[string]float64{
		net1: 4, net2: 3.9, roundRobin: 3.8, multipath: 3, firstConnect: 4,
		"earliest_arrival": 5, "threshold": 4.5, "adaptive": 5, "optimist": 4.5, "pessimist": 4.5,
	}
	for _, f := range made(list, bad).findings(list) {
		if f.verdict != missed {
			t.Errorf("%+v", f)
		}
	}
	for _, f := range (&results{}).findings(list) {
		if f.verdict == reached || f.verdict == beaten {
			t.Errorf("without a measurement: %+v", f)
		}
	}
}

func TestReport(t *testing.T) {
	list, err := selected(append(scenarios(false), chromium(false)...), []string{"E1", "E9", "E10", "E1-chromium"})
	if err != nil {
		t.Fatal(err)
	}
	rs := made(list, map[string]float64{net1: 4, net2: 2, "adaptive": 1, "threshold": 1.5})
	rs.records = append(rs.records, record{Scenario: "E1", Pair: "p", Repeat: 4, Load: "P1", Way: multipath, Failed: []string{"i/o timeout"}, Lost: true})
	k := key{"E1", list[0].pairs[0].String(), "P1", "adaptive"}
	rs.simulated = map[key]float64{k: 1.1}
	dir := t.TempDir()
	if _, err := rs.write(dir, machine{Version: "v0"}, []string{"a note"}, "the grid\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, reportName))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Evaluation", "mamma v0", "- a note", "P1 by mptcp, repetition 4: i/o timeout; it was left out", "## Expectations", "the grid", "## E10: ", "## E1-chromium: ", "deviates from the emulated links by 10.0 %", "![", "| adaptive"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the report", want)
		}
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "!["); ok {
			_, file, _ := strings.Cut(strings.TrimSpace(name), "](")
			if _, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(file, ")"))); err != nil {
				t.Error(err)
			}
		}
	}
	if m, p90, n := rs.deviation(); n != 1 || math.Abs(m-0.1) > 1e-9 || m != p90 {
		t.Errorf("deviation %v, %v of %d", m, p90, n)
	}
}

func TestLimits(t *testing.T) {
	e := &evaluation{plan: plan{scenarios: quick()}}
	one := &e.plan.scenarios[0]
	var out strings.Builder
	e.results = *made(quick(), map[string]float64{net1: 4, net2: 2, "adaptive": 1.2, "threshold": 1.2})
	for i := range e.plan.scenarios {
		if err := e.exceeded(&e.plan.scenarios[i], &out); err != nil {
			t.Error(err)
		}
	}
	e.results = *made(quick(), map[string]float64{net1: 4, net2: 2, "adaptive": 3, "threshold": 1.2})
	if err := e.exceeded(one, &out); err == nil || !strings.Contains(err.Error(), "E1, P1 by adaptive takes 1.50") || !strings.Contains(out.String(), "exceeded") {
		t.Errorf("%v\n%s", err, &out)
	}
	e.results = results{}
	if e.exceeded(one, &out) == nil {
		t.Error("nothing measured gives no error")
	}
}

func TestGridReport(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gridReport(ctx, 1, true, 1, t.Logf); err == nil {
		t.Error("a cancelled grid gives no error")
	}
}

// A repetition with real loads leaves complete records.
func TestRepetition(t *testing.T) {
	dir, err := os.MkdirTemp("", "ev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := stage.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.file.Close() }()
	s := scenario{"T", "test", []simulate.Pair{simulate.PairOf(20, 10, 20, 20)}, files, []string{"10000"}, []live.Policy{plain("adaptive")}, 10}
	p := &performer{
		plan: plan{scenarios: []scenario{s}, repeats: 1, warmup: 200 * time.Millisecond, parallel: 1}, program: program, journal: j,
		progress: t.Logf, skipped: func(what string, err error) { t.Logf("%s: %v", what, err) },
		finished: func() error { return nil },
	}
	if err := p.run(t.Context()); err != nil {
		testbed.SkipOrFail(t, err)
	}
	if err := p.run(t.Context()); err != nil { // nothing is left to do
		t.Fatal(err)
	}
	rs := results{plan: p.plan, records: j.records}
	k := key{"T", s.pairs[0].String(), "10000", ""}
	if diff := cmp.Diff([]string{net1, net2, firstConnect, "adaptive"}, rs.ways(k)); diff != "" {
		t.Errorf("ways (-want +got)\n%s", diff)
	}
	for _, r := range j.records {
		if !r.Done && (r.Value < 0.015 || r.Bytes[0]+r.Bytes[1] < 10_000) {
			t.Errorf("%+v", r)
		}
	}
}
