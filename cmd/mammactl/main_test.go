package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/service"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 1, 12, 3, 42, 0, time.UTC)

func known[T any](v T) *T { return &v }

// The host of these tests has Wi-Fi with two families, and LTE.
var (
	wlan4 = control.Prefix{
		Prefix: "192.168.0.0/24", Interface: "wlan0", Index: 2, Family: "IPv4", Addresses: []string{"192.168.0.23"}, Default: true,
		Health: control.Health{State: "up"}, Cost: "free", CostSource: known("configuration"), Options: map[string]string{}, Resolvers: []string{"192.168.0.1:53"},
		Facts: []control.Fact{{Name: "metered", Value: "yes (guessed)", Source: "NetworkManager", Overruled: true}, {Name: "wifi", Value: "evil\x1b[2J", Source: "NetworkManager"}},
		Path:  control.Path{AgeMS: known(50.0), SampleAgeMS: known(50.0), Connections: known(14), SRTTMinMS: known(9.8), SRTTMedianMS: known(12.1)},
		Link: control.Link{AgeMS: known(50.0), Down: known(4e5), Up: known(5e4), DownMax: known(6012500.0), UpMax: known(1e6),
			DownBytes: known(uint64(5_300_000_000)), UpBytes: known(uint64(120_000_000)), RxErrors: known(uint64(0)), TxErrors: known(uint64(2))},
		Wifi: &control.Wifi{Signal: known(-61), Tx: known(3e7), Stations: known(7), ChannelUtilization: known(0.4)},
	}
	wwan = control.Prefix{
		Prefix: "10.64.0.0/10", Interface: "wwan0", AltNames: []string{"uplink-lte"}, Index: 3, Family: "IPv4", Addresses: []string{"10.64.3.9"},
		Health: control.Health{State: "up"}, Cost: "metered", CostSource: known("NetworkManager"), Budget: &control.Budget{Limit: 5e9, Used: 12e8, Reset: now.AddDate(0, 0, 31)}, Options: map[string]string{}, Resolvers: []string{"10.64.0.1:53"}, OwnResolvers: true, ResolversSource: known("systemd-resolved"),
		Facts: []control.Fact{{Name: "metered", Value: "yes", Source: "NetworkManager"}, {Name: "technology", Value: "LTE", Source: "ModemManager"}, {Name: "signal", Value: "60 %", Source: "ModemManager"}},
		Path:  control.Path{AgeMS: known(50.0), SampleAgeMS: known(50.0), Connections: known(2), SRTTMinMS: known(41.0), SRTTMedianMS: known(55.3)},
		Link:  control.Link{AgeMS: known(50.0), Down: known(0.0), Up: known(0.0), DownMax: known(2712500.0), UpMax: known(5e5)},
	}
	wlan6 = control.Prefix{
		Prefix: "2001:db8:1::/64", Interface: "wlan0", Index: 2, Family: "IPv6", Addresses: []string{"2001:db8:1::23"}, Default: true,
		Health: control.Health{State: "suspect", Reason: known("2 of the last 5 connects failed"), Since: known(now.Add(-12 * time.Second))},
		Cost:   "free", Options: map[string]string{}, Facts: []control.Fact{},
	}
	all = control.Prefixes{Now: now, Prefixes: []control.Prefix{wlan4, wwan, wlan6}}

	toWwan = &control.PrefixRef{Prefix: "10.64.0.0/10", Interface: "wwan0", Address: "10.64.3.9"}
	toWlan = &control.PrefixRef{Prefix: "192.168.0.0/24", Interface: "wlan0", Address: "192.168.0.23"}

	status = control.Status{
		Schema: 1, Now: now, Version: "0.1.0", Build: control.Build{Go: "go1.26"}, PID: 812, Started: now.Add(-76 * time.Hour), UptimeMS: 76 * 3600e3,
		Policy:   control.PolicyState{Name: known("threshold"), Since: known(now.Add(-time.Hour)), InService: true},
		Config:   control.ConfigState{File: known("/etc/mamma/policy.conf"), Loaded: known(now.Add(-time.Hour))},
		Prefixes: control.PrefixCounts{Total: 3, Up: 2, Suspect: 1, Metered: 1}, Interfaces: 2, Clients: known(3),
		Decisions:  control.DecisionCounts{Total: 120344, Remembered: 1024, PerMinute: 1204.2, TookP50MS: known(0.02), TookP99MS: known(0.1), Leased: 45210},
		PlainDials: control.PlainDials{Late: 3, LeftAlone: 1204, Unread: 2},
		Rights:     control.Rights{ReadAll: true, Change: true},
		Routing: control.RoutingState{
			Managed: true, Error: known("adding rule: evil\rno buffer space available"),
			Others: []control.OtherRule{{Rule: "192.168.0.0/24 on wlan0: rule 20001 does not hold for it, from all to 203.0.113.0/24 prohibit", Text: "undone"}},
		},
	}
)

