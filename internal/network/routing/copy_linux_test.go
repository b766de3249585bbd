package routing

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// ip runs ip(8) on the client, once for each line.
func (w *world) ip(lines string) string {
	w.t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		testbed.SkipOrFail(w.t, err)
	}
	all := ""
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		err := w.Client.Do(func() error {
			out, err := exec.Command(path, strings.Fields(line)...).CombinedOutput()
			all += string(out)
			return err
		})
		if err != nil {
			w.t.Fatalf("ip %s: %v: %s", line, err, all)
		}
	}
	return all
}

// table shows the default routes of our tables, without what only marks them as ours.
func (w *world) table(family string) []string {
	w.t.Helper()
	var list []string
	for line := range strings.Lines(w.ip("-o " + family + " route show table all proto 77")) {
		line = strings.Join(strings.Fields(strings.ReplaceAll(line, "\\", " ")), " ")
		if i := strings.Index(line, " expires "); i >= 0 {
			line = line[:i] + " expires" // how long is another matter
		}
		list = append(list, regexp.MustCompile(" table [0-9]+| proto 77").ReplaceAllString(line, ""))
	}
	slices.Sort(list)
	return list
}

// Copies of routes have everything that the routes have, as ip(8) shows it, whatever a
// route is changed into. At the end nothing of ours is left.
func TestCopies(t *testing.T) {
	const metric = "mtu lock 1300 window 60000 advmss 1200 hoplimit 60 initcwnd 30 initrwnd 40 quickack 1 congctl reno"
	for _, tt := range []struct {
		name, family string
		steps        [][2]string // what is done, and what the table is to have then
	}{
		{"IPv4", "-4", [][2]string{
			{"route replace default via 10.1.0.1 dev wlan0 metric 100 " + metric, "default via 10.1.0.1 dev wlan0 metric 100 " + metric},
			{"route replace default metric 100 nexthop via 10.1.0.1 dev wlan0 weight 3 nexthop via 10.1.0.9 dev wlan0",
				"default metric 100 nexthop via 10.1.0.1 dev wlan0 weight 3 nexthop via 10.1.0.9 dev wlan0 weight 1"},
			{"route replace default metric 100 nexthop via 10.1.0.1 dev wlan0 weight 5 nexthop via 10.1.0.9 dev wlan0",
				"default metric 100 nexthop via 10.1.0.1 dev wlan0 weight 5 nexthop via 10.1.0.9 dev wlan0 weight 1"},
			{"nexthop add id 5 via 10.1.0.1 dev wlan0\nroute replace default metric 100 nhid 5", "default nhid 5 via 10.1.0.1 dev wlan0 metric 100"},
			{"nexthop replace id 5 via 10.1.0.9 dev wlan0", "default nhid 5 via 10.1.0.9 dev wlan0 metric 100"},
			{"route replace default via 10.77.0.1 dev wlan0 onlink metric 100", "default via 10.77.0.1 dev wlan0 metric 100 onlink"},
			{"-4 route replace default via inet6 fe80::7 dev wlan0 metric 100", "default via inet6 fe80::7 dev wlan0 metric 100"},
			{"route replace default via 10.1.0.1 dev wlan0 metric 100 src 10.1.0.2", "default via 10.1.0.1 dev wlan0 src 10.1.0.2 metric 100"},
			{"route del default metric 100", ""},
		}},
		{"IPv6", "-6", [][2]string{
			{"-6 route replace default via fe80::7 dev wlan0 metric 100 pref high mtu 1400 hoplimit 60", "default via fe80::7 dev wlan0 metric 100 mtu 1400 hoplimit 60 pref high"},
			{"-6 route replace default via fe80::7 dev wlan0 metric 100 expires 1000", "default via fe80::7 dev wlan0 metric 100 expires"},
			{"-6 route replace default metric 100 nexthop via fe80::7 dev wlan0 weight 3 nexthop via fe80::8 dev wlan0",
				"default metric 100 pref medium nexthop via fe80::7 dev wlan0 weight 3 nexthop via fe80::8 dev wlan0 weight 1"},
			{"-6 route del default metric 100\n-6 nexthop add id 6 via fe80::6 dev wlan0\n-6 nexthop add id 7 via fe80::7 dev wlan0\n" +
				"-6 route append default nhid 6 metric 100 pref low\n-6 route append default nhid 7 metric 100 pref high",
				"default nhid 6 via fe80::6 dev wlan0 metric 100 pref low\ndefault nhid 7 via fe80::7 dev wlan0 metric 100 pref high"},
			{"-6 route replace default via fe80::9 dev wlan0 metric 99", "default nhid 6 via fe80::6 dev wlan0 metric 100 pref low\n" +
				"default nhid 7 via fe80::7 dev wlan0 metric 100 pref high\ndefault via fe80::9 dev wlan0 metric 99 pref medium"},
			{"-6 nexthop del id 6", "default nhid 7 via fe80::7 dev wlan0 metric 100 pref high\ndefault via fe80::9 dev wlan0 metric 99 pref medium"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testbed.NetworkConfig{Name: "wlan0"})
			w.ip(tt.family + " route flush exact default")
			for _, step := range tt.steps {
				w.ip(step[0])
				w.apply()
				want := []string{}
				if step[1] != "" {
					want = strings.Split(step[1], "\n")
				}
				if diff := cmp.Diff(want, append([]string{}, w.table(tt.family)...)); diff != "" {
					t.Errorf("after %s (-want +got)\n%s", step[0], diff)
				}
				if n := w.changes(); n != 0 {
					t.Errorf("after %s: %d changes without need", step[0], n)
				}
			}
			if _, err := w.kernel.Apply(t.Context(), Plan{}); err != nil || w.ours() != 0 {
				t.Errorf("%d entries are left, %v", w.ours(), err)
			}
		})
	}
}

