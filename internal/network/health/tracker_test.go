package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

var (
	wifi = policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("192.168.0.0/24")}
	lte  = policy.PrefixID{Interface: "wwan0", Prefix: netip.MustParsePrefix("10.64.0.0/10")}

	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func fine() Network {
	return Network{ID: wifi, Index: 2, Running: true, Far: true, Default: true, Gateway: "192.168.0.1"}
}

// step is something that happens at a time after the start.
type step struct {
	at   time.Duration
	do   func(*Tracker, time.Time)
	want string // state of the prefix, and the users that avoid it
}

func network(change ...func(*Network)) func(*Tracker, time.Time) {
	n := fine()
	for _, f := range change {
		f(&n)
	}
	return func(t *Tracker, now time.Time) { t.Networks(now, []Network{n}) }
}

func noCarrier(n *Network) { n.Running = false }
func refused(n *Network)   { n.Refused, n.Default = "prohibited", false }
func doubted(n *Network)   { n.Doubt = "a portal" }
func announced(n *Network) { n.Portal = "a portal at P" }
func costly(n *Network)    { n.Costs = true }
func noDefault(n *Network) { n.Default, n.Gateway = false, "" }

func vanish(t *Tracker, now time.Time) { t.Networks(now, nil) }

func lose(uid uint32) func(*Tracker, time.Time) {
	return func(t *Tracker, now time.Time) {
		t.Connect(now, Connect{Prefix: wifi, UID: uid, Elsewhere: true, Remote: "192.0.2.1:80"})
	}
}

func fail(uid uint32, remote string) func(*Tracker, time.Time) {
	return func(t *Tracker, now time.Time) { t.Connect(now, Connect{Prefix: wifi, UID: uid, Remote: remote}) }
}

func succeed(uid uint32) func(*Tracker, time.Time) {
	return func(t *Tracker, now time.Time) { t.Connect(now, Connect{Prefix: wifi, UID: uid, OK: true}) }
}

func flow(stalled int, heard time.Duration) func(*Tracker, time.Time) {
	return func(t *Tracker, _ time.Time) { t.Flow(wifi, Flow{Stalled: stalled, Heard: heard}) }
}

func probe(ok bool) func(*Tracker, time.Time) {
	return func(t *Tracker, _ time.Time) { t.Probe(wifi, Probe{OK: ok, Reason: "no answer"}) }
}

func nothing(*Tracker, time.Time) {}

const s = time.Second

