package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/health"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func TestConnects(t *testing.T) {
	wifi := &policy.Prefix{ID: policy.PrefixID{Interface: "wlan0"}}
	lte := &policy.Prefix{ID: policy.PrefixID{Interface: "wwan0"}}
	satellite := &policy.Prefix{ID: policy.PrefixID{Interface: "sat0"}, Stats: policy.PathStats{SRTTMin: 600 * time.Millisecond}}
	for _, tt := range []struct {
		name       string
		candidates []*policy.Prefix
		outcome    mam.Outcome
		want       []string
	}{
		{"the first one connects", []*policy.Prefix{wifi, lte}, mam.Outcome{}, []string{"wlan0 ok"}},
		{"the second one wins", []*policy.Prefix{wifi, lte}, mam.Outcome{Candidate: 1}, []string{"wwan0 ok", "wlan0 elsewhere"}},
		{"plain dialling wins", []*policy.Prefix{wifi, lte}, mam.Outcome{Candidate: -1}, []string{"wlan0 elsewhere", "wwan0 elsewhere"}},
		{"a slow one loses by nature", []*policy.Prefix{satellite, lte}, mam.Outcome{Candidate: 1}, []string{"wwan0 ok"}},
		{"refused: the network works", []*policy.Prefix{wifi, lte}, mam.Outcome{Errno: int32(unix.ECONNREFUSED)}, []string{"wlan0 ok"}},
		{"timed out, others may yet win", []*policy.Prefix{wifi, lte}, mam.Outcome{Errno: int32(unix.ETIMEDOUT)}, nil},
		{"timed out, no other", []*policy.Prefix{wifi}, mam.Outcome{Errno: int32(unix.ETIMEDOUT)}, []string{"wlan0 failed"}},
		{"no network's fault", []*policy.Prefix{wifi}, mam.Outcome{Errno: int32(unix.EMFILE)}, nil},
		{"plain dialling fails", []*policy.Prefix{wifi}, mam.Outcome{Candidate: -1, Errno: int32(unix.ETIMEDOUT)}, nil},
		{"nonsense", []*policy.Prefix{wifi}, mam.Outcome{Candidate: 9}, nil},
		{"more nonsense", []*policy.Prefix{wifi}, mam.Outcome{Candidate: -2}, nil},
		{"no choice was made", nil, mam.Outcome{}, nil},
	} {
		rec := mam.Record{Outcome: &tt.outcome, App: policy.App{UID: 7}, Host: "host.test"}
		if len(tt.candidates) > 0 {
			rec.Decision = policy.Decision{Prefix: tt.candidates[0], Alternates: tt.candidates[1:]}
		}
		var got []string
		for _, c := range connects(&rec) {
			how := "failed"
			switch {
			case c.OK:
				how = "ok"
			case c.Elsewhere:
				how = "elsewhere"
			}
			got = append(got, c.Prefix.Interface+" "+how)
			if c.UID != 7 || c.Remote != "host.test" {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

// Users whom the kernel does not tell apart do not speak for each other.
func TestConnectsOfUsersWithoutID(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		wifi := &policy.Prefix{ID: policy.PrefixID{Interface: "wlan0"}}
		rec := mam.Record{Outcome: &mam.Outcome{Errno: int32(unix.ETIMEDOUT)}, Decision: policy.Decision{Prefix: wifi}}
		if got := connects(&rec); len(got) != 1 {
			t.Errorf("root's: %+v", got)
		}
		rec.App.UID = unmapped.UID
		if got := connects(&rec); got != nil {
			t.Errorf("%+v", got)
		}
	})
}

// watch makes a healthWatch on the networks of laptop.
func watch(t *testing.T, conf string) (*healthWatch, []managed) {
	t.Helper()
	cfg, nets := parse(t, conf), netmon.NewSnapshot(laptop())
	log := slog.New(slog.DiscardHandler)
	resolvers := newResolvers(log)
	t.Cleanup(resolvers.close)
	list := manage(cfg, nets, nil)
	h := newHealthWatch(lookup{resolvers.unbound}, func() {}, log)
	lookups, _ := resolvers.of(cfg, nets, list, nil)
	h.networks(time.Now(), cfg.Probe, list, nets, lookups)
	h.offered(time.Now())
	return h, list
}

const twoNetworks = `policy "sample" {}
	prefix "192.168.0.0/24" { nameserver = ["192.168.0.1"] }
	prefix "10.64.0.0/10" {}
	prefix "172.17.0.0/16" {}
	`

func TestJudge(t *testing.T) {
	h, list := watch(t, twoNetworks)
	now := time.Now()
	if h.judgeLocked(now) {
		t.Error("nothing has changed since the networks were taken over")
	}
	want := []string{"192.168.0.0/24%wlan0", "10.64.0.0/10%wwan0", "172.17.0.0/16%docker0, suspect: there is no default route: only the network itself can be reached"}
	if diff := cmp.Diff(want, summaryHealth(list, h.judgement())); diff != "" {
		t.Error(diff)
	}
	for range 3 {
		h.tracker.Connect(now, health.Connect{Prefix: list[0].prefix.ID, UID: 7, Elsewhere: true})
	}
	if !h.judgeLocked(now) || !slices.Equal(h.judgement().avoid[7], []policy.PrefixID{list[0].prefix.ID}) {
		t.Errorf("avoided: %v", h.judgement().avoid)
	}
	if h.judgeLocked(now.Add(time.Second)) {
		t.Error("nothing has changed")
	}
	if h.rejudge.IsZero() || !h.judgeLocked(h.rejudge) || len(h.judgement().avoid) > 0 {
		t.Errorf("avoided when the time is over: %v", h.judgement().avoid)
	}
}

func summaryHealth(list []managed, j judgement) []string {
	var out []string
	for _, m := range list {
		line := m.prefix.ID.String()
		if h := j.health[m.prefix.ID]; h.State != policy.Up {
			line += fmt.Sprintf(", %v: %s", h.State, h.Reason)
		}
		out = append(out, line)
	}
	return out
}

// The table says which networks are probed, and when.
func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		probe string
		doubt bool // about wlan0
		want  []string
	}{
		{"nothing is doubted", ``, false, nil},
		{"in doubt its own name servers are asked", ``, true, []string{"wlan0"}},
		{"never", `when = "never"`, true, nil},
		{"always, but only wlan0 has name servers", `when = "always"`, false, []string{"wlan0"}},
		{"always, by an address of the family", "when = \"always\"\n target = \"tcp://192.0.2.1:443\"", false, []string{"wlan0", "wwan0", "docker0"}},
		{"always, by an address of the other family", "when = \"always\"\n target = \"tcp://[2001:db8::1]:443\"", false, nil},
		{"in doubt, by a page", `target = "http://portal.test/204"`, true, []string{"wlan0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, list := watch(t, twoNetworks+"probe {\n"+tt.probe+"\n}")
			if tt.doubt {
				h.doubtful = []policy.PrefixID{list[0].prefix.ID}
			}
			last := map[policy.PrefixID]lastProbe{}
			jobs, _ := h.probes(last)
			var got []string
			for _, j := range jobs {
				got = append(got, j.id.Interface)
				last[j.id] = lastProbe{stay: j.stay}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if again, _ := h.probes(last); len(again) > 0 {
				t.Errorf("%d probes beside those under way", len(again))
			}
			for id := range last {
				last[id] = lastProbe{last[id].stay, time.Now(), 1}
			}
			again, wait := h.probes(last)
			if len(again) > 0 || len(tt.want) > 0 && (wait <= 0 || wait > config.DefaultProbeInterval) {
				t.Errorf("%d probes at once after the last ones, the next in %v", len(again), wait)
			}
		})
	}
}

