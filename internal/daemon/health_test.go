package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/health"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
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

// bare is a Daemon that was never run, on the networks of laptop.
func bare(t *testing.T, conf string) *Daemon {
	t.Helper()
	nets := netmon.NewSnapshot(laptop())
	d := &Daemon{log: slog.New(slog.DiscardHandler), reports: make(chan mam.Record, 1), poked: make(chan struct{}, 1)}
	d.cfg = parse(t, conf)
	d.resolvers = newResolvers(d.log)
	t.Cleanup(d.resolvers.close)
	d.list, d.snapshot = manage(d.cfg, nets), nets
	d.lookups = d.resolvers.of(d.list)
	d.tracker.Networks(time.Now(), networks(d.list, nets))
	return d
}

const twoNetworks = `policy "sample" {}
	prefix "192.168.0.0/24" { nameserver = ["192.168.0.1"] }
	prefix "10.64.0.0/10" {}
	prefix "172.17.0.0/16" {}
	`

func TestJudge(t *testing.T) {
	d := bare(t, twoNetworks)
	now := time.Now()
	if !d.judgeLocked(now) || d.judgeLocked(now) {
		t.Error("the first judgement is a change, the second one none")
	}
	want := []string{"192.168.0.0/24%wlan0", "10.64.0.0/10%wwan0", "172.17.0.0/16%docker0, suspect: no default route: it reaches its own network only"}
	if diff := cmp.Diff(want, summaryHealth(d.list)); diff != "" {
		t.Error(diff)
	}
	for range 3 {
		d.tracker.Connect(now, health.Connect{Prefix: d.list[0].prefix.ID, UID: 7, Elsewhere: true})
	}
	if !d.judgeLocked(now) || !slices.Equal(d.avoid[7], []policy.PrefixID{d.list[0].prefix.ID}) {
		t.Errorf("avoided: %v", d.avoid)
	}
	if d.judgeLocked(now.Add(time.Second)) {
		t.Error("nothing has changed")
	}
	if d.rejudge.IsZero() || !d.judgeLocked(d.rejudge) || len(d.avoid) > 0 {
		t.Errorf("avoided when the time is over: %v", d.avoid)
	}
}

func summaryHealth(list []managed) []string {
	var out []string
	for _, m := range list {
		line := m.prefix.ID.String()
		if h := m.prefix.Health; h.State != policy.Up {
			line += fmt.Sprintf(", %v: %s", h.State, h.Reason)
		}
		out = append(out, line)
	}
	return out
}

// What is probed, and when.
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
			d := bare(t, twoNetworks+"probe {\n"+tt.probe+"\n}")
			if tt.doubt {
				d.doubtful = []policy.PrefixID{d.list[0].prefix.ID}
			}
			last := map[policy.PrefixID]time.Time{}
			jobs, _ := d.probes(last)
			var got []string
			for _, j := range jobs {
				got = append(got, j.id.Interface)
				last[j.id] = time.Time{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if again, _ := d.probes(last); len(again) > 0 {
				t.Errorf("%d probes beside those under way", len(again))
			}
			for id := range last {
				last[id] = time.Now()
			}
			again, wait := d.probes(last)
			if len(again) > 0 || len(tt.want) > 0 && (wait <= 0 || wait > config.DefaultProbeInterval) {
				t.Errorf("%d probes at once after the last ones, the next in %v", len(again), wait)
			}
		})
	}
}

// Reports reach the View at once, and what they led to ends by itself in time.
func TestWatchHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := bare(t, twoNetworks+"probe { when = \"never\" }")
		d.manager = mam.New(mam.Options{})
		d.sampler = pathstat.New(pathstat.Options{}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		wlan, wwan := d.list[0].prefix, d.list[1].prefix
		go func() { done <- d.watchHealth(ctx) }()
		for range 3 {
			d.reported(mam.Record{
				App: policy.App{UID: 7}, Outcome: &mam.Outcome{Candidate: 1},
				Decision: policy.Decision{Prefix: &wlan, Alternates: []*policy.Prefix{&wwan}},
			})
			synctest.Wait()
		}
		if got := d.manager.View().Avoid[7]; !slices.Equal(got, []policy.PrefixID{wlan.ID}) {
			t.Errorf("avoided after three reports: %v", got)
		}
		time.Sleep(4 * time.Second) // of the bubble's time
		synctest.Wait()
		if got := d.manager.View().Avoid; len(got) > 0 {
			t.Errorf("avoided for ever: %v", got)
		}
		if h := d.manager.View().Prefixes[0].Health; h.State != policy.Suspect {
			t.Errorf("on trial it is %v", h)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := d.manager.View().Prefixes[0].Health; h.State != policy.Up {
			t.Errorf("a doubt that nobody renews: %+v", h)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A budget is counted from the interface's counter; beyond it the prefix is
// expensive.
func TestBudgets(t *testing.T) {
	d := bare(t, `policy "sample" {}
	state_dir = "`+t.TempDir()+`"
	interface "wwan0" {
		cost = "metered"
		budget = "1kB"
		budget_reset = 20
	}
	interface "wlan0" {}`)
	i := slices.IndexFunc(d.list, func(m managed) bool { return m.prefix.Interface == "wwan0" })
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		counter uint64
		cost    policy.Cost
		used    uint64
	}{
		{5000, policy.Metered, 0}, {5999, policy.Metered, 999}, {6000, policy.Expensive, 1000},
	} {
		d.budgetsLocked(now, &pathstat.Snapshot{Bytes: map[string]uint64{"wwan0": tt.counter, "wlan0": 1 << 40}})
		want := policy.Budget{Limit: 1000, Used: tt.used, Reset: time.Date(2026, 3, 20, 0, 0, 0, 0, time.Local)}
		if p := d.list[i].prefix; p.Budget != want || p.Cost != tt.cost {
			t.Errorf("counter %d: %v, %+v", tt.counter, p.Cost, p.Budget)
		}
	}
	d.budgetsLocked(now.AddDate(0, 0, 5), &pathstat.Snapshot{Bytes: map[string]uint64{"wwan0": 6001}})
	if p := d.list[i].prefix; p.Cost != policy.Metered || p.Budget.Used != 1 {
		t.Errorf("in the next month: %v, %+v", p.Cost, p.Budget)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.saveBudgets(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(d.budgetPath()); err != nil || !strings.Contains(string(b), `"wwan0"`) || strings.Contains(string(b), `"wlan0"`) {
		t.Errorf("saved at the end: %s, %v", b, err)
	}
}

func TestStateDir(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
	if got := StateDir(""); got != "/var/lib/a" {
		t.Errorf("as systemd says: %s", got)
	}
	if got := StateDir("/x"); got != "/x" {
		t.Errorf("as configured: %s", got)
	}
}

func TestLocal(t *testing.T) {
	is := local(netmon.NewSnapshot(laptop()))
	for addr, want := range map[string]bool{
		"192.168.0.23": true, "::ffff:192.168.0.23": true, "fe80::23%wlan0": true, "127.0.0.5": true, "192.168.0.24": false, "2001:db8::1": false,
	} {
		if got := is(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
