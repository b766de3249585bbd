package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These are the clock of the tests and the users: the daemon's own, a member of the control
// group by primary and one by supplementary group, and one without rights.
var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	root     = peer{Cred: unixsocket.Cred{PID: 10, UID: 0, GID: 0}}
	owner    = peer{Cred: unixsocket.Cred{PID: 11, UID: 900, GID: 900}}
	primary  = peer{Cred: unixsocket.Cred{PID: 12, UID: 1001, GID: 77}}
	member   = peer{Cred: unixsocket.Cred{PID: 13, UID: 1002, GID: 100}, groups: []uint32{4, 77}}
	stranger = peer{Cred: unixsocket.Cred{PID: 14, UID: 1003, GID: 100}, groups: []uint32{4, 900}}
)

// scripted is a policy that chooses the first candidate, with scores.
type scripted struct{}

func (s *scripted) Choose(r *policy.Request) policy.Decision {
	d := policy.Decision{Reason: "shortest predicted time (124.6 s)"}
	for i, p := range r.Prefixes {
		d.Scores = append(d.Scores, policy.Score{Prefix: p, Predicted: time.Duration(i+1) * time.Second, Terms: []policy.Term{
			{Name: "rtt", Unit: policy.Milliseconds, Value: 9.8, Time: r.Now.Add(-100 * time.Millisecond)},
			{Name: "free capacity", Unit: policy.ByteRate, Value: 1e6},
		}})
	}
	if len(r.Prefixes) > 0 {
		d.Prefix, d.Alternates = r.Prefixes[0], r.Prefixes[1:]
		d.Scores[0].Note = "shortest"
	}
	return d
}

func (s *scripted) Reconfigure(text string, _ []*policy.Prefix) error {
	if text == "bad" {
		return errors.New("I do not understand \"bad\"")
	}
	return nil
}

type resolver struct{ servers []netip.AddrPort }

func (resolver) Lookup(context.Context, string, policy.Family) (mam.Result, error) {
	return mam.Result{}, mam.ErrNotFound
}
func (r resolver) Servers() []netip.AddrPort { return r.servers }

func network(iface string, index int, addr string) *policy.Prefix {
	p := netip.MustParsePrefix(addr)
	return &policy.Prefix{
		ID: policy.PrefixID{Interface: iface, Prefix: p.Masked()}, Interface: iface, Index: index,
		CIDR: p.Masked(), Addrs: []netip.Addr{p.Addr()},
	}
}

// view has all figures of wlan0 and none of wwan0.
func view() *mam.View {
	w := network("wlan0", 2, "192.168.0.23/24")
	w.Default, w.Options = true, policy.Options{"capacity": policy.NewOption("12")}
	w.Health = policy.Health{State: policy.Suspect, Reason: "2 of the last 5 connects failed", Since: epoch.Add(-12 * time.Second)}
	ms := time.Millisecond
	w.Stats = policy.PathStats{
		Time: epoch, Conns: 14, SampleTime: epoch.Add(-100 * ms), SRTTMean: 13 * ms, SRTTMedian: 12100 * time.Microsecond,
		SRTTMin: 9800 * time.Microsecond, SRTTCurrent: 10 * ms, SRTTVariance: 2.5, RTTVarMedian: 3 * ms, RTTVarMean: 4 * ms, LossUp: 0.01, RetransUp: 0.02,
	}
	windows := policy.Windowed{Short: 1, Mid: 2, Long: 3, VeryLong: 4}
	w.Link = policy.LinkStats{
		Time: epoch.Add(-50 * ms), DownRate: 4e5, UpRate: 5e4, DownRateMax: 6012500, UpRateMax: 1e6, DownRateMaxTime: epoch.Add(-42 * time.Second), UpRateMaxTime: epoch.Add(-time.Minute),
		DownSMA: 3.5e5, DownSMAMax: windows, DownSMAMin: windows, DownSMAQuantile: windows, DownBytes: 1 << 40, UpBytes: 1 << 30, RxErrors: 1, TxErrors: 2,
	}
	w.Wifi = &policy.WifiStats{Time: epoch, Signal: -61, SignalAvg: -60, TxRate: 3e7, RxRate: 2e7, BSSLoad: true, Stations: 7, ChannelUtilization: 40, AvailableAdmissionCapacity: 31250}
	l := network("wwan0", 3, "10.64.3.9/10")
	l.Cost = policy.Metered
	l.Budget = policy.Budget{Limit: 5e9, Used: 12e8, Reset: epoch.AddDate(0, 0, 31)}
	return &mam.View{
		Prefixes:  []*policy.Prefix{w, l},
		Devices:   map[policy.PrefixID]string{l.ID: "wwan0"},
		Resolvers: map[policy.PrefixID]mam.Resolver{l.ID: resolver{[]netip.AddrPort{netip.MustParseAddrPort("10.64.0.1:53")}}},
		Resolver:  resolver{[]netip.AddrPort{netip.MustParseAddrPort("192.168.0.1:53")}},
		Fresh:     func() (policy.Policy, error) { return &scripted{}, nil },
	}
}

