package pathmanager

import (
	"net/netip"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	wlan = prefix("wlan0", 2, "10.1.0.2/24")
	wwan = prefix("wwan0", 3, "10.2.0.2/24", metered)
	eth  = prefix("eth0", 4, "10.3.0.2/24")

	created     = mptcp.Event{Type: mptcp.Created, Token: 1, Local: ap("10.1.0.2:4711"), Remote: ap("192.0.2.1:80")}
	established = mptcp.Event{Type: mptcp.Established, Token: 1, Local: ap("10.1.0.2:4711"), Remote: ap("192.0.2.1:80")}
	joinedEth   = mptcp.Event{Type: mptcp.SubflowEstablished, Token: 1, LocalID: 2, Local: ap("10.3.0.2:5000"), Remote: ap("192.0.2.1:80")}
	joinedWwan  = mptcp.Event{Type: mptcp.SubflowEstablished, Token: 1, LocalID: 1, Local: ap("10.2.0.2:5001"), Remote: ap("192.0.2.1:80"), Backup: true}
)

const (
	createWwan = "create 1: 1 10.2.0.2 -> 192.0.2.1:80 dev 3 backup"
	createEth  = "create 1: 2 10.3.0.2 -> 192.0.2.1:80"
)

// steer makes a steerer with a fake kernel.
func steer(prefixes ...*policy.Prefix) (*steerer, *host, *kernel) {
	k, h := &kernel{}, newHost(prefixes...)
	return newSteerer(k, h, known{}, quiet), h, k
}

func TestSteerer(t *testing.T) {
	s, h, k := steer(wlan, wwan, eth)
	if s.handle(created, start); len(k.calls) > 0 {
		t.Errorf("before the connection is established: %v", k.calls)
	}
	s.handle(established, start)
	k.check(t, createWwan, createEth)
	s.handle(joinedEth, start)
	s.handle(joinedWwan, start)
	k.check(t)

	// When a network goes, the peer is told once, and then the subflow is closed.
	h.set(wlan, wwan)
	s.changed(start)
	k.check(t, "remove 1: 2", "destroy 1: 10.3.0.2:5000 -> 192.0.2.1:80")
	closed := joinedEth
	closed.Type = mptcp.SubflowClosed
	s.handle(closed, start)
	s.changed(start)
	k.check(t)
	// The network comes back with the same ID.
	h.set(wlan, wwan, eth)
	s.changed(start)
	k.check(t, createEth)
	s.handle(joinedEth, start)

	// The first network goes like any other.
	h.set(wwan, eth)
	s.changed(start)
	k.check(t, "remove 1: 0", "destroy 1: 10.1.0.2:4711 -> 192.0.2.1:80")
	// A prefix that is down counts as gone, but the last subflow stays.
	h.set(wwan, prefix("eth0", 4, "10.3.0.2/24", down))
	s.changed(start)
	k.check(t, "remove 1: 2", "destroy 1: 10.3.0.2:5000 -> 192.0.2.1:80")
	h.set()
	s.changed(start)
	k.check(t)
	// Once there is another subflow, this one is closed.
	h.set(eth)
	s.changed(start)
	k.check(t, createEth)
	s.handle(joinedEth, start)
	k.check(t, "remove 1: 1", "destroy 1: 10.2.0.2:5001 -> 192.0.2.1:80")
	// The first network comes back, too. Its address now has an ID of its own.
	h.set(wlan, eth)
	s.changed(start)
	k.check(t, "create 1: 3 10.1.0.2 -> 192.0.2.1:80")

	s.handle(mptcp.Event{Type: mptcp.Closed, Token: 1}, start)
	if len(s.conns) != 0 {
		t.Errorf("connections left: %v", s.conns)
	}
	s.changed(start)
	if len(s.managed) != 0 {
		t.Errorf("addresses left: %v", s.managed)
	}
}

func TestSteererVeto(t *testing.T) {
	s, h, k := steer(wlan, wwan, eth)
	h.chooser.choose = func(r *policy.SubflowRequest) []policy.Subflow {
		if r.All() || r.First != wlan || r.Local != created.Local || r.Remotes[0] != created.Remote {
			t.Errorf("asked %+v", r)
		}
		return nil
	}
	s.handle(created, start)
	s.handle(established, start)
	k.check(t)
	// When the policy changes its mind, running connections get their subflows. These stay
	// when it changes back.
	veto := h.chooser.choose
	h.chooser.choose = func(r *policy.SubflowRequest) []policy.Subflow { return []policy.Subflow{{Prefix: eth}} }
	s.changed(start)
	k.check(t, "create 1: 1 10.3.0.2 -> 192.0.2.1:80")
	s.handle(joinedEth, start)
	h.chooser.choose = veto
	s.changed(start)
	k.check(t)
}

