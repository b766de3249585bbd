package replay

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// learner is a policy that notes what it is told. It takes the second network, and counts
// its decisions from 101.
type learner struct {
	told []string
	n    uint64
}

func (l *learner) Choose(r *policy.Request) policy.Decision {
	l.n++
	return policy.Decision{Prefix: r.Prefixes[1], Token: 100 + l.n}
}

func (l *learner) Measured(list []*policy.Prefix, now time.Time) {
	l.told = append(l.told, fmt.Sprintf("measured %d after %v", len(list), now.Sub(start)))
}

func (l *learner) Ended(t *policy.Transfer) {
	l.told = append(l.told, fmt.Sprintf("%d over %s: %d bytes", t.Token, t.Prefix.Interface, t.Bytes))
	if t.Bytes == 13 {
		panic("thirteen")
	}
}

// run replays a recording with a policy, and returns the networks that it chose.
func run(t *testing.T, file []byte, s *Subject) (chosen []string, err error) {
	t.Helper()
	err = Run(bytes.NewReader(file), s, func(r *Result) error {
		chosen = append(chosen, r.Replayed.Prefix.Interface)
		return nil
	}, func(e *decisionlog.LineError) { t.Error(e) })
	return chosen, err
}

// A policy that learns is told of recorded transfers. They are its own where it decided
// as the recorded policy did.
func TestTransfers(t *testing.T) {
	list := few()
	near, fast := list[0].Prefixes[0], list[0].Prefixes[1]
	var e decisionlog.Encoder
	var file []byte
	must := func(b []byte, err error) {
		t.Helper()
		if file = b; err != nil {
			t.Fatal(err)
		}
	}
	ended := func(name string, token uint64, over *policy.Prefix, n uint64) {
		t.Helper()
		must(e.AppendTransfer(file, name, &policy.Transfer{Token: token, Prefix: over, Kind: policy.SocketConnect, Bytes: n}))
	}
	ended("adaptive", 1, near, 1) // of the time before the recording
	must(e.Append(file, "adaptive", list[0], policy.Decision{Prefix: fast, Token: 1}))
	must(e.Append(file, "adaptive", list[1], policy.Decision{Prefix: near, Token: 2}))
	must(e.Append(file, "adaptive", list[2], policy.Decision{Prefix: fast, Token: 3}))
	ended("adaptive", 1, fast, 2)
	ended("adaptive", 2, near, 3) // the subject decided on the other network
	ended("adaptive", 3, near, 6) // it won the race against the network that both decided on
	ended("threshold", 1, fast, 4)
	ended("adaptive", 9, fast, 5)
	p := &learner{}
	known := policy.Catalogue{{Name: "learner", New: func(policy.Config) (policy.Policy, error) { return p, nil }}}
	s, err := Load(t.Context(), known, nil, "learner", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, file, s); err != nil {
		t.Error(err)
	}
	want := []string{"measured 2 after 0s", "measured 2 after 1s", "measured 2 after 2s", "101 over wwan0: 2 bytes", "0 over wlan0: 3 bytes", "103 over wlan0: 6 bytes", "0 over wwan0: 4 bytes", "0 over wwan0: 5 bytes"}
	if diff := cmp.Diff(want, p.told); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
	ended("adaptive", 1, fast, 13)
	if s, err = Load(t.Context(), known, nil, "learner", "", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, file, s); err == nil || err.Error() != "line 13: policy learner panicked: thirteen" {
		t.Errorf("a panic: %v", err)
	}
}

// Policy adaptive learns from the transfers of a recording, and this changes its later
// decisions.
func TestAdaptiveLearnsFromTransfers(t *testing.T) {
	choices := func(told bool) []string {
		t.Helper()
		near, fast := network("wlan0", "192.0.2.23/24", 10*time.Millisecond, 1e6, true), network("wwan0", "10.64.3.9/10", 30*time.Millisecond, 0.9e6, false)
		p, err := policies.All().New("adaptive", policy.Config{Name: "adaptive", Prefixes: []*policy.Prefix{near, fast}})
		if err != nil {
			t.Fatal(err)
		}
		var e decisionlog.Encoder
		var file []byte
		for i := range 6 {
			r := request(20*i, intent.CategoryBulkTransfer, 1e6, near, fast)
			d := p.Choose(r)
			if file, err = e.Append(file, "adaptive", r, d); err != nil {
				t.Fatal(err)
			}
			if !told {
				continue
			}
			// wlan0 takes fifteen times as long as predicted.
			if file, err = e.AppendTransfer(file, "adaptive", &policy.Transfer{
				Token: d.Token, Prefix: near, App: r.App, Kind: r.Kind, Intents: r.Intents, Host: r.Host, Port: r.Port, Bytes: 1e6,
				Duration: 15 * time.Second, End: r.Now.Add(15 * time.Second),
			}); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Load(t.Context(), policies.All(), nil, "adaptive", "", 1)
		if err != nil {
			t.Fatal(err)
		}
		chosen, err := run(t, file, s)
		if err != nil {
			t.Fatal(err)
		}
		return chosen
	}
	if diff := cmp.Diff([]string{"wlan0", "wlan0", "wlan0", "wlan0", "wlan0", "wlan0"}, choices(false)); diff != "" {
		t.Errorf("without transfers (-want +got)\n%s", diff)
	}
	if got := choices(true); got[0] != "wlan0" || got[len(got)-1] != "wwan0" {
		t.Errorf("with transfers: %v", got)
	}
}