// A name server that this host runs itself answers whatever the network does. A name server
// at the address of another device cannot be reached by a bound socket. Neither is used for
// a probe.
func TestProbeNotByOwnNameServer(t *testing.T) {
	for _, server := range []string{"192.168.0.23", "172.17.0.1"} {
		h, _ := watch(t, strings.Replace(twoNetworks, "192.168.0.1\"", server+"\"", 1)+`probe { when = "always" }`)
		if jobs, _ := h.probes(map[policy.PrefixID]lastProbe{}); len(jobs) > 0 {
			t.Errorf("%v is probed by %s, which is this host", jobs[0].id, server)
		}
	}
}

// Networks on which a user's datagrams were not answered, while they were elsewhere, are
// avoided for this user.
func TestWatchSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, list := watch(t, twoNetworks+"probe { when = \"never\" }")
		h.changed = func() {}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- h.run(ctx) }()
		wlan := list[0].prefix.ID
		report := func(silent bool) {
			for range 3 {
				h.flow(&mam.FlowReport{App: policy.App{UID: 7}, Over: wlan, Remote: netip.MustParseAddrPort("192.0.2.1:443"), Last: true, Silent: silent})
				synctest.Wait()
			}
		}
		report(false)
		if got := h.judgement(); len(got.avoid) > 0 || got.health[wlan].State != policy.Up {
			t.Errorf("flows that have ended: %+v", got)
		}
		report(true)
		if got := h.judgement().avoid; len(got) != 1 || !slices.Equal(got[7], []policy.PrefixID{wlan}) {
			t.Errorf("avoided after three silences: %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Reports are judged at once, and their effect ends by itself in time. Each change is
// reported.
func TestWatchHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, list := watch(t, twoNetworks+"probe { when = \"never\" }")
		var told atomic.Pointer[judgement]
		h.changed = func() { j := h.judgement(); told.Store(&j) }
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		wlan, wwan := list[0].prefix, list[1].prefix
		go func() { done <- h.run(ctx) }()
		for range 3 {
			h.reported(mam.Record{
				Time: time.Now(),
				App:  policy.App{UID: 7}, Outcome: &mam.Outcome{Candidate: 1},
				Decision: policy.Decision{Prefix: &wlan, Alternates: []*policy.Prefix{&wwan}},
			})
			synctest.Wait()
		}
		if got := told.Load().avoid[7]; !slices.Equal(got, []policy.PrefixID{wlan.ID}) {
			t.Errorf("avoided after three reports: %v", got)
		}
		time.Sleep(4 * time.Second) // of the bubble's time
		synctest.Wait()
		if got := told.Load().avoid; len(got) > 0 {
			t.Errorf("avoided for ever: %v", got)
		}
		if got := told.Load().health[wlan.ID]; got.State != policy.Suspect {
			t.Errorf("on trial it is %v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := told.Load().health[wlan.ID]; got.State != policy.Up {
			t.Errorf("a doubt that nobody renews: %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// roamed returns laptop after its Wi-Fi has joined another network that gives it the same
// addresses.
func roamed() netmon.State {
	s := laptop()
	s.Ways[unbound4] = way(2, "192.168.0.254", 600)
	for _, from := range []string{"192.168.0.23", "10.64.3.9", "172.17.0.1"} {
		s.Ways[source(from)] = way(2, "192.168.0.254", 600)
	}
	return s
}

// Evidence from before about a network says nothing about its successor, which has the same
// prefix. The evidence is what clients report, a probe, and how connections fare.
func TestEvidenceOfReplacedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, list := watch(t, twoNetworks+"probe {\n when = \"always\"\n target = \"tcp://192.0.2.1:443\" \n}")
		wlan, wwan := list[0].prefix, list[1].prefix
		cfg := parse(t, twoNetworks+"probe {\n when = \"always\"\n target = \"tcp://192.0.2.1:443\" \n}")
		last := map[policy.PrefixID]lastProbe{}
		jobs, _ := h.probes(last)
		probe := jobs[slices.IndexFunc(jobs, func(j job) bool { return j.id == wlan.ID })]
		last[wlan.ID] = lastProbe{stay: probe.stay}
		failed := mam.Record{
			Time: time.Now(), App: policy.App{UID: 7}, Outcome: &mam.Outcome{Candidate: 1},
			Decision: policy.Decision{Prefix: &wlan, Alternates: []*policy.Prefix{&wwan}},
		}
		stalled := map[policy.PrefixID]pathstat.Flow{wlan.ID: {Stalled: 3, Heard: time.Minute}}
		seen := time.Now()

		time.Sleep(time.Second) // of the bubble's time
		h.networks(time.Now(), cfg.Probe, list, netmon.NewSnapshot(roamed()), nil)
		during := failed
		during.Time = time.Now() // decided on the View before, as the next one is not published
		time.Sleep(time.Millisecond)
		h.offered(time.Now())

		for range 4 {
			h.took(result{probe, errors.New("no answer")})
			for _, rec := range []mam.Record{failed, during} {
				h.heard(&rec)
			}
		}
		h.flows(time.Now(), seen, stalled)
		if j := h.judgement(); j.health[wlan.ID].State != policy.Up || len(j.avoid) > 0 {
			t.Errorf("the new network is judged by the old one: %v, avoided %v", j.health[wlan.ID], j.avoid)
		}
		if again, _ := h.probes(last); !slices.ContainsFunc(again, func(j job) bool { return j.id == wlan.ID }) {
			t.Error("the new network is not probed before the old one's probe ends")
		}

		failed.Time = time.Now()
		for range 3 {
			h.heard(&failed)
		}
		if got := h.judgement().avoid[7]; !slices.Equal(got, []policy.PrefixID{wlan.ID}) {
			t.Errorf("avoided after three reports on the new network: %v", got)
		}
		h.flows(time.Now(), time.Now(), stalled)
		if got := h.judgement().health[wlan.ID].State; got == policy.Up {
			t.Error("connections over the new network stall, and it is up")
		}
	})
}

// If traffic costs something, a network is probed in doubt only, and less often the longer
// the doubt lasts.
func TestProbesThatCost(t *testing.T) {
	h, list := watch(t, `policy "sample" {}
	prefix "192.168.0.0/24" { cost = "metered" }
	prefix "10.64.0.0/10" {}
	probe {
		when = "always"
		target = "tcp://192.0.2.1:443"
	}`)
	id, stay := list[0].prefix.ID, h.stays[list[0].prefix.ID].number
	probed := func(last map[policy.PrefixID]lastProbe) bool {
		jobs, _ := h.probes(last)
		return slices.ContainsFunc(jobs, func(j job) bool { return j.id == id })
	}
	if probed(map[policy.PrefixID]lastProbe{}) {
		t.Error("probed without doubt")
	}
	h.doubtful = []policy.PrefixID{id}
	if !probed(map[policy.PrefixID]lastProbe{}) {
		t.Error("not probed in doubt")
	}
	const interval = config.DefaultProbeInterval
	for _, tt := range []struct {
		count int
		ago   time.Duration
		want  bool
	}{{1, interval, true}, {2, interval, false}, {2, 2 * interval, true}, {3, 3 * interval, false}, {3, 4 * interval, true}, {50, 3 * interval, false}, {50, 4 * interval, true}} {
		var latest lastProbe
		for range tt.count {
			latest = latest.next(stay)
		}
		latest.ended = time.Now().Add(-tt.ago - time.Millisecond)
		last := map[policy.PrefixID]lastProbe{id: latest}
		if got := probed(last); got != tt.want {
			t.Errorf("after %d probes and %v: %v", tt.count, tt.ago, got)
		}
	}
	h.doubtful = nil
	last := map[policy.PrefixID]lastProbe{id: {stay, time.Now(), 7}}
	if probed(last) {
		t.Error("probed after the doubt")
	}
	if got := last[id].next(stay); got.count != 1 {
		t.Errorf("the next doubt begins with probe %d", got.count)
	}
	if got := (lastProbe{stay, time.Now(), 7}).next(stay + 1); got.count != 1 {
		t.Errorf("the next stay begins with probe %d", got.count)
	}
}
