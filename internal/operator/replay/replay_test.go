package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// network makes a prefix with a round-trip time and a capacity.
func network(name, addr string, rtt time.Duration, capacity policy.BytesPerSecond, isDefault bool) *policy.Prefix {
	a := netip.MustParsePrefix(addr)
	return &policy.Prefix{
		ID: policy.PrefixID{Interface: name, Prefix: a.Masked()}, Interface: name, CIDR: a.Masked(), Addrs: []netip.Addr{a.Addr()}, Default: isDefault,
		Stats: policy.PathStats{Time: start, SampleTime: start, Conns: 1, SRTTMin: rtt, SRTTMedian: rtt},
		Link: policy.LinkStats{
			Time: start, DownRateMax: capacity, DownRateMaxTime: start, DownSMAMax: policy.Windowed{Short: capacity, Mid: capacity, Long: capacity, VeryLong: capacity},
		},
	}
}

// request makes a request for n bytes of a category.
func request(i int, category intent.Category, n int64, prefixes ...*policy.Prefix) *policy.Request {
	return &policy.Request{
		Kind: policy.SocketConnect, Host: "www.example.net", Service: "80", Port: 80, Prefixes: prefixes,
		Intents: intent.Set{}.WithCategory(category).WithFileSize(n), App: policy.App{UID: 1000, PID: 7, Command: "test"},
		Now: start.Add(time.Duration(i) * time.Second),
	}
}

// record lets a policy decide, and records its decisions.
func record(t *testing.T, name string, seed uint64, requests ...*policy.Request) []byte {
	t.Helper()
	p, err := policies.All().New(name, policy.Config{Name: name, Seed: seed, Prefixes: requests[0].Prefixes})
	if err != nil {
		t.Fatal(err)
	}
	var e decisionlog.Encoder
	var b []byte
	for _, r := range requests {
		if o, ok := p.(policy.Observer); ok { // as the daemon does when it has measured
			o.Measured(r.Prefixes, r.Now)
		}
		d := policy.Decision{Resolution: policy.ResolveDefault}
		if r.Kind != policy.Resolve {
			d = p.Choose(r)
		} else if c, ok := p.(policy.ResolveChooser); ok {
			d = c.ChooseResolver(r)
		}
		if b, err = e.Append(b, name, r, d); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// few makes three requests on a host with a near network and a fast one.
func few() []*policy.Request {
	near, fast := network("wlan0", "192.0.2.23/24", 10*time.Millisecond, 250e3, true), network("wwan0", "10.64.3.9/10", 100*time.Millisecond, 2.5e6, false)
	return []*policy.Request{
		request(0, intent.CategoryQuery, 10e3, near, fast),
		request(1, intent.CategoryBulkTransfer, 10e6, near, fast),
		request(2, intent.CategoryBulkTransfer, 20e6, near, fast),
	}
}

func TestCommand(t *testing.T) {
	file := write(t, "decisions.jsonl", record(t, "threshold", 1, few()...))
	for _, tt := range []struct {
		name        string
		policy      string
		config      string
		differences int
		golden      string
	}{
		{"itself", "threshold", "", 20, "itself.txt"},
		{"sample", "policy_sample.so", "", 1, "sample.txt"},
		{"all differences", "sample", "", -1, "all.txt"},
		{"other options", "threshold", `policy "threshold" {}
prefix "192.0.2.0/24" {
  options {
    download_rate_max_recent = 90000000
  }
}`, 20, "options.txt"},
		{"name in the file", "", `policy "score" {
  maximize = prefix.srtt_minimum_recent
}`, 20, "score.txt"},
		{"refused", "score", `policy "score" {
  minimize = 1
  require  = prefix.interface == "wwan0" && intent.category != "query"
}`, 20, "refused.txt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			c := Command{Policies: policies.All(), Files: []string{file}, Policy: tt.policy, Seed: 1, Differences: tt.differences, Out: &out, Err: &complaints}
			if tt.config != "" {
				c.Config = write(t, "policy.conf", []byte(tt.config))
			}
			if err := c.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tt.golden)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if complaints.Len() > 0 {
				t.Errorf("complaints:\n%s", &complaints)
			}
		})
	}
}

func TestCommandJSON(t *testing.T) {
	var out bytes.Buffer
	c := Command{Policies: policies.All(), Files: []string{"-"}, Policy: "sample", JSON: true, In: bytes.NewReader(record(t, "threshold", 1, few()...)), Out: &out, Err: io.Discard}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	var d struct{ Decision jsonDecision }
	if err := json.Unmarshal([]byte(lines[1]), &d); err != nil {
		t.Fatal(err)
	}
	got := d.Decision
	if got.Same || got.Recorded.Prefix != "10.0.0.0/10%wwan0" && got.Recorded.Prefix != "10.64.0.0/10%wwan0" || got.Replayed.Prefix != "192.0.2.0/24%wlan0" ||
		got.Recorded.PredictedMS < 4000 || got.RecordedMS >= got.ReplayedMS || got.Intents["filesize"] != 10e6 {
		t.Errorf("decision %+v", got)
	}
	var s struct{ Summary jsonSummary }
	if err := json.Unmarshal([]byte(lines[3]), &s); err != nil {
		t.Fatal(err)
	}
	want := []jsonPrefix{{"192.0.2.0/24%wlan0", false, 1, 3, 1}, {"10.64.0.0/10%wwan0", false, 2, 0, 0}}
	if diff := cmp.Diff(want, s.Summary.Prefixes); diff != "" || s.Summary.Same != 1 || s.Summary.Decisions != 3 || s.Summary.Predicted != 3 {
		t.Errorf("summary %+v\n%s", s.Summary, diff)
	}
}

