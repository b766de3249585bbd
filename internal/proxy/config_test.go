package proxy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/rules"
)

var comparable = cmp.Options{
	cmp.AllowUnexported(settings{}, rule{}),
	cmp.Comparer(func(a, b intent.Set) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// The reference file says what the defaults are, and gives examples of blocks.
func TestReference(t *testing.T) {
	c := defaults()
	if err := config.ParseFile([]byte(Reference), "reference.hcl", c.describe); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), c, comparable, cmpopts.IgnoreFields(settings{}, "rules", "intents")); diff != "" {
		t.Errorf("the reference file differs from the defaults (-default +file):\n%s", diff)
	}
	wantRules := []rule{
		{name: "no mail", match: rules.Match{Ports: []rules.PortRange{{Low: 25, High: 25}}}},
		{name: "home", allow: true, match: rules.Match{
			Clients:      []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Destinations: []rules.Destination{{Pattern: "*.example.org"}, {Network: netip.MustParsePrefix("198.51.100.0/24")}},
			Ports:        []rules.PortRange{{Low: 443, High: 443}, {Low: 8000, High: 8999}},
		}},
	}
	wantIntents := []rules.Intents{
		{Name: "backup", Match: rules.Match{Processes: []string{"restic", "/usr/bin/borg"}, UIDs: []uint32{1000}},
			Set: intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithTimeliness(intent.TimelinessBackgroundTraffic)},
		{Name: "video", Match: rules.Match{Destinations: []rules.Destination{{Pattern: "*.video.example"}}, Users: []string{"tv"}},
			Set: intent.Set{}.WithCategory(intent.CategoryStream).WithTimeliness(intent.TimelinessStreaming)},
	}
	if diff := cmp.Diff(wantRules, c.rules, comparable, cmpopts.IgnoreFields(rule{}, "at")); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantIntents, c.intents, comparable); diff != "" {
		t.Errorf("intents (-want +got):\n%s", diff)
	}
}

func TestOpen(t *testing.T) {
	c := &settings{listen: []string{"127.0.0.1:1", "[::1]:1", "192.0.2.1:1", "0.0.0.0:1", "[::]:1"}}
	if diff := cmp.Diff([]string{"192.0.2.1:1", "0.0.0.0:1", "[::]:1"}, c.open()); diff != "" {
		t.Error(diff)
	}
}

// No text makes a setting that the proxy could not run with.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(Reference))
	f.Add([]byte("listen = [\"127.0.0.1:0\"]\nlimits {\n  connections = 1\n}\nintents \"x\" {\n  port = [\"1-2\"]\n  set = \"filesize=1k\"\n}\n"))
	f.Add([]byte("rule \"x\" {\n  action = \"deny\"\n  destination = [\"*.example.org\", \"10.0.0.0/8\"]\n  process = [\"/usr/bin/curl\"]\n}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c := defaults()
		if config.ParseFile(src, "f", c.describe) != nil {
			return
		}
		if c.conns < 1 || c.perClient < 1 || c.handshake <= 0 || c.idle <= 0 || c.learning.Hosts < 1 || c.header == "" {
			t.Errorf("accepted %+v", c)
		}
		c.open()
	})
}