func TestSteererLeavesAlone(t *testing.T) {
	s, _, k := steer(wlan, wwan)
	server := established
	server.Server = true
	for _, e := range []mptcp.Event{
		server, {Type: mptcp.Established, Token: 2}, {Type: mptcp.SubflowEstablished, Token: 3, Local: ap("10.1.0.2:1"), Remote: ap("192.0.2.1:1")},
		{Type: mptcp.SubflowClosed, Token: 3}, {Type: mptcp.Announced, Token: 3}, {Type: mptcp.Removed, Token: 3}, {Type: mptcp.Closed, Token: 3},
		{Type: mptcp.SubflowPriority, Token: 3}, {Type: mptcp.ListenerCreated}, {Type: 200},
	} {
		s.handle(e, start)
	}
	k.check(t)
	// A connection on a network that is not managed is left alone.
	docker := established
	docker.Local = ap("172.17.0.1:4711")
	s.handle(docker, start)
	k.check(t, "create 1: 1 10.1.0.2 -> 192.0.2.1:80", "create 1: 2 10.2.0.2 -> 192.0.2.1:80 dev 3 backup")
	s.handle(mptcp.Event{Type: mptcp.SubflowEstablished, Token: 1, LocalID: 1, Local: ap("10.1.0.2:5000"), Remote: ap("192.0.2.1:80")}, start)
	k.check(t)
}

func TestSteererFailures(t *testing.T) {
	s, _, k := steer(wlan, wwan)
	s.handle(created, start)
	k.refuse = errRefused
	now := start
	wait := s.handle(established, now)
	k.check(t, createWwan)
	for i := 1; i < maxFailures; i++ {
		if want := firstPause << (i - 1); wait != want {
			t.Fatalf("wait %v after %d failures, want %v", wait, i, want)
		}
		s.syncAll(now.Add(wait - 1))
		k.check(t)
		now = now.Add(wait)
		wait = s.syncAll(now)
		k.check(t, createWwan)
	}
	if wait := s.syncAll(now.Add(time.Hour)); wait != 0 {
		t.Errorf("wait %v after the last failure", wait)
	}
	k.check(t)
	// With other networks, it may work again. Now the peer refuses.
	k.refuse = nil
	s.changed(now)
	k.check(t, createWwan)
	refused := mptcp.Event{Type: mptcp.SubflowClosed, Token: 1, LocalID: 1, Local: ap("10.2.0.2:0"), Remote: ap("192.0.2.1:80"), Error: 111}
	refused.Local = ap("10.2.0.2:6000")
	if wait := s.handle(refused, now); wait != firstPause {
		t.Errorf("wait %v", wait)
	}
	s.syncAll(now.Add(firstPause))
	k.check(t, createWwan)
	// There is no answer at all.
	if wait := s.syncAll(now.Add(firstPause + time.Second)); wait != pendingLimit-time.Second {
		t.Errorf("wait %v", wait)
	}
	s.syncAll(now.Add(firstPause + pendingLimit + 4*firstPause))
	s.syncAll(now.Add(firstPause + 2*pendingLimit))
	k.check(t, createWwan)
}

func TestSteererAddressesOfThePeer(t *testing.T) {
	six := prefix("wlan0", 2, "2001:db8:1::2/64")
	s, _, k := steer(wlan, wwan, six)
	deny := created
	deny.DenyJoin = true
	s.handle(deny, start)
	s.handle(established, start)
	k.check(t) // nowhere to go
	s.handle(mptcp.Event{Type: mptcp.Announced, Token: 1, RemoteID: 5, Remote: ap("192.0.2.5:0")}, start)
	k.check(t, "create 1: 1 10.2.0.2 -> 192.0.2.5:80 dev 3 backup")
	s.handle(mptcp.Event{Type: mptcp.Announced, Token: 1, RemoteID: 6, Remote: ap("[2001:db8::5]:443")}, start)
	k.check(t, "create 1: 2 2001:db8:1::2 -> [2001:db8::5]:443")
	s.handle(mptcp.Event{Type: mptcp.Removed, Token: 1, RemoteID: 6}, start)
	if got := s.conns[1].remotes(); len(got) != 1 || got[0] != ap("192.0.2.5:80") {
		t.Errorf("remotes %v", got)
	}
}

// On an IPv6 socket that speaks IPv4, the kernel shows mapped addresses. Requests to open a
// subflow have plain addresses, and requests to close one have the kernel's.
func TestSteererMapped(t *testing.T) {
	s, h, k := steer(wlan, eth)
	e := established
	e.Local, e.Remote = ap("[::ffff:10.1.0.2]:4711"), ap("[::ffff:192.0.2.1]:80")
	s.handle(e, start)
	k.check(t, "create 1: 1 10.3.0.2 -> 192.0.2.1:80")
	joined := joinedEth
	joined.LocalID = 1
	s.handle(joined, start)
	h.set(eth)
	s.changed(start)
	k.check(t, "remove 1: 0", "destroy 1: [::ffff:10.1.0.2]:4711 -> [::ffff:192.0.2.1]:80")
}