// daemon is a Manager with its request and control servers.
type daemon struct {
	*mam.Manager
	dir string
	srv *Server

	mu    sync.Mutex
	who   peer // the next connections come from
	state State
}

func (d *daemon) as(p peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.who = p
}

func (d *daemon) set(f func(*State)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.state)
}

func start(t *testing.T, v *mam.View, change func(*Options)) *daemon {
	t.Helper()
	return startKeeping(t, 64, v, change)
}

// startKeeping starts a daemon that remembers a number of decisions.
func startKeeping(t *testing.T, keep int, v *mam.View, change func(*Options)) *daemon {
	t.Helper()
	d := &daemon{Manager: mam.New(mam.Options{Keep: keep}), dir: t.TempDir(), who: root}
	if v.Runner == nil {
		v.Runner = mam.NewRunner("scripted", &scripted{}, discard())
	}
	d.Publish(v)
	group, uid := uint32(77), uint32(900)
	d.state = State{
		PolicySince: epoch.Add(-time.Hour), ConfigFile: "/etc/mamma/policy.conf", Loaded: epoch.Add(-time.Hour), Clients: known(3),
		Settings: []policy.Setting{
			{Name: "logfile", Value: "/tmp/log", Constant: true, Expr: `"/tmp/log"`, Block: `policy "scripted"`, File: "policy.conf", Line: 2},
			{Name: "list", List: []string{"a", "b"}, Constant: true, Expr: `["a", "b"]`, Block: `policy "scripted"`, File: "policy.conf", Line: 3},
		},
	}
	opts := Options{
		Manager: d.Manager, Group: &group, Version: "0.1.0", Started: epoch.Add(-76 * time.Hour), uid: &uid,
		now: func() time.Time { return epoch },
		peer: func(*net.UnixConn) (peer, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.who, nil
		},
		State: func() State {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.state
		},
	}
	if change != nil {
		change(&opts)
	}
	d.srv = New(opts)
	requests := listen(t, filepath.Join(d.dir, "mamma.sock"))
	ctl := listen(t, filepath.Join(d.dir, "control.sock"))
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	for _, f := range []func(context.Context) error{
		d.Run,
		func(ctx context.Context) error { return mam.NewServer(d.Manager).Serve(ctx, requests.UnixListener) },
		func(ctx context.Context) error { return d.srv.Serve(ctx, ctl) },
	} {
		tasks.Go(func() {
			if err := f(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	return d
}

func listen(t *testing.T, path string) *unixsocket.Listener {
	t.Helper()
	l, err := unixsocket.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (d *daemon) client(t *testing.T) *Client {
	c := NewClient(filepath.Join(d.dir, "control.sock"))
	t.Cleanup(c.Close)
	return c
}

// decide makes this process ask for n decisions. It claims to ask for the stranger.
func (d *daemon) decide(t *testing.T, n int) {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(d.dir, "mamma.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r := wire.NewReader(c)
	for range n {
		m := wire.Message{Action: wire.ActionConnectRequest, Features: wire.FeatureOrigin, Origin: &wire.Origin{
			UID: stranger.UID, PID: uint32(stranger.PID), Command: "curl", Source: "rule web",
		}, Context: wire.Context{
			Domain: wire.AFInet, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: netip.MustParseAddrPort("192.0.2.1:443")},
		}}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(&m); err != nil {
			t.Fatal(err)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

// The answers are JSON. No field disappears, and an unknown value is null.
func TestAnswers(t *testing.T) {
	d := start(t, view(), nil)
	c := d.client(t)
	for _, tt := range []struct{ name, path string }{
		{"interfaces", "/v1/interfaces"}, {"prefixes", "/v1/prefixes"}, {"policy", "/v1/policy"}, {"decisions", "/v1/decisions"},
	} {
		var v any
		raw, err := c.Get(ctx(t), tt.path, &v)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, tt.name+".json", indent(t, raw))
	}
	var st Status
	raw, err := c.Get(ctx(t), "/v1/status", &st)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.ReplaceAll(raw, fmt.Appendf(nil, `"pid":%d`, os.Getpid()), []byte(`"pid":4711`))
	raw = bytes.ReplaceAll(raw, []byte(st.Build.Go), []byte("go1.x"))
	golden(t, "status.json", indent(t, raw))

	var e Explanation
	size := int64(300e6)
	raw, err = c.Post(ctx(t), "/v1/explain", Question{Host: "www.example.net", Service: "443", Intents: Intents{Category: known("BulkTransfer"), FileSize: &size}}, &e)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.ReplaceAll(raw, fmt.Appendf(nil, `"took_ms":%v`, e.Decision.TookMS), []byte(`"took_ms":0.03`))
	golden(t, "explain.json", indent(t, raw))
	if n := d.Decisions().Count(); n != 0 {
		t.Errorf("%d decisions are remembered after a question", n)
	}
}

func indent(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPermissions(t *testing.T) {
	reloads := 0
	d := start(t, view(), func(o *Options) {
		o.Reload = func(context.Context) error { reloads++; return nil }
	})
	d.decide(t, 3) // by the user who runs the tests
	self := peer{Cred: unixsocket.Cred{PID: 15, UID: uint32(os.Getuid()), GID: 100}}
	for _, tt := range []struct {
		name    string
		who     peer
		all     bool
		visible int
		change  bool
	}{
		{"root", root, true, 3, true},
		{"the daemon's user", owner, true, 3, true},
		{"control group, primary", primary, true, 3, false},
		{"control group, supplementary", member, true, 3, false},
		{"stranger in the group that is the owner's number", stranger, false, 0, false},
		{"nobody", peer{Cred: unixsocket.Cred{UID: nobody, GID: nobody}}, false, 0, false},
		{"whose requests they are", self, self.UID == 0, 3, self.UID == 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.as(tt.who)
			c := d.client(t)
			var ds Decisions
			if _, err := c.Get(ctx(t), "/v1/decisions", &ds); err != nil {
				t.Fatal(err)
			}
			if len(ds.Decisions) != tt.visible || ds.Complete != tt.all || ds.Last != 3 {
				t.Errorf("sees %d decisions of %d, complete %v; want %d, %v", len(ds.Decisions), ds.Last, ds.Complete, tt.visible, tt.all)
			}
			var st Status
			if _, err := c.Get(ctx(t), "/v1/status", &st); err != nil || st.Rights != (Rights{ReadAll: tt.all, Change: tt.change}) {
				t.Errorf("rights %+v, %v", st.Rights, err)
			}
			var p Prefixes
			if _, err := c.Get(ctx(t), "/v1/prefixes", &p); err != nil || len(p.Prefixes) != 2 {
				t.Errorf("prefixes: %d, %v", len(p.Prefixes), err)
			}
			reloads = 0
			for _, change := range []struct {
				path string
				body any
			}{{"/v1/reload", struct{}{}}, {"/v1/set", Setting{"default 10.64.3.9"}}} {
				var out Policy
				_, err := c.Post(ctx(t), change.path, change.body, &out)
				var re *RemoteError
				if tt.change && err != nil || !tt.change && (!errors.As(err, &re) || re.Status != http.StatusForbidden || re.Code != "forbidden") {
					t.Errorf("%s: %v", change.path, err)
				}
			}
			if (reloads == 1) != tt.change {
				t.Errorf("%d reloads", reloads)
			}
		})
	}
}

// The origin that a client states is shown, and counts only as a claim.
func TestOrigin(t *testing.T) {
	d := start(t, view(), nil)
	d.decide(t, 1)
	var ds Decisions
	if _, err := d.client(t).Get(ctx(t), "/v1/decisions", &ds); err != nil || len(ds.Decisions) != 1 {
		t.Fatalf("%d decisions, %v", len(ds.Decisions), err)
	}
	want := &Origin{UID: known(stranger.UID), PID: known(uint32(stranger.PID)), Command: known("curl"), Source: known("rule web")}
	if diff := cmp.Diff(want, ds.Decisions[0].Origin); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if uid := ds.Decisions[0].App.UID; uid != uint32(os.Getuid()) {
		t.Errorf("asked by user %d", uid)
	}
	rec := mam.Record{
		App:     policy.App{UID: stranger.UID, PID: 1},
		Origin:  &mam.Origin{UID: wire.UnknownUID},
		Outcome: &mam.Outcome{PlainTCP: true},
	}
	if got := decision(&rec); cmp.Diff(&Origin{}, got.Origin) != "" || !got.Outcome.PlainTCP {
		t.Errorf("nothing known: %+v, outcome %+v", got.Origin, got.Outcome)
	}
	// A claim gives no rights to the user it names, and takes none from the user who asked.
	rec.Origin.UID = primary.UID
	g := guard{owner: owner.UID}
	if g.sees(primary, &rec) || !g.sees(stranger, &rec) {
		t.Error("a claimed user decides who sees a decision")
	}
}

func TestNobodyOwnsNothing(t *testing.T) {
	g := guard{owner: nobody, group: known(uint32(nobody))}
	if r := g.rights(peer{Cred: unixsocket.Cred{UID: nobody, GID: nobody}, groups: []uint32{nobody}}); r != (Rights{}) {
		t.Errorf("unmapped ids have rights %+v", r)
	}
	rec := mam.Record{App: policy.App{UID: nobody, PID: 1}}
	if g.sees(peer{Cred: unixsocket.Cred{UID: nobody}}, &rec) {
		t.Error("an unmapped user sees the requests of another")
	}
	rec = mam.Record{App: policy.App{UID: stranger.UID, PID: 1}}
	if !g.sees(stranger, &rec) || g.sees(member, &rec) {
		t.Error("requests are not seen by those whose they are, or by others")
	}
	rec = mam.Record{App: policy.App{}} // by an unknown user, not by root
	if g.sees(peer{Cred: unixsocket.Cred{UID: 1}}, &rec) {
		t.Error("requests of unknown users are seen")
	}
}

// Nor do those own anything who have no ids where the daemon runs, whatever stands for them.
func TestThoseWithoutIDsOwnNothing(t *testing.T) {
	unmapped.Moved(t, func(t *testing.T) {
		const none = unmapped.MovedID
		p := peer{Cred: unixsocket.Cred{UID: none, GID: none}, groups: []uint32{none}}
		g := guard{owner: none, group: known(uint32(none))}
		if r := g.rights(p); r != (Rights{}) {
			t.Errorf("they have rights %+v", r)
		}
		if g.sees(p, &mam.Record{App: policy.App{UID: none, PID: 1}}) {
			t.Error("one of them sees the requests of another")
		}
		if p.is(none) {
			t.Error("one of them is taken for another")
		}
		g = guard{owner: 1000, group: known(uint32(1000))}
		if r := g.rights(peer{Cred: unixsocket.Cred{UID: 1000, GID: 1000}}); r != (Rights{Change: true, ReadAll: true}) {
			t.Errorf("the daemon's user has rights %+v", r)
		}
	})
}

func TestErrors(t *testing.T) {
	d := start(t, view(), func(o *Options) {
		o.Reload = func(context.Context) error { return errors.New("policy.conf:7,3-12: unknown setting \"namserver\"") }
	})
	c := d.client(t)
	for _, tt := range []struct {
		name, method, path, body, contentType string
		status                                int
		want                                  string
	}{
		{name: "no such path", method: "GET", path: "/v1/nope", status: 404, want: "there is no /v1/nope"},
		{name: "wrong method", method: "GET", path: "/v1/set", status: 405, want: "/v1/set wants POST"},
		{name: "wrong method", method: "DELETE", path: "/v1/status", status: 405, want: "/v1/status wants GET"},
		{name: "no metrics", method: "GET", path: "/metrics", status: 404, want: "there is no /metrics"},
		{name: "limit", method: "GET", path: "/v1/decisions?limit=-1", status: 400, want: `limit must be a number, not "-1"`},
		{name: "since", method: "GET", path: "/v1/events?since=x", status: 400, want: `since must be a number, not "x"`},
		{name: "not JSON", method: "POST", path: "/v1/explain", body: "host=a", contentType: "application/x-www-form-urlencoded", status: 400, want: "the body must be application/json"},
		{name: "broken JSON", method: "POST", path: "/v1/explain", body: "{", status: 400, want: "decode the body: unexpected EOF"},
		{name: "two values", method: "POST", path: "/v1/explain", body: "{}{}", status: 400, want: "decode the body: there is more than one value"},
		{name: "unknown field", method: "POST", path: "/v1/explain", body: `{"hots":"a"}`, status: 400, want: `decode the body: json: unknown field "hots"`},
		{name: "large body", method: "POST", path: "/v1/set", body: `{"text":"` + strings.Repeat("x", maxBody) + `"}`, status: 400, want: "decode the body: http: request body too large"},
		{name: "unknown want", method: "POST", path: "/v1/explain", body: `{"selection":[{"want":"like","kind":"cost","name":"free"}]}`, status: 400,
			want: `want must be one of require, prefer, avoid, prohibit, not "like"`},
		{name: "unknown kind of network", method: "POST", path: "/v1/explain", body: `{"selection":[{"want":"avoid","kind":"colour","name":"red"}]}`, status: 400,
			want: `kind must be one of interface, network, cost, not "colour"`},
		{name: "unknown cost", method: "POST", path: "/v1/explain", body: `{"selection":[{"want":"avoid","kind":"cost","name":"dear"}]}`, status: 400,
			want: `cost must be one of free, metered, expensive, not "dear"`},
		{name: "half a preference", method: "POST", path: "/v1/explain", body: `{"selection":[{"kind":"cost","name":"free"}]}`, status: 400,
			want: "a preference needs want, kind and a name of at most 255 bytes"},
		{name: "many preferences", method: "POST", path: "/v1/explain", body: `{"selection":[{}` + strings.Repeat(",{}", 32) + `]}`, status: 400,
			want: "selection must not have more than 32 preferences"},
		{name: "long host", method: "POST", path: "/v1/explain", body: `{"host":"` + strings.Repeat("x", 256) + `"}`, status: 400, want: "host and service must not have more than 255 characters"},
		{name: "unknown category", method: "POST", path: "/v1/explain", body: `{"intents":{"category":"fast"}}`, status: 400,
			want: `category must be one of query, bulktransfer, controltraffic, keepalives, stream, or a number, not "fast"`},
		{name: "unknown kind", method: "POST", path: "/v1/explain", body: `{"kind":"resolve"}`, status: 400,
			want: `kind must be one of connect, socketconnect, socketchoose, not "resolve"`},
		{name: "connect without address", method: "POST", path: "/v1/explain", body: `{"kind":"connect","host":"a"}`, status: 400,
			want: `kind connect wants an address and a port number, not "a" and ""`},
		{name: "bound", method: "POST", path: "/v1/explain", body: `{"bound":"a"}`, status: 400, want: `bound must be an address, not "a"`},
		{name: "set to nothing", method: "POST", path: "/v1/set", body: `{}`, status: 400, want: "text must be one line, and not empty"},
		{name: "set refused", method: "POST", path: "/v1/set", body: `{"text":"bad"}`, status: 422, want: `I do not understand "bad"`},
		{name: "reload fails", method: "POST", path: "/v1/reload", status: 422, want: `policy.conf:7,3-12: unknown setting "namserver"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(ctx(t), tt.method, "http://mamma"+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if tt.contentType != "" {
				req.Header.Set("Content-Type", tt.contentType)
			}
			resp, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			var f Failure
			if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || f.Error != tt.want || f.Code == "" {
				t.Errorf("%d %q (%s), want %d %q", resp.StatusCode, f.Error, f.Code, tt.status, tt.want)
			}
		})
	}
}

// If nobody has named the path, the user of the server must be trusted.
func TestDistrusted(t *testing.T) {
	d := start(t, view(), nil)
	var asked []uint32
	c := d.client(t)
	believe := true
	c.trusts = func(uid uint32) bool {
		asked = append(asked, uid)
		return believe
	}
	var s Status
	if _, err := c.Get(ctx(t), "/v1/status", &s); err != nil {
		t.Error(err)
	}
	c.Close()
	believe = false
	if _, err := c.Get(ctx(t), "/v1/status", &s); err == nil || !strings.Contains(err.Error(), "who is neither root, nor you, nor mamma; if you trust it, name it with --control") {
		t.Errorf("error %v", err)
	}
	if self := uint32(os.Getuid()); !slices.Equal(asked, []uint32{self, self}) || !trusted(self) || !trusted(0) || trusted(stranger.UID) {
		t.Errorf("asked about users %v", asked)
	}
	for _, tt := range []struct {
		env   string
		named bool
	}{{"/somewhere", true}, {"", false}} {
		c := Find(func(name string) string { return map[string]string{"MAMMA_CONTROL": tt.env}[name] })
		if (c.trusts == nil) != tt.named || tt.named && c.Path() != tt.env {
			t.Errorf("MAMMA_CONTROL=%q: %s, trusts %v", tt.env, c.Path(), c.trusts == nil)
		}
	}
}

func TestNotRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	_, err := NewClient(path).Get(ctx(t), "/v1/status", &Status{})
	var not *NotRunningError
	if !errors.As(err, &not) || not.Path != path || not.Own != "" {
		t.Errorf("got %v", err)
	}
	// If nobody has named a socket, the user's own is tried first.
	dir := t.TempDir()
	c := Find(func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": dir}[name] })
	want := "no mamma answers at " + SystemPath + ", and you run none of your own at " + dir + "/mamma/control.sock; is it running?"
	if err := c.dialError(syscall.ENOENT); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// What another user has made below the directory for temporary files is not taken for this
// user's own mamma.
func TestSquattersHideNoControlSocket(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	own := filepath.Join(dir, fmt.Sprintf("mamma-%d", os.Geteuid()))
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(own, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	find := func() string { return Find(func(string) string { return "" }).Path() }
	if got := find(); got != filepath.Join(own, "control.sock") {
		t.Errorf("one's own: %s", got)
	}
	if err := os.Chmod(own, 0o777); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	if got := find(); got != SystemPath {
		t.Errorf("others': %s", got)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// self returns the user whose decisions d.decide makes, without further rights.
func (d *daemon) self() unixsocket.Cred {
	return unixsocket.Cred{PID: 1, UID: uint32(os.Getuid()), GID: 100}
}