func decisions() []control.Decision {
	return []control.Decision{
		{
			Seq: 1, Time: now.Add(-780 * time.Millisecond), TookMS: 0.03, Kind: "socketconnect", App: control.App{PID: known(uint32(4121)), Command: known("curl")},
			Host: known("www.example.net"), Service: known("443"), Intents: control.Intents{Category: known("bulktransfer"), FileSize: known(int64(300e6))},
			Policy: known("threshold"), Chosen: toWwan, Alternates: []control.PrefixRef{*toWlan}, Reason: "shortest predicted time (124.6 s)", Scores: scoresOf(),
		},
		{
			Seq: 2, Time: now.Add(-493 * time.Millisecond), TookMS: 0.02, Kind: "socketchoose", App: control.App{PID: known(uint32(77)), Command: known("muacsocksd")},
			Host: known("api.example.org"), Service: known("443"), Intents: control.Intents{Category: known("query")}, Policy: known("threshold"),
			Chosen: toWlan, Reused: true, Reason: "latency-dominated, lowest RTT",
			Origin: &control.Origin{UID: known(uint32(1000)), PID: known(uint32(4300)), Command: known("evil\rname"), Source: known("rule web")},
		},
		{
			Seq: 3, Time: now.Add(time.Millisecond), TookMS: 0.02, Kind: "connect", App: control.App{PID: known(uint32(5003)), Command: known("app")},
			Remote: known("192.0.2.7:443"), Policy: known("threshold"), Chosen: toWlan, Alternates: []control.PrefixRef{*toWwan},
			Reason: "no file size given: default", Outcome: &control.Outcome{Candidate: 1, TookMS: 250, PlainTCP: true},
			Origin: &control.Origin{Source: known("client")},
		},
		{
			Seq: 4, Time: now.Add(2 * time.Millisecond), TookMS: 1.5, Kind: "connect", App: control.App{}, Host: known("evil\x1b[2J\nname"),
			Fallback: known("policy panicked"), Reason: "default", Outcome: &control.Outcome{TookMS: 30, Errno: 111, Error: known("connection refused")},
		},
	}
}

func scoresOf() []control.Score {
	ms, rate := control.UnitMilliseconds, control.UnitByteRate
	score := func(p *control.PrefixRef, rtt, capacity, latency, transfer, predicted float64) control.Score {
		return control.Score{Prefix: p.Prefix, Interface: p.Interface, PredictedMS: &predicted, Terms: []control.Term{
			{Name: "rtt", Unit: ms, Value: &rtt, AgeMS: known(100.0)}, {Name: "free capacity", Unit: rate, Value: &capacity, AgeMS: known(42e3)},
			{Name: "latency part", Unit: ms, Value: &latency}, {Name: "capacity part", Unit: ms, Value: &transfer},
		}}
	}
	list := []control.Score{
		score(toWlan, 9.8, 1012500, 39, 296300, 297100),
		score(toWwan, 41, 2425000, 164, 123700, 124600),
	}
	list[1].Note = known("shortest")
	return list
}

func explanation() control.Explanation {
	d := decisions()[0]
	d.Seq, d.Reason = 0, "capacity-dominated on the lowest-latency prefix (39 ms < 296.3 s): predicted times are compared"
	return control.Explanation{Now: now, Decision: d, Candidates: []control.Prefix{wlan4, wwan}, Device: known("wwan0"),
		Resolver: &control.ResolverRef{Servers: wwan.Resolvers, Prefix: toWwan}}
}

func policyAnswer() control.Policy {
	return control.Policy{Now: now, State: status.Policy, Config: control.ConfigState{
		File: status.Config.File, Loaded: status.Config.Loaded, ErrorTime: known(now.Add(-12 * time.Second)),
		Error: known("policy.conf:7,3-12: unknown setting \"namserver\"\n    7 |   namserver = [\"10.64.0.1\"]"),
	}, Settings: []control.PolicySetting{{Name: "logfile", Text: `"/var/log/mamma/threshold.csv"`, File: "/etc/mamma/policy.conf", Line: 2}}}
}