func TestSteererBackup(t *testing.T) {
	s, h, k := steer(wlan, wwan)
	s.handle(established, start)
	k.check(t, createWwan)
	s.handle(joinedWwan, start)
	h.set(wlan, prefix("wwan0", 3, "10.2.0.2/24"))
	s.changed(start)
	k.check(t, "flags 1: 10.2.0.2:5001 -> 192.0.2.1:80 ")
	s.handle(mptcp.Event{Type: mptcp.SubflowPriority, Token: 1, Local: joinedWwan.Local, Remote: joinedWwan.Remote}, start)
	s.changed(start)
	k.check(t)
}

// After events were lost, and at the start, the kernel's list counts.
func TestSteererAdopt(t *testing.T) {
	s, _, k := steer(wlan, wwan, eth)
	s.handle(mptcp.Event{Type: mptcp.Established, Token: 9, Local: ap("10.1.0.2:9"), Remote: ap("192.0.2.9:80")}, start)
	k.asked()
	first := mptcp.SubflowInfo{Local: created.Local, Remote: created.Remote, First: true, Established: true}
	s.adopt([]mptcp.Connection{
		{Token: 1, Local: created.Local, Remote: created.Remote, Subflows: []mptcp.SubflowInfo{
			first, {Local: joinedWwan.Local, Remote: joinedWwan.Remote, LocalID: 1, Backup: true, Established: true},
		}},
		{Token: 2, Local: created.Local, Remote: created.Remote, Fallback: true, Subflows: []mptcp.SubflowInfo{first}},
		{Token: 3, Local: created.Local, Remote: created.Remote, Server: true, Subflows: []mptcp.SubflowInfo{first}},
		{Token: 4, Local: created.Local, Remote: created.Remote},
		{Token: 5, Local: ap("0.0.0.0:5"), Remote: ap("0.0.0.0:0"), Subflows: []mptcp.SubflowInfo{first}},
	}, start)
	k.check(t, createEth)
	if len(s.conns) != 1 {
		t.Errorf("connections: %v", s.conns)
	}
}

// users is a host with one decision, for a connection of user 1000.
type users struct{ *host }

func (u users) DecisionFor(_, _ netip.AddrPort, uid uint32, _ time.Time) (mam.Record, bool) {
	return mam.Record{Host: "host.test"}, uid == 1000
}

// A connection that its process has closed does not belong to root, and it does not follow
// the decision of a user whose id is unknown.
func TestSteererOwnerGone(t *testing.T) {
	h := newHost(wlan, eth)
	s := newSteerer(&kernel{}, rootOnly{h}, known{err: errRefused}, quiet)
	h.chooser.choose = func(r *policy.SubflowRequest) []policy.Subflow {
		if r.Request != nil {
			t.Errorf("root's decision was taken: %+v", r.Request)
		}
		return nil
	}
	s.adopt([]mptcp.Connection{{
		Token: 1, Local: created.Local, Remote: created.Remote,
		Subflows: []mptcp.SubflowInfo{{Local: created.Local, Remote: created.Remote, First: true, Established: true}},
	}}, start)
	if len(s.conns) != 1 || s.conns[1].owned {
		t.Errorf("%+v", s.conns)
	}
}

// rootOnly is a host with one decision, for a connection of root.
type rootOnly struct{ *host }

func (r rootOnly) DecisionFor(_, _ netip.AddrPort, uid uint32, _ time.Time) (mam.Record, bool) {
	return mam.Record{Host: "root.test"}, uid == 0
}

// Another user's connection does not follow the decision about a request, whatever its
// addresses.
func TestSteererUsers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		uid   uint32
		err   error
		known bool
	}{
		{"the user that asked", 1000, nil, true},
		{"another user", 1001, nil, false},
		{"an unknown user", 0, errRefused, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(wlan, eth)
			s := newSteerer(&kernel{}, users{h}, known{uid: tt.uid, err: tt.err}, quiet)
			known := false
			h.chooser.choose = func(r *policy.SubflowRequest) []policy.Subflow {
				known = r.Request != nil && r.Request.Host == "host.test"
				return nil
			}
			s.handle(established, start)
			if known != tt.known {
				t.Errorf("the decision is known: %v, want %v", known, tt.known)
			}
			// The kernel's list says the same.
			s.adopt([]mptcp.Connection{{
				Token: 1, Local: created.Local, Remote: created.Remote, UID: 1000, Inode: 7,
				Subflows: []mptcp.SubflowInfo{{Local: created.Local, Remote: created.Remote, First: true, Established: true}},
			}}, start)
			if !known {
				t.Error("the decision is not known after the kernel's list")
			}
		})
	}
}