func TestTracker(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"what a service says, against which our probe does not speak", []step{
			{0, network(), "up"},
			{1 * s, network(doubted), "suspect: a portal"},
			{2 * s, probe(true), "suspect: a portal"},
			{3 * s, probe(false), "suspect: the latest probe failed: no answer"},
			{4 * s, probe(true), "suspect: a portal"},
			{5 * s, network(doubted, noCarrier), "down: the link has no carrier"},
			{60 * s, network(), "up"},
		}},
		{"a portal that the network tells of is the reason of what fails", []step{
			{0, network(announced), "up"},
			{1 * s, probe(true), "up"},
			{2 * s, probe(false), "suspect: the latest probe failed: no answer; a portal at P"},
			{3 * s, probe(false), "down: the latest probes failed: no answer; a portal at P"},
			{4 * s, network(announced, doubted), "down: the latest probes failed: no answer; a portal at P"},
			{5 * s, probe(true), "suspect: a portal"},
			{6 * s, network(announced, noCarrier), "down: the link has no carrier"},
		}},
		{"link", []step{
			{0, network(), "up"},
			{60 * s, network(noCarrier), "down: the link has no carrier"},
			{61 * s, network(), "up"},
		}},
		{"a route that goes is a loss, one that never was is not", []step{
			{0, network(noDefault), "suspect: there is no default route"},
			{1 * s, network(), "up"},
			{60 * s, network(noDefault), "down: its default route is gone"},
			{62 * s, network(), "up"},
		}},
		{"a network that is not to reach beyond its link needs no route", []step{
			{0, network(noDefault, func(n *Network) { n.Far = false }), "up"},
			{0, network(refused), "down: a route or a rule of this host blocks its traffic: prohibited"},
		}},
		{"flapping is damped, and ends by itself", []step{
			{0, network(), "up"},
			{1 * s, network(noCarrier), "down: the link has no carrier"},
			{2 * s, network(), "up"},
			{2 * s, network(noCarrier), "down: the link has no carrier"},
			{3 * s, network(), "up"},
			{3 * s, network(noCarrier), "down: the link has no carrier"},
			{4 * s, network(), "down: the link is flapping"},
			{10 * s, nothing, "down: the link is flapping"},
			{18 * s, nothing, "up"},
			{60 * s, network(noCarrier), "down: the link has no carrier"},
			{61 * s, network(), "up"},
		}},
		{"a prefix that comes and goes flaps too", []step{
			{0, network(), "up"},
			{1 * s, vanish, "gone"}, {1 * s, network(), "up"},
			{2 * s, vanish, "gone"}, {2 * s, network(), "up"},
			{3 * s, vanish, "gone"}, {3 * s, network(), "down: the link is flapping"},
		}},
		{"an interface replaced under the same name begins anew", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"}, {1 * s, lose(7), "suspect: some connection attempts failed"},
			{1 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
			{2 * s, network(func(n *Network) { n.Index = 9 }), "up"},
		}},
		{"another gateway is another network", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"}, {1 * s, lose(7), "suspect: some connection attempts failed"},
			{2 * s, network(func(n *Network) { n.Gateway = "192.168.0.254" }), "up"},
		}},
		{"a user's failures count for the user, with trials that get rarer", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"},
			{2 * s, lose(7), "suspect: some connection attempts failed"},
			{3 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
			{3 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"}, // was on its way
			{6 * s, nothing, "suspect: connection attempts of one user failed"},
			{7 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
			{12 * s, nothing, "suspect: connection attempts of one user failed; avoided by 7"},
			{13 * s, nothing, "suspect: connection attempts of one user failed"},
			{14 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
			{25 * s, nothing, "suspect: connection attempts of one user failed; avoided by 7"},
			{26 * s, succeed(7), "up"},
			{27 * s, lose(7), "up"},
		}},
		{"a doubt that nobody renews ends", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"}, {1 * s, lose(7), "suspect: some connection attempts failed"},
			{31 * s, nothing, "up"},
			{32 * s, lose(7), "up"},
		}},
		{"one destination that does not answer proves nothing", []step{
			{0, network(), "up"},
			{1 * s, fail(7, "a"), "up"}, {2 * s, fail(7, "a"), "up"}, {3 * s, fail(7, "a"), "up"}, {4 * s, fail(7, "a"), "up"},
			{5 * s, fail(7, "b"), "suspect: some connection attempts failed"},
			{6 * s, fail(7, "c"), "suspect: connection attempts of one user failed; avoided by 7"},
		}},
		{"a success between failures clears", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"}, {1 * s, lose(7), "suspect: some connection attempts failed"}, {2 * s, succeed(7), "up"}, {3 * s, lose(7), "up"},
		}},
		{"somebody else's success clears nothing", []step{
			{0, network(), "up"},
			{1 * s, lose(7), "up"}, {1 * s, lose(7), "suspect: some connection attempts failed"}, {1 * s, succeed(8), "suspect: some connection attempts failed"},
			{1 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
		}},
		{"the kernel confirms for all", []step{
			{0, network(), "up"},
			{1 * s, flow(2, 3*s), "suspect: open connections get no acknowledgements"},
			{1 * s, flow(2, 100*time.Millisecond), "up"}, // another one gets through
			{2 * s, lose(7), "up"}, {2 * s, lose(7), "suspect: some connection attempts failed"},
			{2 * s, lose(7), "suspect: connection attempts of one user failed; avoided by 7"},
			{3 * s, flow(1, -1), "down: connection attempts fail, and open connections get no acknowledgements; avoided by 7; claimed"},
			{4 * s, flow(0, 0), "suspect: connection attempts of one user failed; avoided by 7"},
		}},
		{"a probe confirms for all, and clears", []step{
			{0, network(), "up"},
			{1 * s, probe(false), "suspect: the latest probe failed: no answer"},
			{2 * s, probe(false), "down: the latest probes failed: no answer"},
			{3 * s, lose(7), "down: the latest probes failed: no answer"},
			{4 * s, probe(true), "up"},
		}},
		{"a probe that succeeds blames the destination for the stall", []step{
			{0, network(), "up"},
			{1 * s, flow(1, 5*s), "suspect: open connections get no acknowledgements"},
			{2 * s, probe(true), "up"},
			{2 * s, flow(1, 6*s), "up"},
			{3 * s, flow(0, 0), "up"},
			{4 * s, flow(1, 5*s), "suspect: open connections get no acknowledgements"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tr Tracker
			for i, st := range tt.steps {
				now := epoch.Add(st.at)
				st.do(&tr, now)
				got := show(tr.Report(now))
				if state, _, _ := strings.Cut(st.want, ";"); !strings.HasPrefix(got, state) || strings.Contains(st.want, "avoided") != strings.Contains(got, "avoided") || st.want == "up" && got != "up" {
					t.Errorf("step %d after %v: %q, want %q", i, st.at, got, st.want)
				}
			}
		})
	}
}

// A statement of a service or of the network calls for one probe each time that it is
// made again. If a probe costs something, it is made only if no other network is left.
func TestToldDoubtsAreProbedOnce(t *testing.T) {
	other := func(change ...func(*Network)) Network {
		n := Network{ID: lte, Index: 3, Running: true, Far: true, Default: true}
		for _, f := range change {
			f(&n)
		}
		return n
	}
	here := func(change ...func(*Network)) Network {
		n := fine()
		for _, f := range change {
			f(&n)
		}
		return n
	}
	limited := func(n *Network) { n.Doubt = "limited" }
	var tr Tracker
	for i, st := range []struct {
		networks []Network
		probes   []bool // results that come then
		want     []policy.PrefixID
	}{
		{networks: []Network{here(), other()}},
		{networks: []Network{here(doubted), other()}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(doubted), other()}, probes: []bool{true}},
		{networks: []Network{here(doubted), other()}},
		{networks: []Network{here(limited), other()}, want: []policy.PrefixID{wifi}},
		// A probe that fails is a doubt by itself.
		{networks: []Network{here(limited), other()}, probes: []bool{false}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(limited), other()}, probes: []bool{true}},
		{networks: []Network{here(), other()}},
		{networks: []Network{here(limited), other()}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(limited), other()}, probes: []bool{true}},
		// At another attachment, the same is said again.
		{networks: []Network{here(limited, func(n *Network) { n.Gateway = "b" }), other()}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(announced), other()}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(announced, costly), other()}},
		{networks: []Network{here(announced, costly), other(noCarrier)}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(limited, costly), other(noCarrier)}, want: []policy.PrefixID{wifi}},
		{networks: []Network{here(limited, costly), other(noCarrier)}, probes: []bool{true}},
		{networks: []Network{here(limited, noCarrier), other()}},
	} {
		tr.Networks(epoch, st.networks)
		for _, ok := range st.probes {
			tr.Probe(wifi, Probe{OK: ok})
		}
		if got := tr.Report(epoch).Doubtful; !slices.Equal(got, st.want) {
			t.Errorf("step %d: doubtful are %v, want %v", i, got, st.want)
		}
	}
}

