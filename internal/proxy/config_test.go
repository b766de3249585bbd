package proxy

import (
	"errors"
	"net/netip"
	"strings"
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

// The reference file states the defaults, and gives examples of blocks.
func TestReference(t *testing.T) {
	c := defaults()
	if err := config.ParseFile([]byte(Reference), "reference.hcl", c.describe); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), c, comparable, cmpopts.IgnoreFields(settings{}, "rules", "intents")); diff != "" {
		t.Errorf("the reference file differs from the defaults (-default +file):\n%s", diff)
	}
	wantRules := []rule{
		{name: "no mail", match: rules.Match{Ports: []config.PortRange{{Low: 25, High: 25}, {Low: 465, High: 465}, {Low: 587, High: 587}}}},
		{name: "home", allow: true, match: rules.Match{
			Clients:      []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Destinations: []rules.Destination{{Pattern: "*.example.org"}, {Network: netip.MustParsePrefix("198.51.100.0/24")}},
			Ports:        []config.PortRange{{Low: 443, High: 443}, {Low: 8000, High: 8999}},
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

// Numbers in a list need no quotes, and a single entry needs no brackets.
func TestNumbersInRules(t *testing.T) {
	want := rules.Match{
		Ports: []config.PortRange{{Low: 25, High: 25}, {Low: 465, High: 465}, {Low: 8000, High: 8999}},
		UIDs:  []uint32{1000},
	}
	for _, text := range []string{
		"port = [25, 465, \"8000-8999\"]\n uid = 1000",
		"port = [\"25\", \"465\", \"8000-8999\"]\n uid = \"1000\"",
		"port = [25, \"465\", \"8000-8999\"]\n uid = [1000]",
	} {
		c := parse(t, "rule \"x\" {\n action = \"deny\"\n "+text+"\n}\nintents \"y\" {\n set = \"category=query\"\n "+text+"\n}\n")
		if diff := cmp.Diff(want, c.rules[0].match, comparable); diff != "" {
			t.Errorf("%s: rule (-want +got):\n%s", text, diff)
		}
		if diff := cmp.Diff(want, c.intents[0].Match, comparable); diff != "" {
			t.Errorf("%s: intents (-want +got):\n%s", text, diff)
		}
	}
}

// For text without quotes, or written as in other files, there is one message for each
// mistake, which says what to write.
func TestMistakesInTheFile(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"listen = [192.168.0.1:9050]", []string{`f:1,11-27: listen is text: put it in quotes: "192.168.0.1:9050"`}},
		{"listen = [::1]:9050", []string{`f:1,10-20: listen is text: put it in quotes: "[::1]:9050"`}},
		{"listen = [[::1]:9050, 127.0.0.1:9050]", []string{`f:1,11-21: listen is text: put it in quotes: "[::1]:9050"`, `f:1,23-37: listen is text: put it in quotes: "127.0.0.1:9050"`}},
		{"listen = [192.168.0.1]", []string{
			`f:1,11-22: listen must be an address with port such as "127.0.0.1:9050" or "[::1]:9050", not "192.168.0.1"; and put it in quotes`,
		}},
		{"socket = /run/x", []string{`f:1,10-16: socket is text: put it in quotes: "/run/x"`}},
		{"state = /run/x", []string{`f:1,1-6: unknown setting "state"`}},
		{"timeouts {\n  connect = 5s\n  idle = 1h30m\n}", []string{
			`f:2,13-15: connect in timeouts is text: put it in quotes: "5s"`, `f:3,10-15: idle in timeouts is text: put it in quotes: "1h30m"`,
		}},
		{"log {\n  level = debug\n  format = 'json'\n}", []string{
			`f:2,11-16: level in log is text: put it in quotes: "debug"`, `f:3,12-18: format in log is text: put it in quotes: "json"`,
		}},
		{"rule no mail {\n  action = deny\n}", []string{`f:1,`}},
		{"rule mail {\n  action = deny\n  port = 8000-8999\n  client = 192.168.0.0/24\n  destination = [*.example.org, 10.0.0.0/8]\n}", []string{
			`f:2,12-16: action in rule "mail" is text: put it in quotes: "deny"`,
			`f:3,10-19: port in rule "mail" is text: put it in quotes: "8000-8999"`,
			`f:4,12-26: client in rule "mail" is text: put it in quotes: "192.168.0.0/24"`,
			`f:5,18-31: destination in rule "mail" is text: put it in quotes: "*.example.org"`,
			`f:5,33-43: destination in rule "mail" is text: put it in quotes: "10.0.0.0/8"`,
		}},
		{"intents \"x\" {\n  set = category=bulktransfer,filesize=300M\n}", []string{
			`f:2,9-44: set in intents "x" is text: put it in quotes: "category=bulktransfer,filesize=300M"`,
		}},
		{"intents \"x\" {\n  category=bulktransfer\n}", []string{
			`f:2,3-11: unknown setting "category" in intents "x"; known: client, destination, port, process, set, uid, user; intents are stated by set = "category=bulktransfer"`,
		}},
		{"rule \"x\" {\n  action = \"allow\"\n  filesize = \"300M\"\n}", []string{
			`f:3,3-11: unknown setting "filesize" in rule "x"; known: action, client, destination, port, process, uid, user; intents are stated by set = "filesize=300M" in a block intents "NAME" { ... }`,
		}},
		{"rule \"x\" {\n  Action = \"deny\"\n}\nintents \"y\" {\n  sets = \"category=query\"\n}\n", []string{
			`f:2,3-9: unknown setting "Action" in rule "x"; did you mean "action"?`,
			`f:5,3-7: unknown setting "sets" in intents "y"; did you mean "set"?`,
		}},
		{"rule \"x\" {\n  action {\n  }\n}\nintents \"y\" {\n  set \"category=query\" {\n  }\n}\n", []string{
			`f:2,3-9: action is a setting: action = ...`, `f:6,3-6: set is a setting: set = ...`,
		}},
		{"user = \"/etc/passwords\"\nrule \"x\" {\n  action = \"allow\"\n  user = \"ann\"\n}", []string{`f:1,1-5: unknown setting "user"; did you mean "users"?`}},
		{"users = /etc/passwords\nrule \"x\" {\n  action = \"allow\"\n  user = \"ann\"\n}", []string{`f:1,9-23: users is text: put it in quotes: "/etc/passwords"`}},
		{"rule \"x\" {\n  action = \"allow\"\n  user = \"ann\"\n}", []string{`f:1,6-9: rule "x" goes by user, and without "users",`}},
		{"identify = true;\nlog {\n  level = \"info\";\n};", []string{
			`f:1,16: a semicolon is nothing in this format: a setting ends with its line; leave it out (here and 2 times more)`,
		}},
		{"listen = [\"127.0.0.1:1\", \"[::1]:1\", \"127.0.0.1:1\"]", []string{`f:1,10-51: listen has "127.0.0.1:1" twice`}},
		{"rule \"x\" { action = \"deny\", port = 25 }", []string{`f:1,29-33: one setting a line, without commas: put port = ... on a line of its own`}},
		{"rule \"x\" {\n  action = \"deny\"\n  destination = \"example.org example.net\"\n}", []string{`f:3,17-42: destination in rule "x" must be a name or pattern such as`}},
		{"rule \"x\"\n{\n  action = \"deny\"\n}", []string{`f:1,1-5: the brace that opens a block stands on the line of its name: rule "x" {`}},
		{"port_intents: false\ntimeouts {\n  connect: 5s\n}", []string{
			`f:1,1-13: a setting is written NAME = VALUE: port_intents = false`, `f:3,3-10: a setting is written NAME = VALUE: connect = "5s"`,
		}},
	} {
		err := config.ParseFile([]byte(tt.text+"\n"), "f", defaults().describe)
		wrong, ok := errors.AsType[*config.Error](err)
		if !ok {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		var got []string
		for _, d := range wrong.Diagnostics {
			line, _, _ := strings.Cut(d.String(), "\n")
			got = append(got, line)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %d messages, want %d:\n%s", tt.text, len(got), len(tt.want), strings.Join(got, "\n"))
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s:\n%s, want\n%s", tt.text, got[i], tt.want[i])
			}
		}
	}
}

func TestOpen(t *testing.T) {
	c := &settings{listen: []string{"127.0.0.1:1", "[::1]:1", "192.0.2.1:1", "0.0.0.0:1", "[::]:1"}}
	if diff := cmp.Diff([]string{"192.0.2.1:1", "0.0.0.0:1", "[::]:1"}, c.open()); diff != "" {
		t.Error(diff)
	}
}

// No text leads to settings with which the proxy could not run.
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
