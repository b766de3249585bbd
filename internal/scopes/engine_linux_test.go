package scopes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// connectEnv makes this program connect datagram sockets. It reads lines with the number of
// the first destination and how many destinations there are. For each line it prints the
// source addresses of the connections, each of them once.
const connectEnv = "MAMMA_SCOPES_CONNECT"

func TestMain(m *testing.M) {
	if os.Getenv(connectEnv) != "" {
		connectAll()
		os.Exit(0)
	}
	_ = testbed.Enter() // New says what is missing
	os.Exit(m.Run())
}

func destination(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 9)
}

func connectAll() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var first, n int
		_, _ = fmt.Sscan(in.Text(), &first, &n)
		var seen []string
		for i := range n {
			source := ""
			if c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(destination(first+i))); err != nil {
				source = err.Error()
			} else {
				source = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().String()
				_ = c.Close()
			}
			if !slices.Contains(seen, source) {
				seen = append(seen, source)
			}
		}
		fmt.Println(strings.Join(seen, " "))
	}
}

// networkDecider decides for one of the networks of a bed.
type networkDecider struct {
	network atomic.Pointer[testbed.Network]
	bulk    atomic.Pointer[testbed.Network] // for category=bulktransfer; nil: as for others
	known   atomic.Uint64                   // remembered connections
	latest  atomic.Pointer[mam.Record]      // of them
}

func (d *networkDecider) Ask(q mam.Question, _ time.Time) (mam.Advice, error) {
	n := d.network.Load()
	if c, _ := q.Intents.Category(); c == intent.CategoryBulkTransfer && d.bulk.Load() != nil {
		n = d.bulk.Load()
	}
	a := mam.Advice{Source: n.Client4, Interface: n.Name}
	a.Record.Intents = q.Intents
	if q.Network.Family == policy.IPv6 {
		a.Source = n.Client6
	}
	return a, nil
}

func (d *networkDecider) Remember(r mam.Record) mam.Record {
	d.latest.Store(&r)
	d.known.Add(1)
	return r
}

// host is a host with two networks and an engine at work, and with a program in a group.
type host struct {
	t       *testing.T
	bed     *testbed.Bed
	root    *groupbed.Group
	decider *networkDecider
	engine  *Engine
	end     func() // ends the engine, if it has not ended yet
	to      *os.File
	from    *bufio.Scanner
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, root: groupbed.New(t), decider: &networkDecider{}}
	h.bed = testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	h.decider.network.Store(h.bed.Networks[0])
	h.engine = New(Options{Decider: h.decider, Aside: func() ([]netip.Prefix, error) { return nil, nil }})
	h.engine.load = func() (table *hook.Table, err error) {
		err = h.bed.Client.Do(func() (err error) { table, err = hook.Load(); return err })
		return table, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	h.end = func() { cancel(); <-done }
	h.engine.Begin()
	go func() { defer close(done); _ = h.engine.Run(ctx) }()
	t.Cleanup(h.end)

	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), connectEnv+"=1")
	h.root.Sub("app.slice/one.scope").Put(cmd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stderr, h.to = r, os.Stderr, w
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.bed.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close(); _ = cmd.Wait() })
	h.from = bufio.NewScanner(out)
	return h
}

// configure uses scopes, and skips the test if this host cannot have any.
func (h *host) configure(scopes ...config.Scope) {
	h.t.Helper()
	h.engine.Configure(scopes, config.Placing{Root: h.root.Path, Pins: config.Off})
	if s := h.state(); errors.Is(s.Err, hook.ErrRights) || errors.Is(s.Err, hook.ErrUnsupported) {
		required.Lacking(h.t, "needs what scopes need: %v", s.Err)
	} else if s.Err != nil {
		h.t.Fatal(s.Err)
	}
}