// fake is a control server with fixed answers.
type fake struct {
	answers map[string]any // bodies and queries of the requests
	asked   chan string    // bodies and queries of what was asked
	events  []control.Event
	hold    bool // keep the event stream open
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	select {
	case f.asked <- r.URL.RawQuery + string(body):
	default:
	}
	if r.URL.Path == "/v1/events" {
		for _, e := range f.events {
			_ = json.NewEncoder(w).Encode(e)
		}
		_ = http.NewResponseController(w).Flush()
		if f.hold {
			<-r.Context().Done()
		}
		return
	}
	v, ok := f.answers[r.Method+" "+r.URL.Path]
	if next, changes := v.(func() any); changes {
		v = next()
	}
	if fail, bad := v.(control.RemoteError); bad {
		w.WriteHeader(fail.Status)
		v = fail.Failure
	} else if !ok {
		w.WriteHeader(http.StatusNotFound)
		v = control.Failure{Error: "there is no " + r.URL.Path, Code: "not_found"}
	}
	_ = json.NewEncoder(w).Encode(v)
}

func newFake() *fake {
	return &fake{asked: make(chan string, 100), answers: map[string]any{
		"GET /v1/status": status, "GET /v1/prefixes": all, "GET /v1/policy": policyAnswer(),
		"GET /v1/interfaces": control.Interfaces{Now: now, Interfaces: []control.Interface{
			{Name: "wlan0", Index: 2, Prefixes: []string{wlan4.Prefix, wlan6.Prefix}, Link: wlan4.Link, Wifi: wlan4.Wifi},
			{Name: "wwan0", Index: 3, Prefixes: []string{wwan.Prefix}, Link: wwan.Link},
		}},
		"GET /v1/decisions": control.Decisions{Now: now, Last: 4, Complete: true, Decisions: decisions()},
		"GET /v1/mptcp":     multipath(),
		"GET /v1/scopes":    scopes(), "POST /v1/scopes/detach": scopes(),
		"POST /v1/explain": explanation(), "POST /v1/set": policyAnswer(), "POST /v1/reload": policyAnswer(),
		"POST /v1/forget": control.Forgotten{Now: now, Attachments: 3},
	}}
}

// serve serves f on a socket and returns the path of the socket.
func serve(t *testing.T, f http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return path
}

// mammactl runs the program with the server at path.
func mammactl(ctx context.Context, path string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := map[string]string{"MAMMA_CONTROL": path}
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(k string) string { return env[k] }, location: time.UTC, version: "0.1.0"}
	code = a.run(ctx, args)
	return code, out.String(), errs.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestScreens(t *testing.T) {
	path := serve(t, newFake())
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"status", []string{"status"}},
		{"prefixes", []string{"prefixes"}},
		{"networks", []string{"networks"}},
		{"interfaces", []string{"interfaces"}},
		{"forget", []string{"forget", "wlan0"}},
		{"help-networks", []string{"networks", "--help"}},
		{"networks-json", []string{"networks", "--json"}},
		{"mptcp", []string{"mptcp"}},
		{"scopes", []string{"scopes"}},
		{"policy", []string{"policy"}},
		{"decisions", []string{"decisions"}},
		{"explain", []string{"explain", "www.example.net:443", "--category", "bulktransfer", "--filesize", "300M"}},
		{"set", []string{"set", "default", "10.64.3.9"}},
		{"reload", []string{"reload"}},
		{"help", []string{"--help"}},
		{"help-explain", []string{"explain", "--help"}},
		{"prefixes-json", []string{"prefixes", "--json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := mammactl(t.Context(), path, tt.args...)
			if code != exitOK || errs != "" {
				t.Fatalf("exit code %d, %s", code, errs)
			}
			golden(t, tt.name, out)
		})
	}
}

// The help of every command fits a terminal of the usual width.
func TestHelpWidth(t *testing.T) {
	root := (&app{}).root()
	var all [][]string
	for _, c := range withPages(root) {
		all = append(all, append(strings.Fields(c.CommandPath())[1:], "--help"))
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} { // these come from cobra
		all = append(all, []string{"completion", shell, "--help"})
	}
	for _, args := range append(all, []string{"completion", "--help"}, []string{"help", "--help"}) {
		code, out, errs := mammactl(t.Context(), "", args...)
		if code != exitOK || errs != "" || !strings.Contains(out, "Usage:") {
			t.Fatalf("%q: exit code %d, %s", args, code, errs)
		}
		for l := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > service.HelpWidth {
				t.Errorf("%q: %d columns: %s", args, n, l)
			}
		}
	}
}

