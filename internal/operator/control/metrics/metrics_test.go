package metrics

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type nothing struct{}

func (nothing) Choose(*policy.Request) policy.Decision { return policy.Decision{} }

func prefix(iface, addr string) *policy.Prefix {
	p := netip.MustParsePrefix(addr)
	return &policy.Prefix{ID: policy.PrefixID{Interface: iface, Prefix: p}, Interface: iface, CIDR: p, Addrs: []netip.Addr{p.Addr()}}
}

func scrape(t *testing.T, m *Metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var ours []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "mamma_") {
			ours = append(ours, line)
		}
	}
	return ours
}

// full returns a sample of every metric except those of MPTCP.
func full() *Metrics {
	at := time.Unix(1_700_000_000, 0)
	p := prefix("wlan0", "192.168.0.0/24")
	p.Default, p.Health.State = true, policy.Suspect
	p.Stats = policy.PathStats{Time: at, SampleTime: at, Conns: 3, SRTTMin: 10 * time.Millisecond, SRTTMedian: 20 * time.Millisecond, LossUp: 0.01}
	p.Link = policy.LinkStats{Time: at, DownRate: 125000, DownBytes: 1 << 30, RxErrors: 2}
	p.Cost, p.Budget = policy.Expensive, policy.Budget{Limit: 5e9, Used: 6e9, Reset: at.Add(time.Hour)}
	p.Wifi = &policy.WifiStats{Signal: -60}
	v := &mam.View{Prefixes: []*policy.Prefix{p, prefix("wlan0", "2001:db8::/64"), prefix("wwan0\xff", "10.0.0.0/8")}}
	v.Runner = mam.NewRunner("threshold", nothing{}, slog.New(slog.DiscardHandler))
	m := New(func() *mam.View { return v }, func() int { return 7 },
		func() mam.PlainDials { return mam.PlainDials{Late: 3, LeftAlone: 12, Unread: 2} }, "0.1.0", at)
	m.Observe(&mam.Record{Kind: policy.Connect, Took: 30 * time.Microsecond, Decision: policy.Decision{Prefix: p}})
	m.Observe(&mam.Record{Kind: policy.SocketChoose, Reused: true})
	m.Observe(&mam.Record{Kind: policy.SocketConnect, Fallback: "stuck"})
	m.Observe(&mam.Record{Kind: 77})
	for _, o := range []*mam.Outcome{nil, {}, {PlainTCP: true}, {PlainTCP: true}, {PlainTCP: true, Errno: 111}} {
		m.Reported(&mam.Record{Outcome: o})
	}
	return m
}

func TestMetrics(t *testing.T) {
	m := full()
	got := strings.Join(scrape(t, m), "")
	got = strings.ReplaceAll(got, fmt.Sprintf("goversion=%q", buildVersion(got)), `goversion="go1.x"`)
	const file = "testdata/metrics.golden"
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
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func buildVersion(text string) string {
	_, rest, _ := strings.Cut(text, `goversion="`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}

func TestSeriesAreBounded(t *testing.T) {
	v := &mam.View{}
	for i := range 3 * maxSeries {
		v.Prefixes = append(v.Prefixes, prefix(fmt.Sprintf("veth%d", i), fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)))
	}
	n := 0
	for _, line := range scrape(t, New(func() *mam.View { return v }, nil, nil, "", time.Time{})) {
		if strings.HasPrefix(line, "mamma_prefix_health{") {
			n++
		}
	}
	if n != maxSeries {
		t.Errorf("%d series, want %d", n, maxSeries)
	}
}

// The name of a series ends in the unit into which the table's is converted.
func TestSeriesNameTheirUnits(t *testing.T) {
	ends := map[string][]string{
		"ms": {"_seconds"}, "B": {"_bytes_total"}, "B/s": {"_bytes_per_second"}, "dBm": {"_dbm"}, "": {"_total", "_ratio", "connections"},
	}
	for m, s := range series {
		if !slices.ContainsFunc(ends[m.Symbol()], func(end string) bool { return strings.HasSuffix(s.name, end) }) {
			t.Errorf("%v (%q) is exported as %s", m, m.Symbol(), s.name)
		}
		if strings.HasSuffix(s.name, "_total") != (s.kind == prometheus.CounterValue) {
			t.Errorf("%s has kind %v", s.name, s.kind)
		}
	}
	if n := len(ofPrefix) + len(ofLink); n != len(series) {
		t.Errorf("%d figures are exported, and %d have a name", n, len(series))
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New(func() *mam.View { return &mam.View{} }, nil, nil, "", time.Time{})
	r := &mam.Record{Took: 20 * time.Microsecond}
	for b.Loop() {
		m.Observe(r)
	}
}