// A refusal is shown differently from no preference, with its reason. JSON shows it, too.
func TestRefusalsJSON(t *testing.T) {
	near := network("wlan0", "192.0.2.23/24", 10*time.Millisecond, 250e3, true)
	var e decisionlog.Encoder
	var file []byte
	for i, d := range []policy.Decision{{Only: true, Reason: "not now"}, {Reason: "no preference"}, {Only: true, Reason: "not now"}} {
		var err error
		if file, err = e.Append(file, "guard", request(i, intent.CategoryQuery, 1, near), d); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	c := Command{Policies: policies.All(), Files: []string{"-"}, Policy: "sample", JSON: true, In: bytes.NewReader(file), Out: &out, Err: io.Discard}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	var s struct{ Summary jsonSummary }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatal(err)
	}
	const name = "192.0.2.0/24%wlan0"
	if diff := cmp.Diff([]jsonPrefix{{name, false, 0, 3, 0}, {"", true, 2, 0, 0}, {"", false, 1, 0, 0}}, s.Summary.Prefixes); diff != "" {
		t.Errorf("prefixes (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]jsonRefusal{{"not now", 2, 0}}, s.Summary.Refusals); diff != "" {
		t.Errorf("refusals (-want +got)\n%s", diff)
	}
	if m := s.Summary.Moves; len(m) != 2 || !m[0].FromRefused || m[0].From != "" || m[0].To != name || m[1].FromRefused {
		t.Errorf("differences %+v", m)
	}
}

func TestCommandErrors(t *testing.T) {
	good := record(t, "threshold", 1, few()...)
	file := write(t, "good.jsonl", good)
	torn := write(t, "torn.jsonl", append([]byte("nonsense\n"), good[:len(good)-30]...))
	threshold := write(t, "threshold.conf", []byte("policy \"threshold\" {\n  lgfile = \"x\"\n}\n"))
	none := write(t, "none.conf", []byte("auto = false\n"))
	for _, tt := range []struct {
		name string
		c    Command
		want string // in the error
		says string // in the complaints
	}{
		{"no file", Command{Policies: policies.All(), Policy: "sample"}, "no file", ""},
		{"no policy", Command{Policies: policies.All(), Files: []string{file}}, "neither a policy nor a configuration", ""},
		{"unknown policy", Command{Policies: policies.All(), Files: []string{file}, Policy: "treshold"}, `did you mean "threshold"?`, ""},
		{"absent file", Command{Policies: policies.All(), Files: []string{"absent"}, Policy: "sample"}, "open absent: no such file", ""},
		{"absent configuration", Command{Policies: policies.All(), Files: []string{file}, Policy: "sample", Config: "absent"}, "read configuration", ""},
		{"wrong setting", Command{Policies: policies.All(), Files: []string{file}, Policy: "threshold", Config: threshold}, "threshold.conf:2,3", ""},
		{"other policy", Command{Policies: policies.All(), Files: []string{file}, Policy: "sample", Config: threshold}, `configures policy "threshold", not "sample"`, ""},
		{"no policy in the file", Command{Policies: policies.All(), Files: []string{file}, Config: none}, "configures no policy", ""},
		{"bad lines", Command{Policies: policies.All(), Files: []string{torn}, Policy: "threshold"}, "2 lines could not be read", "torn.jsonl:1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var complaints bytes.Buffer
			tt.c.Out, tt.c.Err = io.Discard, &complaints
			err := tt.c.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(complaints.String(), tt.says) {
				t.Errorf("error %v, want %s\n%s", err, tt.want, &complaints)
			}
		})
	}
}