// Flags after the program belong to the program. If such a flag exists only for run, a
// message says so.
func TestMisplaced(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "",
		"-v --intents category=query URL":  "--intents",
		"--intents-for=443=category=query": "--intents-for",
		"-- --intents x":                   "",
		"--json x":                         "",
		"run --intents category=query URL": "",
	} {
		if got := misplaced(strings.Fields(args)); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

// --json prints what the daemon sent, even fields that this program does not know.
func TestJSON(t *testing.T) {
	f := newFake()
	f.answers["GET /v1/status"] = map[string]any{"schema": 1, "future": "field"}
	path := serve(t, f)
	for _, args := range [][]string{
		{"status"}, {"prefixes"}, {"networks"}, {"interfaces"}, {"mptcp"}, {"scopes"}, {"forget"}, {"policy"}, {"decisions"}, {"explain", "a"}, {"set", "x"}, {"reload"}, {"version"},
	} {
		code, out, errs := mammactl(t.Context(), path, append(args, "--json")...)
		var v map[string]any
		first, _, _ := strings.Cut(out, "\n{\"type\"") // decisions come one a line
		if err := json.Unmarshal([]byte(first), &v); err != nil || code != exitOK || errs != "" {
			t.Errorf("%v: code %d, %v, %s", args, code, err, errs)
		}
		if args[0] == "status" && v["future"] != "field" {
			t.Errorf("a field is lost: %v", v)
		}
	}
}

// If a policy permits no connection, this is shown, with the reason.
func TestRefusalIsShown(t *testing.T) {
	d := decisions()[0]
	d.Refused, d.Only, d.Chosen, d.Alternates, d.Scores = true, true, nil, nil, nil
	d.Policy, d.Reason = known("score"), "no prefix meets require"
	kept := decisions()[0]
	kept.Seq, kept.Only, kept.Alternates = 2, true, nil
	f := newFake()
	f.answers["GET /v1/decisions"] = control.Decisions{Now: now, Last: 2, Complete: true, Decisions: []control.Decision{d, kept}}
	f.answers["POST /v1/explain"] = control.Explanation{Now: now, Decision: d, Candidates: []control.Prefix{wlan4, wwan}}
	path := serve(t, f)
	for name, args := range map[string][]string{
		"decisions-refused": {"decisions"},
		"explain-refused":   {"explain", "www.example.net:443", "--category", "bulktransfer"},
	} {
		code, out, errs := mammactl(t.Context(), path, args...)
		if code != exitOK || errs != "" {
			t.Errorf("exit code %d, %s", code, errs)
		}
		golden(t, name, out)
	}
}

func TestExitCodes(t *testing.T) {
	f := newFake()
	f.answers["POST /v1/reload"] = control.RemoteError{Status: 422, Failure: control.Failure{Code: "refused", Error: "policy.conf:7,3-12: unknown\tsetting\n    7 | x\x1b[2J"}}
	f.answers["POST /v1/set"] = control.RemoteError{Status: 403, Failure: control.Failure{Code: "forbidden", Error: "only root and the user that mamma runs as may do that"}}
	path := serve(t, f)
	absent := filepath.Join(t.TempDir(), "control.sock")
	for _, tt := range []struct {
		name string
		path string
		args []string
		code int
		want string
	}{
		{"refused", path, []string{"reload"}, exitError, "mammactl: policy.conf:7,3-12: unknown    setting\n    7 | x?[2J\n"},
		{"forbidden", path, []string{"set", "x"}, exitError, "mammactl: only root and the user that mamma runs as may do that\n"},
		{"no daemon", absent, []string{"status"}, exitNoDaemon, "mammactl: no mamma answers at " + absent + "; is it running?  systemctl status mamma\n"},
		{"no daemon to watch", absent, []string{"watch"}, exitNoDaemon, "mammactl: no mamma answers at " + absent + "; is it running?  systemctl status mamma\n"},
		{"by flag", path, []string{"--control", absent, "status"}, exitNoDaemon, "mammactl: no mamma answers at " + absent + "; is it running?  systemctl status mamma\n"},
		{"unknown command", path, []string{"prefix"}, exitUsage, "mammactl: unknown command \"prefix\"; did you mean \"prefixes\"?\nTry 'mammactl --help'.\n"},
		{"no kind of profile", path, []string{"profile"}, exitUsage, "mammactl: one kind of profile is needed: allocs, block, cpu, goroutine, heap, mutex, threadcreate, trace\nTry 'mammactl profile --help'.\n"},
		{"no such profile", path, []string{"profile", "cmdline"}, exitUsage, "mammactl: there is no profile \"cmdline\"; known: allocs, block, cpu, goroutine, heap, mutex, threadcreate, trace\nTry 'mammactl profile --help'.\n"},
		{"a profile without time", path, []string{"profile", "heap", "--for", "1s"}, exitUsage, "mammactl: profile heap takes no time, so --for has no meaning\nTry 'mammactl profile --help'.\n"},
		{"a profile for too long", path, []string{"profile", "cpu", "--for", "1h"}, exitUsage, "mammactl: invalid argument \"1h\" for \"--for\" flag: must be from 10ms to 5m\nTry 'mammactl profile --help'.\n"},
		{"far from any command", path, []string{"xyzzy"}, exitUsage, "mammactl: unknown command \"xyzzy\"; known: completion, decisions, doctor, explain, forget, get, hosts, interfaces, mptcp, networks, policy, prefixes, profile, reload, replay, run, scopes, set, status, version, watch, web\nTry 'mammactl --help'.\n"},
		{"argument for nothing", path, []string{"prefixes", "wlan0"}, exitUsage, "mammactl: prefixes takes no argument, but there is \"wlan0\"\nTry 'mammactl prefixes --help'.\n"},
		{"unknown topic of help", path, []string{"help", "prefix"}, exitUsage, "mammactl: unknown command \"prefix\"; did you mean \"prefixes\"?\nTry 'mammactl help --help'.\n"},
		{"unknown topic below a command", path, []string{"help", "hosts", "dunp"}, exitUsage, "mammactl: unknown command \"dunp\"; did you mean \"dump\"?\nTry 'mammactl help --help'.\n"},
		{"unknown shell", path, []string{"completion", "tcsh"}, exitUsage, "mammactl: unknown command \"tcsh\"; known: bash, fish, powershell, zsh\nTry 'mammactl completion --help'.\n"},
		{"no directory", path, []string{"man"}, exitUsage, "mammactl: man needs the directory to write them to\nTry 'mammactl man --help'.\n"},
		{"a flag without its value", path, []string{"get", "http://192.0.2.1/", "-o"}, exitUsage, "mammactl: --output needs a value: --output FILE\nTry 'mammactl get --help'.\n"},
		{"a letter", path, []string{"status", "-j"}, exitUsage, "mammactl: unknown shorthand flag: 'j' in -j; did you mean --json?\nTry 'mammactl status --help'.\n"},
		{"a network for the program", path, []string{"run", "--require", "interface=wlan0", "--", "true"}, 127, "mammactl: run: interface=wlan0: executable file not found in $PATH; --require of run takes no network: the policy and the configuration say which networks there are to choose from\n"},
		{"unknown flag", path, []string{"status", "--jsn"}, exitUsage, "mammactl: unknown flag: --jsn; did you mean \"--json\"?\nTry 'mammactl status --help'.\n"},
		{"no host", path, []string{"explain"}, exitUsage, "mammactl: explain needs a host, such as www.example.net:443\nTry 'mammactl explain --help'.\n"},
		{"host and port apart", path, []string{"explain", "a", "443"}, exitUsage,
			"mammactl: explain takes one argument, but \"443\" follows \"a\"; a port follows its host and a colon\nTry 'mammactl explain --help'.\n"},
		{"no recording", path, []string{"replay", "--policy", "sample"}, exitUsage,
			"mammactl: replay needs a file of decisions, which mamma writes with decisions { record = \"FILE\" }\nTry 'mammactl replay --help'.\n"},
		{"no program", path, []string{"run"}, exitUsage, "mammactl: run needs a program: mammactl run --intents category=query -- curl URL\nTry 'mammactl run --help'.\n"},
		{"size", path, []string{"explain", "a", "--filesize", "3X"}, exitUsage, "mammactl: --filesize: \"3X\" is not a number of bytes or a size such as 300M, 1.5G or 64KiB\nTry 'mammactl explain --help'.\n"},
		{"category", path, []string{"explain", "a", "--category", "fast"}, exitUsage,
			"mammactl: --category must be one of query, bulktransfer, controltraffic, keepalives, stream, not \"fast\"\nTry 'mammactl explain --help'.\n"},
		{"both families", path, []string{"explain", "a", "-4", "-6"}, exitUsage,
			"mammactl: --ipv4 and --ipv6 exclude each other; without either, both will do\nTry 'mammactl explain --help'.\n"},
		{"bound", path, []string{"explain", "a", "--bound", "b"}, exitUsage, "mammactl: --bound must be an address, not \"b\"\nTry 'mammactl explain --help'.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := mammactl(t.Context(), tt.path, tt.args...)
			if code != tt.code || errs != tt.want || out != "" {
				t.Errorf("code %d, want %d; output %q\n got: %q\nwant: %q", code, tt.code, out, errs, tt.want)
			}
		})
	}
}

