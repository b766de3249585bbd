package control

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

func TestFilter(t *testing.T) {
	wlan := &PrefixRef{Prefix: "192.168.0.0/24", Interface: "wlan0", Name: known("home")}
	wwan := PrefixRef{Prefix: "10.64.0.0/10", Interface: "wwan0"}
	d := Decision{
		Time: epoch, App: App{PID: known(uint32(77)), Command: known("muacsocksd"), Executable: known("/usr/bin/muacsocksd")},
		Origin: &Origin{PID: known(uint32(4300)), Command: known("a-very-long-com")}, Chosen: wlan, Alternates: []PrefixRef{wwan},
	}
	failedOver, failed, nobody := d, d, Decision{Time: epoch}
	failedOver.Outcome, failed.Outcome = &Outcome{Candidate: 1}, &Outcome{Candidate: 1, Errno: 111}
	for _, tt := range []struct {
		d    Decision
		f    Filter
		want bool
	}{
		{d, Filter{}, true},
		{d, Filter{Program: "muacsocksd"}, true},
		{d, Filter{Program: "/usr/bin/muacsocksd"}, true},
		{d, Filter{Program: "/bin/muacsocksd"}, false},
		{d, Filter{Program: "muacsocks"}, false},
		{d, Filter{Program: "77"}, true},
		{d, Filter{Program: "4300"}, true},
		{d, Filter{Program: "7"}, false},
		{d, Filter{Program: "a-very-long-command"}, true}, // the kernel keeps 15 bytes
		{d, Filter{Program: "a-very"}, false},
		{nobody, Filter{Program: "0"}, false},
		{d, Filter{Network: "wlan0"}, true},
		{d, Filter{Network: "home"}, true},
		{d, Filter{Network: "192.168.0.0/24"}, true},
		{d, Filter{Network: "wwan0"}, false},
		{failedOver, Filter{Network: "wwan0"}, true},
		{failedOver, Filter{Network: "wlan0"}, true},
		{failed, Filter{Network: "wwan0"}, false},
		{nobody, Filter{Network: "wlan0"}, false},
		{d, Filter{Since: epoch}, true},
		{d, Filter{Since: epoch.Add(1)}, false},
		{d, Filter{Program: "muacsocksd", Network: "wwan0"}, false},
	} {
		if got := tt.f.Matches(&tt.d); got != tt.want {
			t.Errorf("%+v: %t, want %t", tt.f, got, tt.want)
		}
		r := http.Request{URL: &url.URL{RawQuery: tt.f.Query().Encode()}}
		if again, err := filterOf(&r); err != nil || again != tt.f && !again.Since.Equal(tt.f.Since) {
			t.Errorf("%+v becomes %+v, %v", tt.f, again, err)
		}
	}
}

// The daemon sends only what matches, as many as were asked for, and says what is wrong
// with a filter.
func TestFilteredDecisions(t *testing.T) {
	d := start(t, view(), nil)
	d.decide(t, 70) // all by the same program over the same network
	for _, who := range []peer{root, {Cred: d.self()}} {
		d.as(who)
		for query, want := range map[string]int{
			"?limit=5&network=wlan0": 5, "?limit=5&network=wwan0": 0, "?limit=100&network=192.168.0.0/24": 64, "?program=nobody": 0,
			"?after=2020-01-01T00:00:00Z&limit=3": 3, "?after=2999-01-01T00:00:00%2B01:00": 0, "?since=68&network=wlan0": 2,
		} {
			var out Decisions
			if _, err := d.client(t).Get(ctx(t), "/v1/decisions"+query, &out); err != nil || len(out.Decisions) != want {
				t.Errorf("%s: %d decisions, %v, want %d", query, len(out.Decisions), err, want)
			}
		}
		for query, want := range map[string]string{"?after=yesterday": "after must be a time", "?program=" + strings.Repeat("a", maxWanted+1): "must not have more than"} {
			for _, path := range []string{"/v1/decisions", "/v1/events"} {
				if _, err := d.client(t).Get(ctx(t), path+query, new(Decisions)); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s%.40s: %v", path, query, err)
				}
			}
		}
	}
}

// exchange sends a request and reads the answer.
func (d *daemon) exchange(t *testing.T, m wire.Message) wire.Message {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(d.dir, "mamma.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m.HasAction, m.Features = true, wire.FeatureReports
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	var answer wire.Message
	if err := wire.NewReader(c).Read(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// A filtered stream has the matching decisions and nothing else. A decision also matches by
// the network over which its connection came up.
func TestFilteredEvents(t *testing.T) {
	v := view()
	v.Prefixes[1].Cost = policy.Free // so that it is an alternate
	d := start(t, v, nil)
	zero := uint64(0)
	wlan := follow(t, d.client(t), &zero, Filter{Network: "wlan0", Since: time.Unix(1, 0)})
	wwan := follow(t, d.client(t), &zero, Filter{Network: "wwan0"})
	d.set(func(s *State) { s.Loaded = epoch }) // which would be an event
	id := d.exchange(t, wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
		Domain: wire.AFInet, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: netip.MustParseAddrPort("192.0.2.1:443")},
	}}).DecisionID
	if e := next(t, wlan); e.Type != EventDecision || e.Decision.Seq != 1 {
		t.Fatalf("event %+v, want the decision", e)
	}
	d.exchange(t, wire.Message{Action: wire.ActionReportRequest, DecisionID: id, Outcome: &wire.Outcome{Candidate: 1, Milliseconds: 250}})
	for name, events := range map[string]<-chan Event{"wlan0": wlan, "wwan0": wwan} {
		// If a stream reaches a decision after its outcome, it has the decision with the
		// outcome.
		late := name == "wwan0"
		if e := next(t, events); e.Type != EventOutcome && !late || e.Decision == nil || e.Decision.Outcome == nil || e.Decision.Outcome.Candidate != 1 {
			t.Errorf("%s: event %+v, want the outcome", name, e)
		}
	}
}
