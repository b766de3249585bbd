package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTable(t *testing.T) {
	got, err := readTable("  clients  decisions/s  p50 us  idle cpu %\n" +
		"        1        12345      40         1.5\n" +
		"        8        56789     190           -\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]float64{
		{"clients": 1, "decisions/s": 12345, "p50 us": 40, "idle cpu %": 1.5},
		{"clients": 8, "decisions/s": 56789, "p50 us": 190},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, text := range []string{"", "a  b\n", "a  b\n1\n", "a  b\n1  x\n"} {
		if rows, err := readTable(text); err == nil {
			t.Errorf("%q is read as %v", text, rows)
		}
	}
}

func TestReadBenchmark(t *testing.T) {
	const out = "goos: linux\nBenchmarkDialOther-2 \t 1 \t 7 ns/op\nBenchmarkDial-2   \t     600\t   4571700 ns/op\t       253.5 added_by_echo_us\t       722.6 added_us\nPASS\n"
	got, err := readBenchmark(out, "BenchmarkDial")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"ns/op": 4571700, "added_by_echo_us": 253.5, "added_us": 722.6}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, text := range []string{"", "PASS\n", "BenchmarkDial-2 1 x ns/op\n"} {
		if m, err := readBenchmark(text, "BenchmarkDial"); err == nil {
			t.Errorf("%q is read as %v", text, m)
		}
	}
}

func TestTable(t *testing.T) {
	tab := table{before: map[string][]float64{}, now: map[string][]float64{}, shared: map[string][]float64{}}
	for _, v := range []float64{10, 30, 20} {
		tab.add(tab.before, []figure{{name: "rate", value: v}, {name: "bare", value: v, shared: true}})
		tab.add(tab.now, []figure{{name: "rate", value: 3 * v}, {name: "lease", value: 0.5}})
	}
	var out strings.Builder
	if err := tab.print(&out, "v0.9.0"); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{{"v0.9.0", "now", "ratio"}, {"rate", "20", "60", "3.00"}, {"bare", "20"}, {"lease", "-", "0.50", "-"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	list, err := choose([]string{"size", "dial"})
	if err != nil || len(list) != 2 || list[0].name != "dial" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := choose([]string{"sizes"}); err == nil {
		t.Error("an unknown part is taken")
	}
}