func (h *host) state() State {
	h.t.Helper()
	s, err := h.engine.State(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// connect connects to n destinations, and returns the source addresses.
func (h *host) connect(first, n int) string {
	h.t.Helper()
	if _, err := fmt.Fprintln(h.to, first, n); err != nil {
		h.t.Fatal(err)
	}
	if !h.from.Scan() {
		h.t.Fatal("the program that connects has ended: ", h.from.Err())
	}
	return h.from.Text()
}

// seen waits until n connections in all are counted, be it as lost.
func (h *host) seen(n uint64) State {
	h.t.Helper()
	for begun := time.Now(); ; {
		s := h.state()
		if time.Since(begun) > patience {
			h.t.Fatalf("of %d connections these are counted: %+v", n, s)
		}
		sum := s.Lost
		for _, x := range s.Scopes {
			sum += x.Counts.Placed + x.Counts.Left + x.Counts.Refused
		}
		if sum >= n {
			if sum > n {
				h.t.Fatalf("%d connections are counted, of %d", sum, n)
			}
			return s
		}
	}
}

// patience is how long a failing test waits.
const patience = 20 * time.Second

var everyone = config.Scope{Name: "rest"}

// 10 000 destinations take bounded memory. The answers for the ones used last are kept, and
// all connections are placed, before the network is lost and after it. Each connection is
// either remembered or counted as lost.
func TestManyDestinations(t *testing.T) {
	h := newHost(t)
	h.configure(everyone)
	const many, batch = 10_000, 500
	a, b := h.bed.Networks[0].Client4.String(), h.bed.Networks[1].Client4.String()
	for i := 0; i < many; i += batch {
		if got := h.connect(i, batch); got != a {
			t.Fatalf("from %s, want %s", got, a)
		}
		h.seen(uint64(i + batch))
	}
	s := h.state()
	if s.Destinations > maxAnswers || s.Destinations < maxAnswers-int(s.Lost) || s.Lost > many/2 {
		t.Errorf("%d destinations have an answer, %d connections are lost", s.Destinations, s.Lost)
	}
	if known := h.decider.known.Load(); known+s.Lost != many {
		t.Errorf("%d connections are remembered, %d are lost", known, s.Lost)
	}
	h.decider.network.Store(h.bed.Networks[1])
	h.engine.Published(&mam.View{Epoch: 1})
	begun := time.Now()
	h.state()
	t.Logf("%d destinations have new answers after %v", s.Destinations, time.Since(begun).Round(time.Millisecond))
	if got := h.connect(many-batch, batch+1); got != b {
		t.Errorf("after the network is lost: from %s, want %s", got, b)
	}
	h.seen(many + batch + 1)
	h.end()
	own := h.engine.answers.own.Keys()
	if last := own[len(own)-1].Remote; h.engine.lost.Load() == 0 && last != destination(many) {
		t.Errorf("the last answer is for %v", last)
	}
	for _, k := range own {
		if s.Lost == 0 && k.Remote == destination(0) {
			t.Error("the first destination of all still has an answer")
		}
	}
}

// Reloads that follow each other fast leave no connection unplaced, and lose no count.
func TestReloadStorm(t *testing.T) {
	h := newHost(t)
	h.configure(config.Scope{Name: "root", Users: []string{"0"}}, everyone)
	want := h.bed.Networks[0].Client4.String()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				user := config.Scope{Name: "root", Users: []string{"0", "1"}[:1+i%2]}
				h.engine.Configure([]config.Scope{everyone, user}, config.Placing{Root: h.root.Path, Pins: config.Off})
				_, _ = h.engine.State(t.Context()) // it is in use
			}
		}
	}()
	const rounds, batch = 40, 25
	for i := range rounds {
		if got := h.connect(i*batch, batch); got != want {
			t.Errorf("from %s, want %s", got, want)
		}
	}
	close(stop)
	<-done
	h.configure(config.Scope{Name: "root", Users: []string{"0"}}, everyone)
	if s := h.seen(rounds * batch); s.Err != nil || s.Lost > 0 || s.Scopes[0].Counts.Placed != rounds*batch {
		t.Errorf("%+v", s)
	}
}

// A reload forgets no decision about the destinations that were used last: those with routes of their
// own are reached at once afterwards, and while it goes on, by a scope that would refuse what is not
// decided. A scope that comes anew begins anew.
func TestReloadKeepsAnswers(t *testing.T) {
	h := newHost(t)
	h.engine.opts.Aside = func() ([]netip.Prefix, error) { return []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}, nil }
	strict := config.Scope{Name: "strict", Wants: []config.Want{{Degree: config.Prohibit, Kind: config.ByCost, Name: "metered"}}}
	h.configure(strict)
	want, refused := h.bed.Networks[0].Client4.String(), "unreachable"
	if got := h.connect(0, 20); !strings.Contains(got, refused) {
		t.Errorf("undecided: %s", got)
	}
	h.seen(20)
	if got := h.connect(0, 20); got != want {
		t.Errorf("decided: from %s, want %s", got, want)
	}
	h.seen(40)
	for i := range 40 {
		h.engine.Configure([]config.Scope{strict}, config.Placing{Root: h.root.Path, Pins: config.Off})
		if got := h.connect(0, 20); got != want {
			t.Errorf("at reload %d: from %s, want %s", i, got, want)
		}
		h.state() // the reload is over
		if got := h.connect(0, 20); got != want {
			t.Errorf("after reload %d: from %s, want %s", i, got, want)
		}
	}
	if s := h.state(); s.Destinations != 20 || s.Err != nil {
		t.Errorf("%d destinations have an answer, want 20; %v", s.Destinations, s.Err)
	}
	strict.Name = "new"
	h.configure(strict)
	if got := h.connect(0, 20); !strings.Contains(got, refused) {
		t.Errorf("by another scope: %s", got)
	}
}

