package adaptive

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// subflowsOf asks for the subflows of a connection over near with these intents ("-": nobody
// has asked) whose transfer was predicted to take half a second.
func subflowsOf(intents string, prefixes ...*policy.Prefix) *policy.SubflowRequest {
	r := &policy.SubflowRequest{
		First: prefixes[0], Prefixes: prefixes, Remote: netip.MustParseAddrPort("192.0.2.1:80"), Predicted: 500 * ms, Now: Now(),
	}
	r.Local, r.Remotes = netip.AddrPortFrom(prefixes[0].Addr(), 4711), []netip.AddrPort{r.Remote}
	if intents != "-" {
		r.Request = Intents(Request(open, prefixes...), intents)
	}
	return r
}

// A network helps a late connection if it costs nothing, has no limit and would not be
// later.
func TestChooseSubflows(t *testing.T) {
	limited := func(p *policy.Prefix) { p.Budget.Limit = 1e9 }
	for _, tt := range []struct {
		name, intents string
		late          bool
		age           time.Duration
		edits         []func(*policy.Prefix)
		want          string
	}{
		{"on time", "filesize=1000000", false, 2 * time.Second, nil, "backup"},
		{"late", "filesize=1000000", true, 2 * time.Second, nil, "in use"},
		{"late, size unknown", "", true, 2 * time.Second, nil, "in use"},
		{"late, metered", "filesize=1000000", true, 2 * time.Second, []func(*policy.Prefix){Cost(policy.Metered)}, "backup"},
		{"late, limited", "filesize=1000000", true, 2 * time.Second, []func(*policy.Prefix){limited}, "backup"},
		{"late, suspect", "filesize=1000000", true, 2 * time.Second, []func(*policy.Prefix){suspect}, "backup"},
		{"late, but the other one would be later", "filesize=4000000", true, 1500 * ms, nil, "backup"},
		{"bulk", "category=bulktransfer", false, 0, nil, "in use"},
		{"bulk, metered", "category=bulktransfer", false, 0, []func(*policy.Prefix){Cost(policy.Metered)}, "backup"},
		{"large", "filesize=10000000", false, 0, nil, "in use"},
		{"nobody has asked", "-", false, 0, nil, "in use"},
	} {
		p := Make(New)(t).(*Policy)
		r := subflowsOf(tt.intents, near(), far(tt.edits...))
		r.Late, r.Progress.Age = tt.late, tt.age
		list := p.ChooseSubflows(r)
		if len(list) != 1 || list[0].Prefix != r.Prefixes[1] {
			t.Errorf("%s: %+v", tt.name, list)
			continue
		}
		if got := map[bool]string{true: "backup", false: "in use"}[list[0].Backup]; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// The kernel's path manager asks once about all connections.
	p := Make(New)(t).(*Policy)
	var names []string
	for _, s := range p.ChooseSubflows(&policy.SubflowRequest{Prefixes: []*policy.Prefix{near(), far()}}) {
		names = append(names, s.Prefix.Interface)
		if s.Backup {
			t.Errorf("%s is backup", s.Prefix.Interface)
		}
	}
	if got := strings.Join(names, " "); got != "near far" {
		t.Errorf("all connections: %s", got)
	}
}

// A transfer of half a second is late after a second and a quarter.
func TestLate(t *testing.T) {
	const sized, unsized, on, over = "filesize=500000", "", 1200 * ms, 1300 * ms
	for _, tt := range []struct {
		name, intents string
		progress      policy.Progress
		want          bool
	}{
		{"a quarter has come", sized, policy.Progress{Age: on, Received: 125e3, First: true}, false},
		{"a quarter has come, late", sized, policy.Progress{Age: over, Received: 125e3, First: true}, true},
		{"stalled", sized, policy.Progress{Age: over, Quiet: time.Second, Received: 125e3, First: true}, true},
		{"complete", sized, policy.Progress{Age: over, Received: 495e3, First: true}, false},
		{"complete for long", sized, policy.Progress{Age: time.Minute, Quiet: 4 * time.Second, Received: 505e3, First: true}, false},
		{"twice the size", sized, policy.Progress{Age: 2400 * ms, Received: 1e6, First: true}, false},
		{"twice the size, late", sized, policy.Progress{Age: 2600 * ms, Received: 1e6, First: true}, true},
		{"bytes of a later request", sized, policy.Progress{Age: over, Received: 125e3}, true},
		{"a later request that is over", sized, policy.Progress{Age: 4 * over, Quiet: 2 * time.Second, Received: 125e3}, false},
		{"unknown size, as assumed", unsized, policy.Progress{Age: over, Received: 30e3, First: true}, true},
		{"unknown size, much", unsized, policy.Progress{Age: over, Received: 60e3, First: true}, false},
		{"unknown size, much, late", unsized, policy.Progress{Age: 2 * over, Received: 60e3, First: true}, true},
		{"events", unsized, policy.Progress{Age: time.Minute, Received: 5e3, First: true}, false},
		{"no answer yet", unsized, policy.Progress{Age: 2 * over, Sent: 300, First: true}, false},
		{"no answer", unsized, policy.Progress{Age: 3100 * ms, Sent: 300, First: true}, true},
		{"nothing was asked", sized, policy.Progress{Age: time.Minute, First: true}, false},
		{"an upload", unsized, policy.Progress{Age: time.Minute, Sent: 5e6, First: true}, false},
		{"bulk", "category=bulktransfer", policy.Progress{Age: time.Minute, Received: 5e6, First: true}, false},
		{"nobody has asked", "-", policy.Progress{Age: time.Minute, Received: 5e6, First: true}, false},
	} {
		p := Make(New)(t).(*Policy)
		r := subflowsOf(tt.intents, near(), far())
		r.Progress = tt.progress
		if got := p.Late(r); got != tt.want {
			t.Errorf("%s: late %v", tt.name, got)
		}
		// What is not known is not late.
		if r.Predicted = 0; p.Late(r) {
			t.Errorf("%s: late without a prediction", tt.name)
		}
		if r.Predicted, r.First = time.Millisecond, nil; p.Late(r) {
			t.Errorf("%s: late over an unknown network", tt.name)
		}
	}
}
