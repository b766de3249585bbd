package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/live"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// work is what a scenario has programs do.
type work string

// The kinds of work.
const (
	pages    work = "pages"
	files    work = "files"
	video    work = "video"
	messages work = "messages"
	browser  work = "browser"
)

// scenario is a line of the table of doc/original/evaluation.md, "Scenarios".
type scenario struct {
	name  string
	about string
	pairs []simulate.Pair
	work  work
	// loads are names of pages, sizes of files, or players.
	loads []string
	// policies are compared besides the common comparators.
	policies []live.Policy
	// share is how many repetitions there are of ten that others have.
	share int
}

// The messages of E10.
const (
	messageSize  = 1000
	messageEvery = 0.2 // seconds
	bulkSize     = 10_000_000
)

// firstConnect is the comparator of E7.
const firstConnect = "first to connect"

// The names of the other comparators.
const (
	net1       = "net 1"
	net2       = "net 2"
	roundRobin = "round robin"
	multipath  = "mptcp"
)

func common() live.Policy { return live.Policy{Name: roundRobin, Policy: "rr_naive"} }

// sized are the policies that decide by size; family adds those that differ
// little from earliest_arrival.
func sized(family bool) []live.Policy {
	list := []live.Policy{common(), plain("earliest_arrival"), plain("threshold"), plain("adaptive")}
	if family {
		list = append(list, plain("earliest_arrival_countconns"), plain("earliest_arrival_free_or_busy"), plain("earliest_arrival_probabilities"))
	}
	return list
}

func plain(name string) live.Policy { return live.Policy{Name: name, Policy: name} }

func forVideo() []live.Policy {
	return []live.Policy{
		common(),
		{Name: "optimist", Policy: "video"},
		{Name: "pessimist", Policy: "video", Settings: "  be_pessimist = true"},
		plain("mptcp_selective"),
		plain("adaptive"),
	}
}

// scenarios lists E1 to E10; family is as for sized.
func scenarios(family bool) []scenario {
	one := func(p simulate.Pair) []simulate.Pair { return []simulate.Pair{p} }
	return []scenario{
		{"E1", "slow and near + fast and far", one(simulate.PairOf(2, 10, 20, 100)), pages, []string{"P1", "P2", "P1-tls"}, sized(family), 10},
		{"E2", "two equal slow ones", one(simulate.PairOf(2, 10, 2, 10)), pages, []string{"P1", "P2"}, sized(family), 10},
		{"E3", "two much alike", one(simulate.PairOf(6, 50, 5, 50)), pages, []string{"mixedD", "100kBx32"}, sized(family), 10},
		{"E4", "slow and near + fast and far, few large objects", one(simulate.PairOf(2, 20, 20, 100)), pages, []string{"mixedC", "100kBx32"}, sized(family), 10},
		{"E5", "very slow and near + very fast and very far", one(simulate.PairOf(0.5, 10, 50, 200)), pages, []string{"1kBx32", "10kBx16", "mixedD"}, sized(family), 10},
		{"E6", "one better in everything", one(simulate.PairOf(50, 10, 20, 50)), pages, []string{"P1", "P2", "P1-tls"}, sized(family), 10},
		{"E7", "single files", one(simulate.PairOf(2, 10, 20, 100)), files, []string{"10000", "100000", "1000000", "10000000"}, sized(family), 6},
		{"E8", "eight pairs of links", eight(), pages, []string{"G", "P1", "mixedA"}, sized(family), 5},
		{"E9", "video while a network collapses", one(simulate.PairOf(1, 20, 5, 50)), video, []string{"buffer", "bola"}, forVideo(), 4},
		{"E10", "short messages beside a bulk transfer", one(simulate.PairOf(6, 20, 20, 50)), messages, []string{"bulk"}, sized(family), 10},
	}
}

// eight are the pairs of E8: each first path once, the second ones in turn.
func eight() []simulate.Pair {
	var list []simulate.Pair
	rates2, rtts2 := []float64{5, 20, 50}, []float64{30, 100}
	i := 0
	for _, rate := range []float64{0.5, 2, 6, 20} {
		for _, rtt := range []float64{10, 50} {
			list = append(list, simulate.PairOf(rate, rtt, rates2[i%3], rtts2[(i/3+i)%2]))
			i++
		}
	}
	return list
}

// forChromium are the comparators of a browser that goes through a proxy; a daemon
// that knows one network has no choice. Round robin is not among them, as its
// policy resolves no names.
func forChromium() []live.Policy {
	return []live.Policy{{Name: net1, Policy: "threshold", Only: 1}, {Name: net2, Policy: "threshold", Only: 2}, plain("threshold"), plain("adaptive")}
}

// chromium are pages loaded by a real browser: in E1, or in E8, too.
func chromium(all bool) []scenario {
	e1 := []simulate.Pair{simulate.PairOf(2, 10, 20, 100)}
	list := []scenario{{"E1-chromium", "a page in Chromium, through muacsocksd", e1, browser, []string{"P1"}, forChromium(), 10}}
	if all {
		list = append(list, scenario{"E8-chromium", "a page in Chromium, through muacsocksd", eight(), browser, []string{"P1"}, forChromium(), 5})
	}
	return list
}

// quick is the short selection.
func quick() []scenario {
	var list []scenario
	for _, s := range scenarios(false) {
		s.policies = []live.Policy{plain("threshold"), plain("adaptive")}
		switch s.name {
		case "E1", "E2":
			s.loads = []string{"P1"}
		case "E7":
			s.loads = []string{"10000", "1000000"}
		default:
			continue
		}
		s.share = 10
		list = append(list, s)
	}
	return list
}

// collapse tells how the second path of E9 changes, and when: a quarter into the
// film, which is after 60 of 240 s.
func collapse(v *workload.Video) (time.Duration, live.Path) {
	return v.Length / 4, live.Path{Mbps: 0.2, RTT: 50 * time.Millisecond}
}

// title is the name of a load in tables.
func (s *scenario) title(load string) string {
	switch s.work {
	case files:
		var n int64
		_, _ = fmt.Sscan(load, &n) // written above
		if n >= 1_000_000 {
			return fmt.Sprintf("%d MB", n/1_000_000)
		}
		return fmt.Sprintf("%d kB", n/1000)
	case video:
		return load + " player"
	}
	if secure(load) {
		return strings.TrimSuffix(load, overTLS) + " over TLS"
	}
	return load
}