func show(r Report) string {
	h, ok := r.Health[wifi]
	if !ok {
		return "gone"
	}
	text := h.State.String()
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	for uid := range r.Avoid {
		text += fmt.Sprintf("; avoided by %d", uid)
	}
	if r.Claimed[wifi] {
		text += "; claimed"
	}
	return text
}

// Next announces everything that changes by the passing of time alone.
func TestNextAnnouncesChangesByTime(t *testing.T) {
	var tr Tracker
	tr.Networks(epoch, []Network{fine()})
	if r := tr.Report(epoch); !r.Next.IsZero() || len(r.Doubtful) > 0 {
		t.Errorf("nothing is known, yet %+v", r)
	}
	for range lossLimit {
		lose(7)(&tr, epoch)
	}
	r := tr.Report(epoch)
	if want := epoch.Add(firstHold); !r.Next.Equal(want) {
		t.Errorf("next = %v, want %v", r.Next, want)
	}
	if diff := cmp.Diff([]policy.PrefixID{wifi}, r.Doubtful, cmp.Comparer(func(a, b policy.PrefixID) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	r = tr.Report(r.Next)
	if len(r.Avoid) > 0 {
		t.Errorf("still avoided when it said it would not be: %v", r.Avoid)
	}
	r = tr.Report(r.Next)
	if h := r.Health[wifi]; h.State != policy.Up || !r.Next.IsZero() {
		t.Errorf("the doubt does not end: %+v", r)
	}

	for range 3 {
		network(noCarrier)(&tr, epoch)
		network()(&tr, epoch)
	}
	r = tr.Report(epoch)
	if h := r.Health[wifi]; h.State != policy.Down {
		t.Fatalf("not damped: %+v", h)
	}
	at := r.Next
	if r = tr.Report(at); r.Health[wifi].State != policy.Up {
		t.Errorf("damped beyond %v: %+v", at.Sub(epoch), r)
	}
}

// Since is the time at which the judgement last changed, not at which it was last
// confirmed.
func TestSinceIsTheLatestChange(t *testing.T) {
	var tr Tracker
	network()(&tr, epoch)
	tr.Report(epoch)
	network()(&tr, epoch.Add(5*s))
	if got := tr.Report(epoch.Add(5 * s)).Health[wifi].Since; !got.Equal(epoch) {
		t.Errorf("up since %v", got)
	}
	network(noCarrier)(&tr, epoch.Add(6*s))
	for at := 6 * s; at < 9*s; at += s {
		if got := tr.Report(epoch.Add(at)).Health[wifi].Since; !got.Equal(epoch.Add(6 * s)) {
			t.Errorf("down since %v", got)
		}
	}
}

// Users and networks that come and go do not fill the memory.
func TestBounds(t *testing.T) {
	var tr Tracker
	network()(&tr, epoch)
	for uid := range uint32(10 * maxUsers) {
		lose(uid)(&tr, epoch)
	}
	if got := len(tr.prefixes[wifi].users); got != maxUsers {
		t.Errorf("%d users, want %d", got, maxUsers)
	}
	for i := range 10 * maxGone {
		n := fine()
		n.ID.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		tr.Networks(epoch.Add(time.Duration(i)), []Network{n})
	}
	if got := len(tr.prefixes); got > maxGone+1 {
		t.Errorf("%d prefixes are remembered", got)
	}
	tr.Networks(epoch.Add(2*goneTime), nil)
	tr.Networks(epoch.Add(4*goneTime), nil)
	if got := len(tr.prefixes); got != 0 {
		t.Errorf("%d prefixes are remembered for ever", got)
	}
	// An unknown network changes nothing.
	tr.Connect(epoch, Connect{Prefix: lte})
	tr.Flow(lte, Flow{Stalled: 1})
	tr.Probe(lte, Probe{})
}