func TestVersionWithoutDaemon(t *testing.T) {
	code, out, errs := mammactl(t.Context(), filepath.Join(t.TempDir(), "none"), "version")
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "mammactl  0.1.0 (go") || !strings.HasSuffix(out, "mamma     not running\n") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	// As of other programs.
	if code, out, errs := mammactl(t.Context(), filepath.Join(t.TempDir(), "none"), "--version"); code != exitOK || out != "mammactl 0.1.0\n" || errs != "" {
		t.Errorf("--version: code %d, %q, %q", code, out, errs)
	}
}

func TestExplainAsks(t *testing.T) {
	f := newFake()
	path := serve(t, f)
	args := strings.Fields("explain [2001:db8::1]:https --category Query --filesize 64KiB --duration 5m --bitrate 1.5M --burstiness bulk " +
		"--timeliness interactive --resilience tolerant --udp --ipv6 --bound fd00::1")
	if code, _, errs := mammactl(t.Context(), path, args...); code != exitOK {
		t.Fatal(errs)
	}
	var got control.Question
	if err := json.Unmarshal([]byte(<-f.asked), &got); err != nil {
		t.Fatal(err)
	}
	want := control.Question{Transport: "datagram", Family: "IPv6", Host: "2001:db8::1", Service: "https", Bound: "fd00::1", Intents: control.Intents{
		Category: known("Query"), FileSize: known(int64(65536)), Duration: known(int64(300)), Bitrate: known(int64(1500000)),
		Burstiness: known("bulk"), Timeliness: known("interactive"), Resilience: known("tolerant"),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Following ends without a message when it is interrupted.
func TestFollow(t *testing.T) {
	f := newFake()
	f.hold = true
	list := decisions()
	attached := wwan // as after the first connection, when the kernel knows the gateway
	attached.Facts = []control.Fact{{Name: "gateway", Value: "aa:b5:d2:a9:59:ae", Source: "kernel"}}
	f.events = []control.Event{
		{Type: control.EventDecision, Time: now, Decision: &list[0]},
		{Type: control.EventOutcome, Time: now, Decision: &list[2]},
		{Type: control.EventOutcome, Time: now, Decision: &list[1]},
		{Type: control.EventDropped, Time: now, Dropped: known(uint64(1200))},
		{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "health", Prefix: wlan6}},
		{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "added", Prefix: wwan}},
		{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "changed", Differs: []string{"cost", "default"}, Prefix: wwan}},
		{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "changed", Differs: []string{"facts"}, Prefix: attached}},
		{Type: control.EventReload, Time: now, Reload: &control.Reload{Policy: known("threshold")}},
		{Type: control.EventReload, Time: now, Reload: &control.Reload{Error: known("a:1,1: wrong\n  more")}},
		{Type: "something of a later version", Time: now},
	}
	for _, args := range [][]string{{"decisions", "-f", "-n", "2"}, {"watch"}} {
		t.Run(args[0], func(t *testing.T) {
			path := serve(t, f)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &until{marker: "reload failed", reached: cancel}
			env := map[string]string{"MAMMA_CONTROL": path}
			a := &app{in: strings.NewReader(""), out: out, err: io.Discard, getenv: func(k string) string { return env[k] }, location: time.UTC}
			if code := a.run(ctx, args); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			golden(t, args[0]+"-follow", out.String())
		})
	}
}

