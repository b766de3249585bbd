package policytest

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

func TestPrefix(t *testing.T) {
	p := Prefix("wwan0", "2001:db8::7/64", Default, Health(policy.Suspect), Cost(policy.Metered), Option("weight", "3"),
		RoundTrip(10*time.Millisecond, 12*time.Millisecond, 3), Download(2e6, 1e6))
	if p.CIDR.String() != "2001:db8::/64" || p.ID.String() != "2001:db8::/64%wwan0" || p.Addr().String() != "2001:db8::7" || p.Family() != policy.IPv6 {
		t.Errorf("%v, %v, %v", p.CIDR, p.ID, p.Addr())
	}
	if !p.Default || p.Health.State != policy.Suspect || p.Health.Reason == "" || p.Cost != policy.Metered {
		t.Errorf("%+v", p)
	}
	if n, ok := p.Options.Number("weight"); !ok || n != 3 {
		t.Errorf("weight is %v", n)
	}
	for m, want := range map[policy.Metric]float64{policy.MetricSRTTMedian: 12, policy.MetricSRTTMin: 10, policy.MetricConns: 3, policy.MetricDownRateMax: 2e6, policy.MetricDownRate: 1e6} {
		if got, ok := m.Measured(p); !ok || got != want {
			t.Errorf("%v is %v, known %t; want %v", m, got, ok, want)
		}
	}
}

func TestRequest(t *testing.T) {
	four, six := Prefix("a", "192.0.2.7/24"), Prefix("b", "2001:db8::7/64")
	for _, tt := range []struct {
		r      *policy.Request
		remote string
	}{
		{Request(policy.Connect, four), "203.0.113.80:80"},
		{Request(policy.Connect, six, four), "[2001:db8:80::80]:80"},
		{Request(policy.Connect), "203.0.113.80:80"},
		{Request(policy.SocketConnect, four), netip.AddrPort{}.String()},
	} {
		if tt.r.Remote.String() != tt.remote {
			t.Errorf("%v goes to %v, not %s", tt.r.Kind, tt.r.Remote, tt.remote)
		}
	}
	r := Offer(Bind(Intents(Request(policy.SocketChoose, four), "category=query,filesize=64KiB"), four), six, four)
	if size, _ := r.Intents.FileSize(); size != 65536 {
		t.Errorf("file size %d", size)
	}
	if c, _ := r.Intents.Category(); c != intent.CategoryQuery {
		t.Errorf("category %v", c)
	}
	if r.BoundPrefix != four || r.Bound != four.Addr() || len(r.Sockets) != 2 || r.Sockets[1].FD != 6 || r.Sockets[0].Prefix != six {
		t.Errorf("%+v", r)
	}
}

func TestSettings(t *testing.T) {
	var got struct {
		Name  string        `mam:"name"`
		Ports []string      `mam:"ports"`
		None  []string      `mam:"none"`
		Wait  time.Duration `mam:"wait"`
	}
	if err := Config("name=a=b", "ports=[22, 5060]", "none=[]", "wait=3s").Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "a=b" || !slices.Equal(got.Ports, []string{"22", "5060"}) || got.None == nil || len(got.None) != 0 || got.Wait != 3*time.Second {
		t.Errorf("%+v", got)
	}
	err := Config("name=a", "colour=red").Decode(&got)
	Refused(t, err, "test.conf:2,3", "colour", "known: name, none, ports, wait")
}

