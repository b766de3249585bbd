package mam

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// flows is a policy that is a function which chooses subflows.
type flows struct {
	chooser
	choose func(*policy.SubflowRequest) []policy.Subflow
}

func (f flows) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow { return f.choose(r) }

func names(list []policy.Subflow) []string {
	var out []string
	for _, s := range list {
		text := s.Prefix.ID.String()
		if s.Remote.IsValid() {
			text += " to " + s.Remote.String()
		}
		if s.Backup {
			text += " backup"
		}
		out = append(out, text)
	}
	return out
}

func TestChooseSubflows(t *testing.T) {
	now := time.Unix(1000, 0)
	remote, mapped := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")
	six := netip.MustParseAddrPort("[2001:db8::1]:80")
	on := func(to ...netip.AddrPort) MultipathConn {
		return MultipathConn{Local: netip.MustParseAddrPort("10.77.1.1:4711"), Remote: to[0], Remotes: to}
	}
	everything := func(r *policy.SubflowRequest) (list []policy.Subflow) {
		for _, p := range r.Prefixes {
			list = append(list, policy.Subflow{Prefix: p})
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		policy policy.Policy
		conn   MultipathConn
		want   []string
	}{
		{"no policy", nil, on(remote), []string{"10.77.2.0/24%wwan0 to 192.0.2.1:80"}},
		{"a policy without opinion", takeFirst, on(remote), []string{"10.77.2.0/24%wwan0 to 192.0.2.1:80"}},
		{"all connections", takeFirst, MultipathConn{}, []string{"10.77.1.0/24%wlan0", "10.77.2.0/24%wwan0", "fd77:1::/64%wlan0", "fd77:2::/64%wwan0"}},
		{"IPv4 on an IPv6 socket", takeFirst, on(mapped), []string{"10.77.2.0/24%wwan0 to [::ffff:192.0.2.1]:80"}},
		{
			"the peer's other family", takeFirst, on(remote, six),
			[]string{"10.77.2.0/24%wwan0 to 192.0.2.1:80", "fd77:1::/64%wlan0 to [2001:db8::1]:80", "fd77:2::/64%wwan0 to [2001:db8::1]:80"},
		},
		{
			"no more at the peer", takeFirst, MultipathConn{Local: netip.MustParseAddrPort("10.77.1.1:4711"), Remote: remote}, nil,
		},
		{
			"the first one is gone", takeFirst,
			MultipathConn{Local: netip.MustParseAddrPort("10.77.1.1:4711"), Remote: remote, Remotes: []netip.AddrPort{remote}, FirstGone: true},
			[]string{"10.77.1.0/24%wlan0 to 192.0.2.1:80", "10.77.2.0/24%wwan0 to 192.0.2.1:80"},
		},
		{"reached by one network only", takeFirst, on(netip.MustParseAddrPort("10.77.2.9:80")), []string{"10.77.2.0/24%wwan0 to 10.77.2.9:80"}},
		{"veto", flows{takeFirst, func(*policy.SubflowRequest) []policy.Subflow { return nil }}, on(remote), nil},
		{
			"the policy's own choice", flows{takeFirst, everything}, on(remote),
			[]string{"10.77.1.0/24%wlan0 to 192.0.2.1:80", "10.77.2.0/24%wwan0 to 192.0.2.1:80"},
		},
		{
			"nonsense is dropped",
			flows{takeFirst, func(r *policy.SubflowRequest) []policy.Subflow {
				return []policy.Subflow{
					{}, {Prefix: prefix("wwan0", 3, "10.77.2.1/24")},
					{Prefix: r.Prefixes[1], Remote: netip.MustParseAddrPort("192.0.2.9:80")},
					{Prefix: r.Prefixes[1], Backup: true},
					{Prefix: r.Prefixes[1], Remote: r.Remotes[0]},
				}
			}},
			on(remote), []string{"10.77.2.0/24%wwan0 to 192.0.2.1:80 backup"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := New(Options{})
			m.Publish(host(tt.policy))
			got, err := m.ChooseSubflows(tt.conn, now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A policy that panics cannot tell what it would veto.
func TestChooseSubflowsPanic(t *testing.T) {
	m := New(Options{})
	m.Publish(host(flows{takeFirst, func(*policy.SubflowRequest) []policy.Subflow { panic("no") }}))
	if got, err := m.ChooseSubflows(MultipathConn{}, time.Now()); err == nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSubflowRequest(t *testing.T) {
	var seen policy.SubflowRequest
	m := New(Options{})
	m.Publish(host(flows{takeFirst, func(r *policy.SubflowRequest) []policy.Subflow { seen = *r; return nil }}))
	rec := Record{Host: "host.test", Service: "80", Intents: intent.Set{}.With(intent.OptFileSize, 1000), App: policy.App{UID: 7}}
	c := MultipathConn{
		Local: netip.MustParseAddrPort("10.77.1.1:4711"), Remote: netip.MustParseAddrPort("192.0.2.1:80"), Decision: &rec,
	}
	if _, err := m.ChooseSubflows(c, time.Unix(5, 0)); err != nil {
		t.Fatal(err)
	}
	if seen.First == nil || seen.First.Interface != "wlan0" || seen.All() || seen.Now != time.Unix(5, 0) {
		t.Errorf("%+v", seen)
	}
	if q := seen.Request; q == nil || q.Host != "host.test" || q.Port != 80 || q.App.UID != 7 || q.Intents != rec.Intents {
		t.Errorf("%+v", q)
	}
}

// byUser is a host whose routing depends on the user. Only user 1000 has a route.
type byUser struct{}

func (byUser) Reach(f Flow) Reach {
	if f.User == 1000 && !f.UserUnknown {
		return Reach{}
	}
	return Reach{Specific: true}
}

// If routing depends on the user, a connection whose user is not known has no route,
// not even root's.
func TestSubflowsByUser(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.1:80")
	for _, tt := range []struct {
		name string
		conn MultipathConn
		want int
	}{
		{"nobody knows", MultipathConn{}, 0},
		{"nobody knows, and an id is left over", MultipathConn{User: 1000}, 0},
		{"the kernel knows", MultipathConn{User: 1000, UserKnown: true}, 1},
		{"root, as the kernel knows", MultipathConn{UserKnown: true}, 0},
		{"by the decision", MultipathConn{Decision: &Record{App: policy.App{UID: 1000}}}, 1},
	} {
		v := host(takeFirst)
		v.Routes = byUser{}
		m := New(Options{})
		m.Publish(v)
		tt.conn.Local, tt.conn.Remote, tt.conn.Remotes = netip.MustParseAddrPort("10.77.1.1:4711"), to, []netip.AddrPort{to}
		if got, err := m.ChooseSubflows(tt.conn, time.Now()); err != nil || len(got) != tt.want {
			t.Errorf("%s: %v, %v; want %d", tt.name, names(got), err, tt.want)
		}
	}
	// Root's routing does not count for other users.
	v := host(takeFirst)
	v.Routes = byRoot{}
	m := New(Options{})
	m.Publish(v)
	c := MultipathConn{Local: netip.MustParseAddrPort("10.77.1.1:4711"), Remote: to, Remotes: []netip.AddrPort{to}}
	if got, err := m.ChooseSubflows(c, time.Now()); err != nil || len(got) != 0 {
		t.Errorf("root's: %v, %v", names(got), err)
	}
}

// byRoot has a route for root only.
type byRoot struct{}

func (byRoot) Reach(f Flow) Reach {
	return Reach{Specific: f.User != 0 || f.UserUnknown}
}

func TestDecisionFor(t *testing.T) {
	now := time.Unix(10000, 0)
	wlan, wwan := prefix("wlan0", 2, "10.77.1.1/24"), prefix("wwan0", 3, "10.77.2.1/24")
	local, remote := netip.MustParseAddrPort("10.77.1.1:4711"), netip.MustParseAddrPort("192.0.2.1:80")
	reported := func(port uint16, candidate int32) *Outcome { return &Outcome{LocalPort: port, Candidate: candidate} }
	multi := policy.Decision{Prefix: wlan, Multipath: true}
	good := Record{Time: now, Host: "host.test", Service: "80", Decision: multi, Kind: policy.SocketConnect, App: policy.App{UID: 1000}}
	with := func(edit func(*Record)) Record { r := good; edit(&r); return r }
	for _, tt := range []struct {
		name string
		recs []Record
		want int // index, -1: none
	}{
		{"nothing", nil, -1},
		{"reported port", []Record{with(func(r *Record) { r.Outcome = reported(4711, 0) }), good}, 0},
		{"the latest of two", []Record{good, good}, 1},
		{"another port reported", []Record{with(func(r *Record) { r.Outcome = reported(4712, 0) })}, -1},
		{"failed", []Record{with(func(r *Record) { r.Outcome = &Outcome{LocalPort: 4711, Errno: 111} })}, -1},
		{"by addresses", []Record{good}, 0},
		{"without MPTCP", []Record{with(func(r *Record) { r.Decision.Multipath = false })}, -1},
		{"reported without MPTCP", []Record{with(func(r *Record) { r.Decision.Multipath, r.Outcome = false, reported(4711, 0) })}, 0},
		{"on another prefix", []Record{with(func(r *Record) { r.Decision.Prefix = wwan })}, -1},
		{"on an alternate", []Record{with(func(r *Record) {
			r.Decision = policy.Decision{Prefix: wwan, Alternates: []*policy.Prefix{wlan}, Multipath: true}
		})}, 0},
		{"dialled plainly", []Record{with(func(r *Record) { r.Decision.Prefix, r.Outcome = wwan, reported(4711, -1) })}, 0},
		{"no preference", []Record{with(func(r *Record) { r.Decision.Prefix = nil })}, 0},
		{"old", []Record{with(func(r *Record) { r.Time = now.Add(-time.Minute) })}, -1},
		{"old, reported", []Record{with(func(r *Record) { r.Time, r.Outcome = now.Add(-time.Minute), reported(4711, 0) })}, 0},
		{"another service", []Record{with(func(r *Record) { r.Service = "443" })}, -1},
		{"service by name", []Record{with(func(r *Record) { r.Service = "http" })}, 0},
		{"another literal address", []Record{with(func(r *Record) { r.Host = "192.0.2.2" })}, -1},
		{"this remote address", []Record{with(func(r *Record) { r.Kind, r.Host, r.Service, r.Remote = policy.Connect, "", "", remote })}, 0},
		{"another remote address", []Record{with(func(r *Record) { r.Remote = netip.MustParseAddrPort("192.0.2.1:81") })}, -1},
		{"another user's", []Record{with(func(r *Record) { r.App.UID = 1001 })}, -1},
		{"another user's report", []Record{with(func(r *Record) { r.App.UID, r.Outcome = 1001, reported(4711, 0) })}, -1},
		{"one's own, although another user's is later", []Record{good, with(func(r *Record) { r.App.UID = 1001 })}, 0},
		{"datagrams", []Record{with(func(r *Record) { r.Network.Transport = policy.Datagram })}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := New(Options{Keep: 4})
			var ids []uuid.UUID
			for _, r := range tt.recs {
				ids = append(ids, m.ring.add(&r))
			}
			got, ok := m.DecisionFor(local, remote, 1000, now)
			if ok != (tt.want >= 0) || ok && got.ID != ids[tt.want] {
				t.Errorf("found %v, %v", ok, got)
			}
		})
	}
}

// An original client names its socket by the inode, and so does the original's kernel
// later.
func TestDecisionByInode(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	for _, inode := range []uint64{0, 50370, 50371, 50370} {
		d.dial(t).ask(&wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
			Inode: inode, FD: 3, Domain: wire.AFInet, Type: wire.SockStream, Remote: sockAddr("192.0.2.4:80"),
		}})
	}
	for inode, want := range map[uint64]uint64{50370: 4, 50371: 3, 1: 0, 0: 0} {
		if rec, ok := d.DecisionByInode(inode, uint32(os.Getuid())); rec.Seq != want || ok != (want != 0) {
			t.Errorf("inode %d: decision %d, %v, want %d", inode, rec.Seq, ok, want)
		}
		if rec, ok := d.DecisionByInode(inode, uint32(os.Getuid()+1)); ok {
			t.Errorf("inode %d of another user: decision %d", inode, rec.Seq)
		}
	}
}

func TestOnReconfigure(t *testing.T) {
	called := 0
	m := New(Options{OnReconfigure: func() { called++ }})
	m.Publish(host(takeFirst))
	if err := m.Reconfigure("x"); err == nil || called != 0 {
		t.Errorf("%v, called %d times", err, called)
	}
}