// Routes that routers announce stay separate in the copy. The kernel takes the preferred
// one that answers, and a copy ends with its original.
func TestCopiesOfAnnouncedRoutes(t *testing.T) {
	w := newWorld(t, testbed.NetworkConfig{Name: "wlan0"})
	n := w.Networks[0]
	route := func(gateway string, preference uint8, left time.Duration) Route {
		r := route(7700, n.Index, "::/0", gateway, 1024)
		r.Preference, r.Expires, r.Protocol = preference, left, Protocol
		return Route{Route: r, Apart: true}
	}
	plan := Plan{
		Routes: []Route{route("fe80::a", 3, 0), route("fe80::1", 1, 1000*time.Second)},
		Rules:  []Rule{{Priority: FirstPriority, Source: n.Client6, Table: 7700, Suppress: -1}},
	}
	apply := func(p Plan, want int) {
		t.Helper()
		if got, err := w.kernel.Apply(t.Context(), p); err != nil || got != want {
			t.Fatalf("%d changes, %v; want %d", got, err, want)
		}
	}
	by := func(want string) {
		t.Helper()
		if out := w.ip("-6 route get 2a00::7 from " + n.Client6.String()); !strings.Contains(out, "via "+want+" ") {
			t.Errorf("by %s, want %s", out, want)
		}
	}
	apply(plan, 5) // two objects, two routes, one rule
	by("fe80::1")
	w.ip("-6 neigh replace fe80::1 dev wlan0 nud failed")
	by("fe80::a")
	w.ip("-6 neigh del fe80::1 dev wlan0")
	by("fe80::1")
	apply(plan, 0)

	plan.Routes[1] = route("fe80::1", 1, 2000*time.Second)
	apply(plan, 0) // it lives longer; the kernel says that it has one already
	if out := w.ip("-6 route show table 7700 via fe80::1"); !strings.Contains(out, "expires 1999sec") && !strings.Contains(out, "expires 2000sec") && !strings.Contains(out, "expires 1998sec") {
		t.Errorf("it lives %s", out)
	}
	plan.Routes = plan.Routes[:1]
	plan.Routes[0].Apart = false
	apply(plan, 4) // one route replaces another; the other one and both objects go
	by("fe80::a")
	apply(Plan{}, 2)
	if out := w.ip("nexthop show"); out != "" {
		t.Errorf("left: %s", out)
	}
}