func TestSound(t *testing.T) {
	a, b, other := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24"), Prefix("c", "10.0.3.2/24")
	r := Offer(Request(policy.SocketChoose, a, b), a)
	bound := Bind(Request(policy.Connect, a, b), other)
	for _, tt := range []struct {
		name string
		r    *policy.Request
		d    policy.Decision
		want string // "": sound
	}{
		{"choice", r, policy.Decision{Prefix: a, Alternates: []*policy.Prefix{b}, Reason: "x"}, ""},
		{"no preference", r, policy.Decision{Reason: "x"}, ""},
		{"reuse", r, policy.Decision{Prefix: a, Socket: &r.Sockets[0], Reason: "x"}, ""},
		{"own address", bound, policy.Decision{Prefix: other, Reason: "x"}, ""},
		{"no reason", r, policy.Decision{Prefix: a}, "no reason"},
		{"a copy of the socket", r, policy.Decision{Socket: &policy.Socket{FD: 5}, Reason: "x"}, "socket 5 does not point"},
		{"not offered", r, policy.Decision{Prefix: other, Reason: "x"}, "10.0.3.0/24%c is not a candidate"},
		{"for a bound socket", bound, policy.Decision{Prefix: a, Reason: "x"}, "bound to 10.0.3.2"},
		{"alternates only", r, policy.Decision{Alternates: []*policy.Prefix{b}, Reason: "x"}, "without a first choice"},
		{"twice", r, policy.Decision{Prefix: a, Alternates: []*policy.Prefix{b, a}, Reason: "x"}, "10.0.1.0/24%a is named twice"},
		{"alternate not offered", r, policy.Decision{Prefix: a, Alternates: []*policy.Prefix{other}, Reason: "x"}, "alternate 10.0.3.0/24%c"},
		{"nil alternate", r, policy.Decision{Prefix: a, Alternates: []*policy.Prefix{nil}, Reason: "x"}, "alternate is nil"},
		{"score of another", r, policy.Decision{Prefix: a, Reason: "x", Scores: []policy.Score{{Prefix: other}}}, "score for c"},
		{"negative prediction", r, policy.Decision{Prefix: a, Reason: "x", Scores: []policy.Score{{Prefix: a, Predicted: -1}}}, "prediction for a"},
	} {
		err := Sound(tt.r, tt.d)
		if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	a := Answer{Prefix: "a", Alternates: "b", Reason: "x"}
	if d := a.differences(a); d != nil {
		t.Errorf("of equals: %q", d)
	}
	got := a.differences(Answer{Prefix: "b", Multipath: true, Reason: "x"})
	if diff := cmp.Diff([]string{`Prefix: "b", want "a"`, `Alternates: "", want "b"`, `Multipath: true, want false`}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// record notes what a helper says about a test, in place of failing one.
type record struct {
	testing.TB
	said []string
}

func (r *record) Helper()                           {}
func (r *record) Errorf(format string, args ...any) { r.said = append(r.said, format) }
func (r *record) Fatal(args ...any)                 { r.said = append(r.said, "fatal") }

func TestRefused(t *testing.T) {
	err := errors.New("too bad")
	for _, tt := range []struct {
		err  error
		want []string
		said int
	}{{err, []string{"too", "bad"}, 0}, {err, []string{"good"}, 1}, {nil, nil, 1}} {
		r := &record{TB: t}
		if Refused(r, tt.err, tt.want...); len(r.said) != tt.said {
			t.Errorf("%v said to contain %q: %q", tt.err, tt.want, r.said)
		}
	}
}

// A table passes with what the policy does; that it fails otherwise is seen by
// differences and Sound.
func TestRun(t *testing.T) {
	seen := 0
	count := func(policy.Config) (policy.Policy, error) { seen++; return first{}, nil }
	a, b := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24")
	Run(t, Make(count), []Case{
		{"two", Request(policy.Connect, a, b), Answer{Prefix: "a", Alternates: "b", Reason: "first"}, ""},
		{Name: "one", Request: Request(policy.Connect, b), Want: Answer{Prefix: "b", Reason: "first"}},
		{Name: "none", Request: Request(policy.Connect), Want: Answer{Reason: "first"}},
	})
	if seen != 3 {
		t.Errorf("the policy was made %d times", seen)
	}
}

// first takes the candidates as they come.
type first struct{}

func (first) Choose(r *policy.Request) policy.Decision {
	d := policy.Decision{Reason: "first"}
	if len(r.Prefixes) > 0 {
		d.Prefix, d.Alternates = r.Prefixes[0], r.Prefixes[1:]
	}
	return d
}