// A command that ends by itself does nothing if it was interrupted before.
func TestInterrupted(t *testing.T) {
	path := serve(t, newFake())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"status"}, {"decisions"}, {"profile", "cpu", "-o", filepath.Join(t.TempDir(), "cpu")}, {"reload"}, {"replay", "/dev/null", "--policy", "sample"}} {
		code, out, errs := mammactl(ctx, path, args...)
		if code != exitError || out != "" || errs != "mammactl: interrupted\n" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, out, errs)
		}
	}
}

// Following goes on after the daemon was unreachable. If the daemon was restarted, all
// of the new one's decisions are printed.
func TestFollowThroughRestart(t *testing.T) {
	f := newFake()
	list := decisions()
	list[2].Seq = 7
	var mu sync.Mutex // guards the variables below, and f
	var since []string
	away := true // the daemon is away once
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/v1/events":
			since = append(since, r.URL.RawQuery)
			events := []control.Event{{Type: control.EventDecision, Time: now, Decision: &list[2]}}
			switch len(since) {
			case 2:
				st := status
				st.Started = now
				f.answers["GET /v1/status"] = st
				events[0].Decision = &list[0]
			case 3:
				events[0] = control.Event{Type: control.EventReload, Time: now, Reload: &control.Reload{Error: known("the end")}}
			}
			_ = json.NewEncoder(w).Encode(events[0])
			_ = http.NewResponseController(w).Flush()
			if len(since) == 3 {
				mu.Unlock()
				<-r.Context().Done()
				mu.Lock()
			}
		case r.URL.Path == "/v1/status" && len(since) == 1 && away:
			away = false
			panic(http.ErrAbortHandler) // the daemon is ending
		default:
			f.ServeHTTP(w, r)
		}
	})
	for _, format := range []string{"--json=false", "--json"} {
		mu.Lock()
		since, away = nil, true
		f.answers["GET /v1/status"] = status
		mu.Unlock()
		path := serve(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		out := &until{marker: "the end", reached: cancel}
		var errs bytes.Buffer
		env := map[string]string{"MAMMA_CONTROL": path}
		a := &app{in: strings.NewReader(""), out: out, err: &errs, getenv: func(k string) string { return env[k] }, location: time.UTC}
		if code := a.run(ctx, []string{"decisions", "-f", "-n", "0", format}); code != exitOK {
			t.Errorf("%s: exit code %d", format, code)
		}
		cancel()
		first := "since=4"
		if format == "--json" {
			first = "since=0"
		}
		mu.Lock()
		if want := []string{first, "since=7", "since=0"}; !slices.Equal(since, want) {
			t.Errorf("%s: asked for events %q, want %q", format, since, want)
		}
		mu.Unlock()
		const gone = "mammactl: mamma has stopped; waiting for it\n"
		if want := gone + gone + "mammactl: mamma was started anew\n"; errs.String() != want {
			t.Errorf("%s: said %q, want %q", format, errs.String(), want)
		}
		if n := strings.Count(out.String(), "192.0.2.7:443"); n == 0 {
			t.Errorf("%s: shown\n%s", format, out.String())
		}
	}
}

