package policies

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// hostQuestion and hostAnswer are the types of testdata/host.
type hostQuestion struct {
	Path   string
	Config policy.Config
	Log    string
}

type hostAnswer struct {
	Log   string
	Lines []string
	Err   string
}

// sequence is a number of requests to one policy, from its start.
type sequence struct {
	name     string
	config   policy.Config
	requests []*policy.Request
}

// TestPluginsDecideAlike builds every policy as a plugin and opens it in a program that
// has no policies of its own. It compares the plugin with the compiled-in policy:
// decisions with their reasons and scores, and log lines.
func TestPluginsDecideAlike(t *testing.T) {
	dir := buildPlugins(t)
	// Of the packages below policies, the program contains only itself.
	deps, err := exec.Command("go", "list", "-deps", "./testdata/host").Output()
	if err != nil || strings.Count(string(deps), "/mamma/policies/") != 1 || !strings.Contains(string(deps), "/mamma/policy\n") {
		t.Fatalf("the host should know the contract and no policy: %v\n%s", err, deps)
	}
	byPolicy := map[string][]sequence{}
	for _, s := range slices.Concat(vectorSequences(t), grownSequences()) {
		byPolicy[s.config.Name] = append(byPolicy[s.config.Name], s)
	}
	for _, name := range All().Names() {
		t.Run(name, func(t *testing.T) { compare(t, dir, byPolicy[name]) })
	}
	// Plugins in one process share packages, which come from the first plugin.
	t.Run("all in one process", func(t *testing.T) {
		var all []sequence
		for _, name := range All().Names() {
			all = append(all, byPolicy[name]...)
		}
		compare(t, dir, all)
	})
}

// compare puts the sequences to the plugins, in one process, and to the compiled-in
// policies.
func compare(t *testing.T, dir string, sequences []sequence) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "host"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close() // the program ends at the end of its input
		if err := cmd.Wait(); err != nil {
			t.Errorf("host: %v", err)
		}
	}()
	questions, answers := json.NewEncoder(in), json.NewDecoder(out)
	for _, s := range sequences {
		log, lines := s.decide(t)
		if err := questions.Encode(hostQuestion{Path: filepath.Join(dir, s.config.Name+".so"), Config: s.config, Log: log}); err != nil {
			t.Fatal(err)
		}
		var got hostAnswer
		if err := answers.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Err != "" {
			t.Fatalf("%s: %s", s.name, got.Err)
		}
		if diff := cmp.Diff(strings.Split(log, "\n"), strings.Split(got.Log, "\n")); diff != "" {
			t.Errorf("%s: decisions (-compiled in +plugin)\n%s", s.name, diff)
		}
		if diff := cmp.Diff(lines, got.Lines); diff != "" {
			t.Errorf("%s: log lines (-compiled in +plugin)\n%s", s.name, diff)
		}
	}
}

// decide puts the requests to the compiled-in policy and returns what the policy says.
func (s *sequence) decide(t *testing.T) (log string, lines []string) {
	t.Helper()
	p, err := All().New(s.config.Name, s.config)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	var encoder decisionlog.Encoder
	for _, r := range s.requests {
		d := policy.Decision{}
		if c, ok := p.(policy.ResolveChooser); ok && r.Kind == policy.Resolve {
			d = c.ChooseResolver(r)
		} else if r.Kind != policy.Resolve {
			d = p.Choose(r)
			if l, ok := p.(policy.LineLogger); ok {
				lines = append(lines, l.LogLine(r, d))
			}
		}
		if b, err = encoder.Append(b, s.config.Name, r, d); err != nil {
			t.Fatal(err)
		}
	}
	return string(b), lines
}