// Rules give some connections of a scope other intents, from the first connection on. What
// is remembered says so. Other rules count from a reload on, and nothing of the old ones is left.
func TestRulesOfScope(t *testing.T) {
	h := newHost(t)
	h.decider.bulk.Store(h.bed.Networks[1])
	a, b := h.bed.Networks[0].Client4.String(), h.bed.Networks[1].Client4.String()
	bulk := intent.Set{}.WithCategory(intent.CategoryBulkTransfer)
	lower := netip.PrefixFrom(destination(0).Addr(), 25)
	network := config.Rule{Name: "network", Set: bulk, Destinations: []netip.Prefix{lower}}
	port := config.Rule{Name: "port", Set: bulk, Ports: []config.PortRange{{Low: 1, High: 9}}}
	otherPort := config.Rule{Name: "port", Set: bulk, Ports: []config.PortRange{{Low: 10, High: 65535}}}
	command := config.Rule{Name: "command", Set: bulk, Commands: []string{"exe"}}
	query := config.Rule{Name: "query", Set: intent.Set{}.WithCategory(intent.CategoryQuery), Destinations: []netip.Prefix{lower}, Commands: []string{"exe"}}
	both := network
	both.Ports = otherPort.Ports
	all := 0
	for _, tt := range []struct {
		name        string
		rules       []config.Rule
		low, high   string // source of connections to the lower destinations, and to others
		from        string // rules that the last connection matches
		variants    int
		wantIntents intent.Set // of the last connection
	}{
		{"none", nil, a, a, "", 0, intent.Set{}},
		{"network", []config.Rule{network}, b, a, "", 1, intent.Set{}},
		{"port", []config.Rule{port}, b, b, ", rule port", 1, bulk},
		{"another port", []config.Rule{otherPort}, a, a, "", 1, intent.Set{}},
		{"network and another port", []config.Rule{both}, a, a, "", 1, intent.Set{}},
		{"command", []config.Rule{command}, b, b, ", rule command", 1, bulk},
		{"the first one counts", []config.Rule{query, command}, a, b, ", rule command", 2, bulk},
		{"every connection", []config.Rule{{Name: "all", Set: bulk}}, b, b, ", rule all", 0, bulk},
	} {
		scope := everyone
		scope.Rules = tt.rules
		h.configure(scope)
		for _, round := range []string{"first", "second"} { // the second one has an answer of its own
			low, high := h.connect(0, 1), h.connect(200, 1)
			if low != tt.low || high != tt.high {
				t.Errorf("%s, %s connection: from %s and %s, want %s and %s", tt.name, round, low, high, tt.low, tt.high)
			}
			all += 2
			h.seen(uint64(all))
		}
		if r := h.decider.latest.Load(); r.Origin.Source != "scope rest"+tt.from || r.Intents != tt.wantIntents {
			t.Errorf("%s: remembered as %q with %v", tt.name, r.Origin.Source, r.Intents)
		}
		if v := h.state().Scopes[0].Variants; len(v) != tt.variants {
			t.Errorf("%s: %d variants: %+v", tt.name, len(v), v)
		} else if len(v) > 0 && (len(v[len(v)-1].Usual) != 4 || v[len(v)-1].Source == "") {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

// Rules for which the kernel has no room are left out, and somebody is told. The scope itself
// works.
func TestNoRoomForRules(t *testing.T) {
	h := newHost(t)
	h.decider.bulk.Store(h.bed.Networks[1])
	h.configure(everyone)
	var scopes []config.Scope
	for i := range config.MaxScopes {
		s := config.Scope{Name: fmt.Sprint("scope", i), Units: []string{fmt.Sprintf("no%d.service", i)}}
		if i == config.MaxScopes-1 {
			s.Units = nil
		}
		for j := range config.MaxRules { // 32 variants
			ports := config.PortRange{Low: 1000 * uint16(j), High: 1000*uint16(j) + 1500}
			s.Rules = append(s.Rules, config.Rule{Name: fmt.Sprint("r", j), Set: intent.Set{}.With(intent.Options()[1+j%2], int64(j)), Ports: []config.PortRange{ports}})
		}
		scopes = append(scopes, s)
	}
	h.engine.Configure(scopes, config.Placing{Root: h.root.Path, Pins: config.Off})
	s := h.state()
	if !errors.Is(s.Err, hook.ErrFull) || !strings.Contains(s.Err.Error(), "rules of scope") {
		t.Errorf("the error is %v", s.Err)
	}
	if first, last := s.Scopes[0].Variants, s.Scopes[config.MaxScopes-1].Variants; len(first) < 30 || len(last) > 0 {
		t.Errorf("%d and %d variants", len(first), len(last))
	}
	if got, want := h.connect(0, 1), h.bed.Networks[0].Client4.String(); got != want {
		t.Errorf("from %s, want %s", got, want)
	}
	if s := h.seen(1); s.Scopes[config.MaxScopes-1].Counts.Placed != 1 {
		t.Errorf("%+v", s.Scopes[config.MaxScopes-1].Counts)
	}
	h.configure(everyone) // there is room again
}

// Groups that come and go by the thousand, also while mamma looks at them, leave nothing
// behind.
func TestTransientGroups(t *testing.T) {
	h := newHost(t)
	h.configure(config.Scope{Name: "units", Units: []string{"run-*.scope"}}, everyone)
	before := h.state().Groups
	const many, round = 2000, 100
	for i := 0; i < many; i += round {
		for _, do := range []func(string) error{func(dir string) error { return os.Mkdir(dir, 0o755) }, os.Remove} { //nolint:gosec // as the service manager does
			for j := range round {
				if err := do(filepath.Join(h.root.Path, "app.slice", fmt.Sprintf("run-%d.scope", i+j))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	last := h.root.Sub("app.slice/run-last.scope")
	for begun := time.Now(); ; {
		s := h.state()
		if s.Err != nil || time.Since(begun) > patience {
			t.Fatalf("%+v", s)
		}
		if g := s.Scopes[0].Groups; len(g) == 1 && s.Groups == before+1 && filepath.Join(h.root.Path, g[0]) == last.Path {
			break
		}
	}
}

// A group that vanishes before programs are attached to it is an error, which passes with
// the next configuration.
func TestRootVanishes(t *testing.T) {
	h := newHost(t)
	h.configure(everyone)
	h.engine.Configure(nil, config.Placing{})
	root := h.root.Sub("short")
	load := h.engine.load
	h.engine.load = func() (*hook.Table, error) {
		table, err := load()
		return table, errors.Join(err, os.Remove(root.Path))
	}
	h.state() // nothing of the first configuration is left
	h.engine.Configure([]config.Scope{everyone}, config.Placing{Root: root.Path, Pins: config.Off})
	if s := h.state(); s.Err == nil || !strings.Contains(s.Err.Error(), root.Path) {
		t.Errorf("the error is %v", s.Err)
	}
	h.engine.load = load
	h.configure(everyone)
	if got := h.connect(0, 1); got != h.bed.Networks[0].Client4.String() {
		t.Errorf("from %s", got)
	}
}

// A scope with MPTCP has it, or State says why not, and connections are placed in any case. A reload
// takes it away.
func TestMultipathOfScope(t *testing.T) {
	h := newHost(t)
	many := everyone
	many.MPTCP = true
	h.configure(many)
	state := h.state()
	if attached := slices.Contains(state.Hooks, "socket"); attached != (state.Single == nil) {
		t.Errorf("attached: %v, but: %v", attached, state.Single)
	}
	if state.Single != nil && !errors.Is(state.Single, hook.ErrRights) && !errors.Is(state.Single, hook.ErrUnsupported) {
		t.Errorf("not for lack of something: %v", state.Single)
	}
	if got, want := h.connect(0, 1), h.bed.Networks[0].Client4.String(); got != want {
		t.Errorf("from %s, want %s", got, want)
	}
	h.configure(everyone)
	if state := h.state(); slices.Contains(state.Hooks, "socket") || state.Single != nil {
		t.Errorf("after a reload: %v, %v", state.Hooks, state.Single)
	}
}
