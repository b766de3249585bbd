package system

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The host's routes prefer wlan0, and there are no source rules. The intents of a Go
// program decide which network its transfer really leaves by. The name is resolved at
// that network's own server.
func TestGoClient(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{"www.example.net": {"A 192.0.2.1"}},
	})
	conf := write(t, "policy.conf", stage.LargeByWWAN)
	d := start(t, bed.Client, conf)
	for _, tt := range []struct {
		intents, network string
	}{
		{"category=query", "wlan0"},
		{"category=bulktransfer,filesize=300M", "wwan0"},
		{"category=stream", "wlan0"}, // no network is for streams, so the default is used
		{"", "wlan0"},
	} {
		t.Run(tt.intents, func(t *testing.T) {
			for _, n := range bed.Networks {
				n.Server.DNS.Forget()
			}
			seen := fetch(t, bed, d.socket, tt.intents, "http://www.example.net/")
			if seen.Network != tt.network {
				t.Errorf("the server saw %v of %s, want %s", seen.Client, seen.Network, tt.network)
			}
			// A resolver remembers answers, so the network itself may not be asked. The
			// other network must not be asked.
			for _, n := range bed.Networks {
				if q := n.Server.DNS.Queries(); n.Name != tt.network && len(q) > 0 {
					t.Errorf("%s was asked %v", n.Name, q)
				}
			}
		})
	}

	t.Run("without a daemon", func(t *testing.T) {
		seen := fetch(t, bed, filepath.Join(t.TempDir(), "none.sock"), "category=bulktransfer", "http://192.0.2.1/")
		if seen.Network != "wlan0" {
			t.Errorf("the server saw %v of %s, want the default route's network", seen.Client, seen.Network)
		}
	})
}

// fetch runs examples/fetch on the bed's client. It returns what the server saw.
func fetch(t *testing.T, bed *testbed.Bed, socket, intents, url string) testbed.Seen {
	t.Helper()
	file := filepath.Join(t.TempDir(), "content")
	cmd := exec.Command(filepath.Join(bin, "fetch"), "--socket", socket, "--intent", intents, "--output", file, url)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := bed.Client.Run(cmd); err != nil {
		t.Fatalf("fetch: %v\n%s", err, &out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var seen testbed.Seen
	if err := json.Unmarshal(content, &seen); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return seen
}

// mammactl shows what a client reports: where its intents come from, for whom it asks,
// and the outcome.
func TestDecisionsTellOrigin(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	d := start(t, bed.Client, write(t, "policy.conf", "policy \"sample\" {}\ninterface \"wlan0\" {\n  default = true\n}\n"))
	request := wire.Message{
		Action: wire.ActionConnectRequest, HasAction: true, Features: wire.FeatureReports | wire.FeatureOrigin,
		Origin:  &wire.Origin{UID: 4242, PID: 99, Command: "curl", Source: "rule web"},
		Context: wire.Context{Domain: wire.AFInet, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: netip.MustParseAddrPort(service)}},
	}
	request.SetIntents(intent.Set{}.WithCategory(intent.CategoryQuery))
	send := func(m wire.Message) *wire.Message {
		t.Helper()
		raw, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return exchange(t, d.socket, raw)
	}
	id := send(request).DecisionID
	send(wire.Message{
		Action: wire.ActionReportRequest, HasAction: true, Features: wire.FeatureReports, DecisionID: id,
		Outcome: &wire.Outcome{Milliseconds: 7, Flags: wire.OutcomePlainTCP},
	})
	out := d.ctl(t, "decisions")
	for _, want := range []string{"intents from rule web, for curl[99] of user 4242", "Multipath TCP became plain TCP"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	var e control.Event
	if err := json.Unmarshal([]byte(d.ctl(t, "decisions", "--json")), &e); err != nil || e.Type != control.EventDecision || e.Decision == nil {
		t.Fatalf("%+v, %v", e, err)
	}
	x := e.Decision
	if o := x.Origin; o == nil || *o.UID != 4242 || *o.Command != "curl" || *o.Source != "rule web" || !x.Outcome.PlainTCP {
		t.Errorf("origin %+v, outcome %+v", o, x.Outcome)
	}
}
