package mam

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

var cmpPrefix = cmp.Comparer(func(a, b *policy.Prefix) bool { return a == b })

// Explain asks the policy the same as a client's request does.
func TestExplainAsksAsAClientDoes(t *testing.T) {
	var live, hypothetical policy.Request
	keep := func(to *policy.Request) policy.Policy {
		return chooser(func(r *policy.Request) policy.Decision {
			*to = *r
			return takeFirst(r)
		})
	}
	v := host(keep(&live))
	v.Fresh = func() (policy.Policy, error) { return keep(&hypothetical), nil }
	v.Devices = map[policy.PrefixID]string{v.Prefixes[0].ID: "wlan0"}
	d := start(t, v, Options{})

	req := socketConnectTo("four.test", "443")
	req.SetIntents(intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(3 << 20))
	d.dial(t).ask(req)
	before := d.Decisions().Count()
	got, err := d.Explain(Question{
		Kind: policy.SocketConnect, Host: "four.test", Service: "443", App: live.App,
		Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(3 << 20),
	}, live.Now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(live, hypothetical, cmpPrefix, cmp.AllowUnexported(intent.Set{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("asked by a client (-) and hypothetically (+):\n%s", diff)
	}
	if d.Decisions().Count() != before {
		t.Error("the question is remembered")
	}
	if got.Record.Decision.Prefix != v.Prefixes[0] || got.Record.Policy != "test" || len(got.Candidates) != 4 || got.Device != "wlan0" || got.Resolver == nil || got.ResolverOf != nil {
		t.Errorf("got %+v", got)
	}
}

func TestExplain(t *testing.T) {
	remote := netip.MustParseAddrPort("10.77.2.9:80") // an address in the network of wwan0
	tests := []struct {
		name       string
		q          Question
		change     func(*View)
		want       int // index of the prefix, -1 none
		candidates int
		fallback   string
		err        string
		resolver   bool
	}{
		{name: "a name", q: Question{Kind: policy.SocketConnect, Host: "host.test"}, candidates: 4, resolver: true},
		{name: "one family", q: Question{Kind: policy.SocketConnect, Host: "host.test", Network: policy.Network{Family: policy.IPv6}}, want: 2, candidates: 2, resolver: true},
		{name: "an address in a network", q: Question{Kind: policy.SocketConnect, Host: "10.77.2.9"}, want: 1, candidates: 1},
		{name: "connect", q: Question{Kind: policy.Connect, Remote: remote}, want: 1, candidates: 1},
		{name: "resolve", q: Question{Kind: policy.Resolve}, err: "explain: requests that only resolve a name are not explained"},
		{name: "no policy", change: func(v *View) { v.Runner = nil }, err: "explain: no policy to ask"},
		{name: "no factory", change: func(v *View) { v.Fresh = nil }, err: "explain: policy test: no policy to ask"},
		{name: "factory fails", change: func(v *View) {
			v.Fresh = func() (policy.Policy, error) { return nil, errors.New("bad setting") }
		}, err: "explain: make policy test: bad setting"},
		{name: "factory panics", change: func(v *View) {
			v.Fresh = func() (policy.Policy, error) { panic("oops") }
		}, err: "explain: make policy test: policy panicked: oops"},
		{name: "policy panics", q: Question{Kind: policy.SocketConnect}, change: func(v *View) {
			v.Fresh = func() (policy.Policy, error) {
				return chooser(func(*policy.Request) policy.Decision { panic("oops") }), nil
			}
		}, candidates: 4, fallback: "policy panicked: oops"},
		{name: "policy chooses nonsense", q: Question{Kind: policy.SocketConnect}, change: func(v *View) {
			p := prefix("eth7", 7, "10.9.9.9/24")
			v.Fresh = func() (policy.Policy, error) {
				return chooser(func(*policy.Request) policy.Decision { return policy.Decision{Prefix: p} }), nil
			}
		}, candidates: 4, fallback: "policy test chose 10.9.9.0/24%eth7, which was not offered"},
		{name: "the live policy is out of service", q: Question{Kind: policy.SocketConnect}, change: func(v *View) {
			v.Runner.retire(errRetired{"policy test is out of service"})
		}, candidates: 4, fallback: "policy test is out of service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := host(takeFirst)
			v.Fresh = func() (policy.Policy, error) { return takeFirst, nil }
			if tt.change != nil {
				tt.change(v)
			}
			m := New(Options{})
			m.Publish(v)
			got, err := m.Explain(tt.q, time.Unix(1, 0))
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if got.Record.Decision.Prefix != v.Prefixes[tt.want] {
				t.Errorf("chose %v, want %v", got.Record.Decision.Prefix, v.Prefixes[tt.want])
			}
			if len(got.Candidates) != tt.candidates || got.Record.Fallback != tt.fallback {
				t.Errorf("%d candidates, fallback %q; want %d, %q", len(got.Candidates), got.Record.Fallback, tt.candidates, tt.fallback)
			}
			if (got.Resolver != nil) != tt.resolver && tt.q.Host != "" {
				t.Errorf("resolver %v", got.Resolver)
			}
			if v.Runner.Panics() != 0 {
				t.Error("the live policy's panics were counted")
			}
		})
	}
}

// Explain gives up on a policy that does not answer, and asks nothing more while the
// policy still runs.
func TestExplainStuckPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		closed := false
		v := host(takeFirst)
		v.Fresh = func() (policy.Policy, error) { return &stuck{release, &closed}, nil }
		m := New(Options{})
		m.Publish(v)
		begin := time.Now()
		if _, err := m.Explain(Question{Kind: policy.SocketConnect}, begin); err == nil || time.Since(begin) != callLimit {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if _, err := m.Explain(Question{Kind: policy.SocketConnect}, begin); !errors.Is(err, ErrBusy) {
			t.Errorf("second question: %v, want ErrBusy", err)
		}
		close(release)
		synctest.Wait()
		if _, err := m.Explain(Question{Kind: policy.SocketConnect}, begin); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		synctest.Wait()
		if !closed {
			t.Error("the instance was not closed")
		}
	})
}

type stuck struct {
	release chan struct{}
	closed  *bool
}

func (s *stuck) Choose(*policy.Request) policy.Decision {
	<-s.release
	return policy.Decision{}
}

func (s *stuck) Close() error {
	*s.closed = true
	return nil
}

func TestRingNext(t *testing.T) {
	r := NewRing(4)
	for range 6 {
		r.add(&Record{})
	}
	for _, tt := range []struct {
		since uint64
		n     int
		want  []uint64
	}{
		{0, 10, []uint64{3, 4, 5, 6}}, {0, 2, []uint64{3, 4}}, {4, 10, []uint64{5, 6}}, {5, 1, []uint64{6}},
		{6, 1, nil}, {7, 1, nil}, {1 << 63, 1, nil}, {1<<64 - 1, 1, nil}, {0, 0, nil},
	} {
		var got []uint64
		for _, rec := range r.Next(tt.since, tt.n) {
			got = append(got, rec.Seq)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Next(%d, %d) (-want +got):\n%s", tt.since, tt.n, diff)
		}
	}
}