// vectorSequences are the original's vectors that call a policy from outside and from
// its start: one request each, or several for round robin.
func vectorSequences(t *testing.T) []sequence {
	t.Helper()
	data, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	policyOf := map[string]string{
		"earliest_arrival": "earliest_arrival", "threshold": "threshold", "free_or_busy": "earliest_arrival_free_or_busy", "countconns": "earliest_arrival_countconns",
		"video": "video", "mptcp_selective_callback": "mptcp_selective", "mptcp_simple": "mptcp_simple", "mptcp_filesize": "mptcp_filesize",
		"mptcp_default_flow": "mptcp_default_flow", "sample": "sample", "intents": "intents", "filesize": "filesize",
		"rr_pipelining_choose": "rr_pipelining", "rr_pipelining_connect": "rr_pipelining", "rr_naive_connect": "rr_naive",
	}
	var list []sequence
	for _, raw := range file.Vectors {
		var v vector
		var head struct{ ID, Group string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		name, calls := policyOf[head.Group]
		if !calls {
			continue
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(v.Inputs.Prefixes, func(p prefix) bool { return hasState(p.State) }) {
			continue
		}
		s := sequence{name: v.ID, config: policy.Config{Name: name, Seed: 1}}
		if v.Inputs.Pessimist {
			s.config.Settings = policytest.Settings(`policy "video"`, "be_pessimist=true")
		}
		s.requests = v.requests(t)
		list = append(list, s)
	}
	if len(list) < 60 {
		t.Errorf("only %d vectors call a policy from its beginning", len(list))
	}
	return list
}

func hasState(s state) bool {
	return s.Count != 0 || s.CountSmall != 0 || s.CountPrev != 0 || s.Reuse != 0 || s.ReusePrev != 0 || s.NotPicked != 0 || len(s.SocketsBig)+len(s.SocketsSmall) > 0
}

func (v vector) requests(t *testing.T) []*policy.Request {
	t.Helper()
	var list []*policy.Request
	switch v.Group {
	case "rr_naive_connect":
		for range v.Inputs.Requests {
			list = append(list, policytest.Request(policy.Connect, v.Inputs.rotating()...))
		}
	case "rr_pipelining_connect":
		for range v.Inputs.Requests {
			list = append(list, policytest.Request(policy.SocketConnect, v.Inputs.rotating()...))
		}
	case "rr_pipelining_choose":
		for _, step := range v.Inputs.Steps {
			r := policytest.Request(policy.SocketChoose, v.Inputs.rotating()...)
			for _, fd := range step.Sockets {
				r.Sockets = append(r.Sockets, policy.Socket{FD: fd})
			}
			list = append(list, r)
		}
	default:
		prefixes, _ := v.Inputs.build(t)
		r := v.Inputs.request(t, prefixes)
		if v.Group == "video" {
			r.Intents = r.Intents.With(intent.OptBitrate, v.Inputs.Bitrate).With(intent.OptDuration, v.Inputs.Duration)
			if v.Inputs.Category >= 0 {
				r.Intents = r.Intents.With(intent.OptCategory, v.Inputs.Category)
			}
		}
		list = append(list, r)
	}
	return list
}

// grownSequences let each policy build up its state.
func grownSequences() []sequence {
	var list []sequence
	for _, name := range All().Names() {
		for seed := range uint64(2) {
			s := sequence{name: fmt.Sprintf("sequence %d", seed), config: policy.Config{Name: name, Seed: seed + 1}, requests: grow(seed, 150)}
			if name == "score" {
				s.config.Settings = []policy.Setting{{Name: "minimize", Expr: "completion_time()", Block: `policy "score"`, ExprLine: 1, ExprColumn: 1}}
			}
			list = append(list, s)
		}
	}
	return list
}

// grow makes requests of several programs, on a host whose figures change now and then.
func grow(seed uint64, n int) []*policy.Request {
	random := rand.New(rand.NewPCG(seed, 0))
	rate := func() policy.BytesPerSecond { return policy.BytesPerSecond(math.Pow(10, 3+4*random.Float64())) }
	var list []*policy.Request
	var host []*policy.Prefix
	for i := range n {
		if i%4 == 0 {
			host = nil
			for j, addr := range []string{"10.0.1.2/24", "10.0.2.2/24", "10.0.3.2/24", "2001:db8:1::2/64", "2001:db8:2::2/64"} {
				p := policytest.Prefix(fmt.Sprint("if", j), addr, situation.RTT(1+100*random.Float64(), 1+200*random.Float64(), random.IntN(4)),
					situation.Down(rate(), rate()/4), situation.SMA(rate(), rate(), rate(), rate()))
				p.Default = j%3 == 0
				host = append(host, p)
			}
		}
		prefixes := [][]*policy.Prefix{host, host[:3], host[3:], host[1:2]}[random.IntN(4)]
		r := policytest.Request([]policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose, policy.Resolve}[random.IntN(4)], prefixes...)
		r.Now = policytest.Now().Add(time.Duration(i) * time.Second)
		r.Service = []string{"80", "443"}[random.IntN(2)]
		r.App.PID = uint32(1 + random.IntN(3))
		for o, limit := range map[intent.Option]int64{intent.OptCategory: 5, intent.OptFileSize: 5e6, intent.OptBitrate: 1e7, intent.OptDuration: 2e4} {
			r.Intents = r.Intents.With(o, int64(rand.New(rand.NewPCG(seed, uint64(i)<<8|uint64(o))).Int64N(limit)))
		}
		if r.Kind == policy.Connect {
			r.Remote = netip.MustParseAddrPort("198.51.100.1:80")
		}
		if r.Kind == policy.SocketChoose {
			for k := range random.IntN(5) {
				on := host[random.IntN(len(host))]
				r.Sockets = append(r.Sockets, policy.Socket{FD: int32(5 + k), Local: on.Addr(), Prefix: on, Multipath: random.IntN(4) == 0})
			}
		}
		if random.IntN(10) == 0 {
			policytest.Bind(r, host[random.IntN(len(host))])
		}
		list = append(list, r)
	}
	return list
}

// TestSequencesBuildUpState makes sure that the sequences would show a plugin which
// loses its state. Without the first half of a sequence, some decision of the second
// half differs, or its figures do.
func TestSequencesBuildUpState(t *testing.T) {
	depends := map[string]bool{
		"earliest_arrival_countconns": false, "earliest_arrival_probabilities": false, "mptcp_selective": false,
		"rr_naive": false, "rr_pipelining": false, "video": false,
	}
	for _, s := range grownSequences() {
		if _, stateful := depends[s.config.Name]; !stateful {
			continue
		}
		half := len(s.requests) / 2
		last := s
		last.requests = s.requests[half:]
		if cmp.Diff(s.decisions(t)[half:], last.decisions(t)) != "" {
			depends[s.config.Name] = true
		}
	}
	for name, ok := range depends {
		if !ok {
			t.Errorf("%s decides the same whatever came before", name)
		}
	}
}

// decisions returns the compiled-in policy's decisions as text.
func (s *sequence) decisions(t *testing.T) (list []string) {
	t.Helper()
	p, err := All().New(s.config.Name, s.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.requests {
		d := p.Choose(r)
		text := fmt.Sprint(policytest.AnswerOf(d))
		for _, score := range d.Scores {
			text += fmt.Sprint(" ", score.Predicted, score.Terms, score.Note)
		}
		list = append(list, text)
	}
	return list
}

// buildPlugins builds testdata/host and all plugins as the Makefile does. It returns
// the folder, which others cannot write to, because the Loader demands that.
func buildPlugins(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: builds all plugins for up to a minute")
	}
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Skipf("missing capability: the go command: %v", err)
	}
	if _, err := exec.LookPath(strings.Fields(string(cc) + " none")[0]); err != nil {
		t.Skipf("missing capability: a C compiler, which cgo and so plugins need: %v", err)
	}
	dir, err := os.MkdirTemp("", "mamma-plugins")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	// Linking takes half the time without debug information.
	build := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-w"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=", "GOEXPERIMENT=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
		return nil
	}
	if err := build("-o", filepath.Join(dir, "host"), "./testdata/host"); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, name := range All().Names() {
		g.Go(func() error {
			file := filepath.Join(dir, name+".so")
			if err := build("-buildmode=plugin", "-o", file, "./"+name+"/plugin"); err != nil {
				return err
			}
			return os.Chmod(file, 0o755) // whatever the umask
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return dir
}
