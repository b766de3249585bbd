package scopes

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// slowDecider decides for the first of its networks, with the second one as the alternate. It
// does not answer while gate is locked.
type slowDecider struct {
	networks []*testbed.Network
	gate     sync.RWMutex
	known    sync.Mutex
	records  []mam.Record
}

func (d *slowDecider) prefix(i int, v6 bool, state policy.HealthState) *policy.Prefix {
	n := d.networks[i]
	net, addr := n.Prefix4, n.Client4
	if v6 {
		net, addr = n.Prefix6, n.Client6
	}
	return &policy.Prefix{
		ID: policy.PrefixID{Interface: n.Name, Prefix: net}, Interface: n.Name, Addrs: []netip.Addr{addr}, Health: policy.Health{State: state},
	}
}

func (d *slowDecider) Ask(q mam.Question, _ time.Time) (mam.Advice, error) {
	d.gate.RLock()
	defer d.gate.RUnlock()
	v6 := q.Network.Family == policy.IPv6
	first, second := d.prefix(0, v6, policy.Up), d.prefix(1, v6, policy.Up)
	a := mam.Advice{Source: first.Addr(), Interface: first.Interface, Alternates: []mam.Binding{{Source: second.Addr(), Interface: second.Interface}}}
	a.Record.Decision = policy.Decision{Prefix: first, Alternates: []*policy.Prefix{second}}
	return a, nil
}

func (d *slowDecider) Remember(r mam.Record) mam.Record {
	d.known.Lock()
	defer d.known.Unlock()
	d.records = append(d.records, r)
	return r
}

// view has the networks in the given states. If there is one state only, the second network
// has gone.
func (d *slowDecider) view(states ...policy.HealthState) *mam.View {
	v := &mam.View{}
	for i, s := range states {
		v.Prefixes = append(v.Prefixes, d.prefix(i, false, s), d.prefix(i, true, s))
	}
	return v
}

// When a network goes down, connections go over the alternate at once, whether their
// destination is known or not, while the policy has not yet been asked about anything. When the
// network is up again, they go over it.
func TestAlternates(t *testing.T) {
	h := newHost(t)
	d := &slowDecider{networks: h.bed.Networks}
	h.engine.opts.Decider = d
	h.engine.Published(d.view(policy.Up, policy.Up))
	h.configure(everyone)
	a, b := h.bed.Networks[0].Client4.String(), h.bed.Networks[1].Client4.String()
	const many = 100
	all := uint64(0)
	check := func(what, want string) {
		t.Helper()
		if got := h.connect(0, 2*many); got != want {
			t.Errorf("%s: from %s, want %s", what, got, want)
		}
		all += 2 * many
	}
	if got := h.connect(0, many); got != a {
		t.Fatalf("at first: from %s, want %s", got, a)
	}
	all += many
	h.seen(all)
	d.gate.Lock()
	answer := sync.OnceFunc(d.gate.Unlock)
	t.Cleanup(answer) // before the engine ends
	h.engine.Published(d.view(policy.Down, policy.Up))
	check("while the first one is down", b)
	h.engine.Published(d.view(policy.Up, policy.Up))
	check("when it is up again", a)
	h.engine.Published(d.view(policy.Suspect, policy.Down))
	check("while the other one is down", a)
	h.engine.Published(d.view(policy.Down, policy.Down))
	check("while both are down", a)
	h.engine.Published(d.view(policy.Down, policy.Up))
	check("while the first one is down once more", b)
	answer()
	if s := h.seen(all); s.Lost > 0 || s.Err != nil {
		t.Errorf("%+v", s)
	}
	d.known.Lock()
	defer d.known.Unlock()
	for i, r := range d.records {
		n, over, why := (i-many)/(2*many), "wlan0", ""
		if i >= many && (n == 0 || n == 4) {
			over, why = "wwan0", "wlan0 has just gone down"
		}
		if p := r.Decision.Prefix; p == nil || p.Interface != over || !strings.Contains(r.Decision.Reason, why) || why == "" && r.Decision.Reason != "" {
			t.Fatalf("connection %d is remembered as %+v, want it over %s", i, r.Decision, over)
		}
	}
}

// Numbers of networks are given again after the networks have gone, and there are not more than
// the kernel has room for.
func TestNumbersOfNetworks(t *testing.T) {
	h := newHost(t)
	h.configure(everyone)
	h.end()
	table, err := h.engine.load()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var d downs
	if n := d.number(&policy.Prefix{}); n != 0 {
		t.Errorf("number %d without a table", n)
	}
	if err := d.use(table); err != nil {
		t.Fatal(err)
	}
	var v mam.View
	for i := range hook.MaxNetworks {
		p := &policy.Prefix{ID: policy.PrefixID{Interface: "veth" + string(rune('a'+i))}}
		v.Prefixes = append(v.Prefixes, p)
		n := d.number(p)
		if again := d.number(p); again != n {
			t.Errorf("network %d has number %d and %d", i, n, again)
		}
		if want := hook.Network((i + 1) % hook.MaxNetworks); n != want {
			t.Errorf("network %d has number %d, want %d", i, n, want)
		}
	}
	if err := d.published(&mam.View{Prefixes: v.Prefixes[10:]}); err != nil {
		t.Fatal(err)
	}
	if !d.told[1] || !d.told[10] || d.told[11] {
		t.Errorf("down: %v", d.told)
	}
	d.forget()
	p := &policy.Prefix{ID: policy.PrefixID{Interface: "other0"}}
	if n := d.number(p); n != 1 || d.told[1] {
		t.Errorf("a new network has number %d, down: %v", n, d.told[1])
	}
	if err := d.published(&mam.View{Prefixes: []*policy.Prefix{{ID: p.ID, Health: policy.Health{State: policy.Down}}}}); err != nil || !d.told[1] {
		t.Errorf("%v, %v", err, d.told)
	}
}