// until calls reached once marker was written.
type until struct {
	bytes.Buffer
	marker  string
	reached func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if bytes.Contains(p, []byte(u.marker)) {
		u.reached()
	}
	return n, err
}

func TestExplanationsWithoutChoice(t *testing.T) {
	none, fallback, noDefault, bound := explanation(), explanation(), explanation(), explanation()
	none.Decision.Chosen, none.Candidates, none.Resolver = nil, nil, nil
	fallback.Decision.Fallback = known("policy panicked: oops")
	noDefault.Decision.Fallback, noDefault.Decision.Chosen = known("policy panicked: oops"), nil
	bound.Decision.Bound, bound.Decision.Chosen, bound.Decision.Scores = known("10.64.3.9"), nil, nil
	past := explanation() // the form in which watch explains a decision
	past.Decision.Seq, past.Decision.Multipath = 7, true
	past.Decision.Outcome, past.Decision.Origin = &control.Outcome{PlainTCP: true}, decisions()[1].Origin
	var b strings.Builder
	for _, e := range []control.Explanation{none, fallback, noDefault, bound, past} {
		f := newFake()
		f.answers["POST /v1/explain"] = e
		code, out, errs := mammactl(t.Context(), serve(t, f), "explain", "a")
		if code != exitOK {
			t.Error(errs)
		}
		b.WriteString(out + "====\n")
	}
	golden(t, "explain-other", b.String())
}