// From the recording alone and with the same seed, every policy makes the same decisions
// again, whatever state it builds up.
func TestSamePolicySameDecisions(t *testing.T) {
	for _, name := range policies.All().Names() {
		if name == "score" { // decides nothing without an expression
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, err := Load(t.Context(), policies.All(), new(plugin.Loader), name, "", 7)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			err = Run(bytes.NewReader(record(t, name, 7, many(300)...)), s, func(r *Result) error {
				n++
				if !r.Same || r.Recorded != r.Replayed {
					return fmt.Errorf("line %d: %+v, recorded %+v", r.Line, r.Replayed, r.Recorded)
				}
				return nil
			}, func(e *decisionlog.LineError) { t.Error(e) })
			if err != nil || n != 300 {
				t.Errorf("%d decisions, %v", n, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// many makes requests of all kinds on a host whose measurements change.
func many(n int) []*policy.Request {
	random := rand.New(rand.NewPCG(1, 2))
	var list []*policy.Request
	var host []*policy.Prefix
	for i := range n {
		if i%5 == 0 {
			host = nil
			for j, addr := range []string{"192.0.2.23/24", "10.64.3.9/10", "2001:db8:1::2/64", "2001:db8:2::2/64"} {
				p := network(fmt.Sprint("if", j), addr, time.Duration(5+random.IntN(100))*time.Millisecond, policy.BytesPerSecond(1e5+1e7*random.Float64()), j%2 == 0)
				p.Stats.Conns = random.IntN(4)
				host = append(host, p)
			}
		}
		prefixes := [][]*policy.Prefix{host, host[:2], host[2:], host[1:2]}[random.IntN(4)]
		r := request(i, intent.Category(random.IntN(5)), int64(1000*random.IntN(20000)), prefixes...)
		r.Intents = r.Intents.WithBitrateBitsPerSecond(int64(random.IntN(1e7))).With(intent.OptDuration, int64(random.IntN(20000)))
		r.Kind = policy.Kind(random.IntN(4))
		r.App.PID = uint32(random.IntN(3))
		switch r.Kind {
		case policy.Connect:
			r.Host, r.Service, r.Remote = "", "", netip.MustParseAddrPort("198.51.100.1:80")
		case policy.SocketChoose:
			for k := range random.IntN(4) {
				on := host[random.IntN(len(host))]
				r.Sockets = append(r.Sockets, policy.Socket{FD: int32(5 + k), Local: on.Addr(), Prefix: on, Multipath: random.IntN(4) == 0})
			}
		}
		if !slices.ContainsFunc(prefixes, func(p *policy.Prefix) bool { return p.Default }) && random.IntN(2) == 0 {
			r.StandIn = prefixes[random.IntN(len(prefixes))]
		}
		if random.IntN(10) == 0 {
			r.Bound, r.BoundPrefix = host[1].Addr(), host[1]
		}
		list = append(list, r)
	}
	return list
}

// A prefix that stood in for the default one also does so with another configuration, as it
// would on the host.
func TestStandIn(t *testing.T) {
	near, fast := network("wlan0", "192.0.2.23/24", 10*time.Millisecond, 250e3, false), network("wwan0", "10.64.3.9/10", 100*time.Millisecond, 2.5e6, false)
	r := request(0, intent.CategoryQuery, 0, near, fast)
	r.StandIn = fast
	recorded := record(t, "sample", 1, r)
	conf := write(t, "policy.conf", []byte("policy \"sample\" {}\ninterface \"wwan0\" {\n  cost = \"metered\"\n}\n"))
	for _, config := range []string{"", conf} {
		s, err := Load(t.Context(), policies.All(), new(plugin.Loader), "sample", config, 1)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = Run(bytes.NewReader(recorded), s, func(r *Result) error {
			n++
			if r.Recorded.Prefix != fast.ID || r.Replayed.Prefix != fast.ID {
				t.Errorf("configuration %q: %v, recorded %v, want %v", config, r.Replayed.Prefix, r.Recorded.Prefix, fast.ID)
			}
			return nil
		}, func(e *decisionlog.LineError) { t.Error(e) })
		if err != nil || n != 1 {
			t.Errorf("%d decisions, %v", n, err)
		}
	}
}

// failing is a policy that does what a policy must not do.
type failing func(*policy.Request) policy.Decision

func (f failing) Choose(r *policy.Request) policy.Decision { return f(r) }

func TestPolicyFailures(t *testing.T) {
	for name, p := range map[string]failing{
		"panicked: oops":        func(*policy.Request) policy.Decision { panic("oops") },
		"which was not offered": func(*policy.Request) policy.Decision { return policy.Decision{Prefix: &policy.Prefix{}} },
	} {
		s := &Subject{Name: "failing", policy: p}
		err := Run(bytes.NewReader(record(t, "sample", 1, few()...)), s, func(*Result) error { return nil }, nil)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "line 4: ") {
			t.Errorf("error %v, want %s", err, name)
		}
	}
	stop := errors.New("enough")
	s, err := Load(t.Context(), policies.All(), new(plugin.Loader), "sample", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(bytes.NewReader(record(t, "sample", 1, few()...)), s, func(*Result) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// A file whose prefixes and intents are always new takes bounded memory.
func TestSummaryBound(t *testing.T) {
	var s Summary
	for i := range 3 * maxRows {
		id := policy.PrefixID{Interface: fmt.Sprint(i)}
		r := request(i, intent.Category(i), 0)
		s.Add(&Result{Request: r, Recorded: Choice{Prefix: id}})
	}
	if len(s.prefixes) > maxRows || len(s.classes) > maxRows || len(s.moves) > maxRows || s.Decisions != 3*maxRows {
		t.Errorf("%d prefixes, %d classes, %d moves of %d decisions", len(s.prefixes), len(s.classes), len(s.moves), s.Decisions)
	}
}
