package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// Every kind of socket of a scope's members uses the scope's network, and the ring buffer
// has a record of each. Sockets of others are not changed.
func TestPlace(t *testing.T) {
	for _, byDevice := range []bool{false, true} {
		t.Run(fmt.Sprintf("by device %v", byDevice), func(t *testing.T) {
			s := newScene(t, !byDevice)
			one, other := s.root.Sub("one"), s.root.Sub("other")
			s.put(t, one, 1, false)
			s.use(t, 1, s.b, byDevice, false)
			in, out := startMember(t, s.bed.Client, one), startMember(t, s.bed.Client, other)
			for _, d := range []struct {
				how, to string
				v6      bool
			}{
				{"tcp", web4, false}, {"tcp", web6, true}, {"mapped", web4, false}, {"udp", web4, false}, {"udp", web6, true},
			} {
				want, plain := s.b.Client4.String(), s.a.Client4.String()
				if d.v6 {
					want, plain = s.b.Client6.String(), s.a.Client6.String()
				}
				if got := in.dial(d.how, d.to); got != want {
					t.Errorf("%s %s in the scope: from %s, want %s", d.how, d.to, got, want)
				}
				e := s.read(t)
				if e.Kind != Place || e.Scope != 1 || e.Answer != 1 || e.Remote.String() != d.to || !e.Usual || e.Errno != 0 || e.Process == 0 {
					t.Errorf("%s %s is told of as %+v", d.how, d.to, e)
				}
				if got := out.dial(d.how, d.to); got != plain {
					t.Errorf("%s %s outside: from %s, want %s", d.how, d.to, got, plain)
				}
			}
		})
	}
}

// A socket with a port of the kernel's choice can no longer be bound to an address, so it
// is bound to the device.
func TestPort(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for _, how := range []string{"port", "mapped-any"} {
		if got, want := m.dial(how, web4), s.b.Client4.String(); got != want {
			t.Errorf("%s: from %s, want %s", how, got, want)
		}
		if e := s.read(t); !e.HasPort || e.Kind != Place {
			t.Errorf("%s: told of as %+v", how, e)
		}
	}
}

// The kernel may be told to choose from other ports at any time.
func TestPortsOfTheKernel(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for _, ports := range []string{"20000 20500", "40000 40500"} {
		if err := errors.Join(s.bed.Client.Sysctl("net/ipv4/ip_local_port_range", ports), s.bed.Client.Do(s.table.Follow)); err != nil {
			t.Fatal(err)
		}
		if got, want := m.dial("port", web4), s.b.Client4.String(); got != want {
			t.Errorf("%s: from %s, want %s", ports, got, want)
		}
	}
}

// Of the daemon's number, only the process in the daemon's control group is left alone. After the
// daemon's end, another process may have the number.
func TestSelf(t *testing.T) {
	s := newScene(t, true)
	if !s.table.KnowsProcess() {
		t.Skip("needs a kernel that tells the process to these programs (Linux 6.10)")
	}
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	g := s.root.Sub("one")
	m := startMember(t, s.bed.Client, g)
	if got, want := m.dial("tcp", web4), s.b.Client4.String(); got != want {
		t.Fatalf("from %s, want %s", got, want)
	}
	pid := s.read(t).Process
	theirs, err := GroupID(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		group uint64
		want  netip.Addr
	}{
		"in the group":     {theirs, s.a.Client4},
		"in another group": {theirs + 1, s.b.Client4},
		"unknown":          {0, s.a.Client4},
	} {
		b, err := s.table.maps["settings"].LookupBytes(make([]byte, 4))
		if err != nil {
			t.Fatal(err)
		}
		binary.NativeEndian.PutUint32(b[settingsSelf:], pid)
		binary.NativeEndian.PutUint64(b[settingsGroup:], tt.group)
		if err := put(s.table.maps["settings"], make([]byte, 4), b); err != nil {
			t.Fatal(err)
		}
		if got := m.dial("tcp", web4); got != tt.want.String() {
			t.Errorf("%s: from %s, want %v", name, got, tt.want)
		}
	}
	if own, err := ownGroupID(); err != nil || own == 0 {
		t.Errorf("the control group of this process is %d, %v", own, err)
	}
}

// A socket with a mark is left to the routes for that mark.
func TestMark(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for how, want := range map[string]string{"tcp": s.b.Client4.String(), "mark": s.a.Client4.String()} {
		got := m.dial(how, web4)
		if strings.HasPrefix(got, fmt.Sprintf("error %d", syscall.EPERM)) {
			t.Skip("needs the right to set SO_MARK (CAP_NET_ADMIN)")
		}
		if got != want {
			t.Errorf("%s: from %s, want %s", how, got, want)
		}
	}
}

// Loopback and the host's own link are left alone. So are destinations with routes of their own
// until they have an answer, unless the scope is strict: then they are refused. An answer for a
// destination comes before the usual one.
func TestDestinations(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, true)
	s.use(t, 1, s.b, false, true)
	lax := s.root.Sub("lax")
	s.put(t, lax, 2, false)
	s.use(t, 2, s.b, false, false)
	l, err := s.bed.Client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only listened at
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	if got := m.dial("tcp", l.Addr().String()); got != "127.0.0.1" {
		t.Errorf("loopback: from %s", got)
	}
	link := netip.AddrPortFrom(s.a.Gateway4, 80)
	if err := s.table.SetAside(s.a.Prefix4); err != nil {
		t.Fatal(err)
	}
	if got := startMember(t, s.bed.Client, lax).dial("tcp", link.String()); got != s.a.Client4.String() {
		t.Errorf("aside: from %s", got)
	}
	if e := s.read(t); e.Kind != Leave || !e.Aside || e.Remote != link {
		t.Errorf("aside is told of as %+v", e)
	}
	for _, how := range []string{"tcp", "udp", "mapped", "send"} {
		if got := m.dial(how, link.String()); !strings.HasPrefix(got, fmt.Sprintf("error %d", s.errno(syscall.ENETUNREACH))) {
			t.Errorf("aside, %s, strict: from %s", how, got)
		}
		if e := s.read(t); e.Kind != Refuse || !e.Aside || e.Remote != link {
			t.Errorf("aside, %s, strict, is told of as %+v", how, e)
		}
	}
	key := Key{Scope: 1, User: uint32(os.Geteuid()), Protocol: TCP, Remote: netip.MustParseAddrPort(web4)}
	if err := s.table.SetAnswer(key, Answer{ID: 7, Kind: Place, First: Way{Source: s.a.Client4, Device: s.a.Name}}); err != nil {
		t.Fatal(err)
	}
	if got := m.dial("tcp", web4); got != s.a.Client4.String() {
		t.Errorf("with an answer: from %s", got)
	}
	if e := s.read(t); e.Answer != 7 || e.Usual || e.Key != key {
		t.Errorf("with an answer it is told of as %+v", e)
	}
	if err := s.table.DropAnswer(key); err != nil {
		t.Fatal(err)
	}
	if got := m.dial("tcp", web4); got != s.b.Client4.String() {
		t.Errorf("without the answer: from %s", got)
	}
}

// Without a decision, a strict scope refuses, and other scopes leave connections to the
// kernel. The same holds if nobody holds the maps to be right any more.
func TestUndecided(t *testing.T) {
	s := newScene(t, true)
	strict, lax := s.root.Sub("strict"), s.root.Sub("lax")
	s.put(t, strict, 1, true)
	s.put(t, lax, 2, false)
	in, out := startMember(t, s.bed.Client, strict), startMember(t, s.bed.Client, lax)
	check := func(what string, wantIn, wantOut string) {
		t.Helper()
		for _, d := range []string{"tcp " + web4, "udp " + web4, "mapped " + web4} {
			how, to, _ := strings.Cut(d, " ")
			if got := in.dial(how, to); !strings.HasPrefix(got, wantIn) {
				t.Errorf("%s, %s, strict: %s, want %s", what, d, got, wantIn)
			}
			if got := out.dial(how, to); got != wantOut {
				t.Errorf("%s, %s: %s, want %s", what, d, got, wantOut)
			}
		}
	}
	check("nothing decided", fmt.Sprintf("error %d", s.errno(syscall.ENETUNREACH)), s.a.Client4.String())
	s.use(t, 1, s.b, false, true)
	s.use(t, 2, s.b, false, false)
	check("decided", s.b.Client4.String(), s.b.Client4.String())
	if err := s.table.Hold(-time.Second); err != nil {
		t.Fatal(err)
	}
	check("out of date", fmt.Sprintf("error %d", s.errno(syscall.ENETUNREACH)), s.a.Client4.String())
}

// A refused call fails with the error of the answer, at once, at every hook.
func TestRefused(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for said, want := range map[syscall.Errno]syscall.Errno{0: syscall.EACCES, syscall.ENETUNREACH: syscall.ENETUNREACH, syscall.EHOSTUNREACH: syscall.EHOSTUNREACH} {
		want = s.errno(want)
		for _, p := range []Protocol{TCP, UDP} {
			for _, v6 := range []bool{false, true} {
				if err := s.table.SetUsual(Usual{Scope: 1, Protocol: p, V6: v6}, Answer{ID: 1, Kind: Refuse, Errno: said}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, d := range []string{"tcp " + web4, "tcp " + web6, "udp " + web4, "udp " + web6, "mapped " + web4, "send " + web4, "send " + web6} {
			how, to, _ := strings.Cut(d, " ")
			if got := m.dial(how, to); !strings.HasPrefix(got, fmt.Sprintf("error %d:", want)) {
				t.Errorf("%s: %s, want error %d", d, got, want)
			}
			if e := s.read(t); e.Kind != Refuse || e.Errno != 0 {
				t.Errorf("%s is told of as %+v", d, e)
			}
			if how == "send" { // one record a second and destination
				if err := s.table.maps["told"].Delete(s.told(t, to)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := s.table.SetUsual(Usual{Scope: 1, Protocol: TCP, V6: false}, Answer{Kind: Refuse, Errno: maxErrno}); err == nil {
		t.Error("a number that is not an error is taken")
	}
}

// If an address has gone, the record says so. If no other network is permitted, the call
// fails.
func TestCannotBind(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for _, only := range []bool{false, true} {
		a := Answer{ID: 3, Kind: Place, First: Way{Source: netip.MustParseAddr("203.0.113.9"), Device: "wwan0"}, Only: only}
		if err := s.table.SetUsual(Usual{Scope: 1, Protocol: TCP, V6: false}, a); err != nil {
			t.Fatal(err)
		}
		got := m.dial("tcp", web4)
		if want := s.a.Client4.String(); !only && got != want || only && !strings.HasPrefix(got, fmt.Sprintf("error %d:", s.errno(syscall.ENETUNREACH))) {
			t.Errorf("only %v: %s", only, got)
		}
		if e := s.read(t); e.Errno != syscall.EADDRNOTAVAIL || (e.Kind == Refuse) != only {
			t.Errorf("only %v: told of as %+v", only, e)
		}
	}
}

// As soon as a network is said to be down, sockets of all kinds take the alternate of their
// answer, whether it is a usual one or that of the destination, and whether they are bound by
// address or by device. When it is up again, they take it again. If both are down, the call
// fails where only these two are permitted.
func TestNetworkDown(t *testing.T) {
	for _, byDevice := range []bool{false, true} {
		t.Run(fmt.Sprintf("by device %v", byDevice), func(t *testing.T) {
			s := newScene(t, !byDevice)
			s.put(t, s.root, 1, false)
			first := func(n *testbed.Network, number Network, v6 bool) Way {
				w := Way{Source: n.Client4, Device: n.Name, ByDevice: byDevice, Network: number}
				if v6 {
					w.Source = n.Client6
				}
				return w
			}
			use := func(only bool) {
				t.Helper()
				for _, p := range []Protocol{TCP, UDP} {
					for _, v6 := range []bool{false, true} {
						a := Answer{ID: 1, Kind: Place, First: first(s.b, 7, v6), Alternate: first(s.a, MaxNetworks-1, v6), Only: only}
						if err := s.table.SetUsual(Usual{Scope: 1, Protocol: p, V6: v6}, a); err != nil {
							t.Fatal(err)
						}
					}
				}
				key := Key{Scope: 1, User: uint32(os.Geteuid()), Protocol: TCP, Remote: netip.MustParseAddrPort(closed)}
				if err := s.table.SetAnswer(key, Answer{ID: 2, Kind: Place, First: first(s.b, 7, false), Alternate: first(s.a, MaxNetworks-1, false), Only: only}); err != nil {
					t.Fatal(err)
				}
			}
			m := startMember(t, s.bed.Client, s.root.Sub("one"))
			ways := []string{"tcp " + web4, "tcp " + web6, "mapped " + web4, "udp " + web4, "udp " + web6, "udp " + closed, "port " + web4}
			check := func(what string, down []Network, want *testbed.Network, alternate bool) {
				t.Helper()
				var states [MaxNetworks]bool
				for _, n := range down {
					states[n] = true
				}
				if err := s.table.SetDown(&states); err != nil {
					t.Fatal(err)
				}
				for _, d := range ways {
					how, to, _ := strings.Cut(d, " ")
					got, e := m.dial(how, to), s.read(t)
					if want == nil {
						if !strings.HasPrefix(got, fmt.Sprintf("error %d:", s.errno(syscall.ENETUNREACH))) || e.Kind != Refuse || !e.Down || e.Alternate {
							t.Errorf("%s: %s, told of as %+v", what, got, e)
						}
						continue
					}
					source := want.Client4.String()
					if strings.HasPrefix(to, "[") {
						source = want.Client6.String()
					}
					if got != source || e.Kind != Place || e.Alternate != alternate || e.Down != (len(down) > 1) || e.Errno != 0 {
						t.Errorf("%s, %s: from %s, want %s; told of as %+v", what, d, got, source, e)
					}
				}
			}
			use(false)
			check("both up", nil, s.b, false)
			check("first down", []Network{7}, s.a, true)
			check("first up again", nil, s.b, false)
			check("alternate down", []Network{MaxNetworks - 1}, s.b, false)
			check("both down", []Network{7, MaxNetworks - 1}, s.b, false)
			use(true)
			check("first down, only these", []Network{7}, s.a, true)
			check("both down, only these", []Network{7, MaxNetworks - 1}, nil, false)
			s.use(t, 1, s.b, byDevice, true) // no alternate, and a network without a number
			check("others down", []Network{1}, s.b, false)
		})
	}
}

// Datagrams of sockets that are not connected get their source one by one. If a source is
// not enough, they are left alone or refused.
func TestDatagrams(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, false, false)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for _, to := range []string{"192.0.2.1:4000", "[2001:db8:ffff::1]:4000"} {
		p, err := s.bed.Service.ListenPacket("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close() //nolint:errcheck // only read
		for _, how := range []string{"send", "send-any"} {
			if got := m.dial(how, to); got != "sent" {
				t.Fatalf("%s: %s", to, got)
			}
			_ = p.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, from, err := p.ReadFrom(make([]byte, 10))
			if err != nil {
				t.Fatal(err)
			}
			if n := s.bed.NetworkOf(from.(*net.UDPAddr).AddrPort().Addr().Unmap()); n != s.b {
				t.Errorf("%s %s: from %v", how, to, from)
			}
		}
		if e := s.read(t); e.Kind != Place || !e.Datagram || e.Remote.String() != to {
			t.Errorf("%s is told of as %+v", to, e)
		}
	}
	s.use(t, 1, s.b, true, true)
	if got := m.dial("send", "192.0.2.1:4001"); !strings.HasPrefix(got, "error") {
		t.Errorf("where a device is needed: %s", got)
	}
}

// The most specific member counts, by user and command. A group that is not known yet is
// treated like the one above it.
func TestMembers(t *testing.T) {
	s := newScene(t, true)
	m := startMember(t, s.bed.Client, s.root.Sub("a/b/c"))
	id, err := GroupID(s.root.Path)
	if err != nil {
		t.Fatal(err)
	}
	me, nobody := uint32(os.Geteuid()), uint32(65534)
	command := "exe"
	s.use(t, 1, s.a, false, false)
	s.use(t, 2, s.b, false, false)
	var forms Forms
	for _, step := range []struct {
		m     Member
		scope uint32
		want  *testbed.Network
	}{
		{Member{Class: 9}, 2, s.b},
		{Member{Class: 9, User: &nobody}, 1, s.b},
		{Member{Class: 9, User: &me}, 1, s.a},
		{Member{Class: 9, Command: "cat"}, 1, s.a},
		{Member{Class: 9, Command: command}, 2, s.b},
		{Member{Class: 9, Command: command, User: &me}, 1, s.a},
		{Member{Class: 9, Command: command, User: &me}, 0, s.a}, // in no scope: the kernel's way
	} {
		forms |= step.m.Form()
		if err := errors.Join(s.table.SetMember(step.m, step.scope, 0, nil), s.table.SetGroup(id, 9, forms)); err != nil {
			t.Fatal(err)
		}
		if got := m.dial("tcp", web4); got != step.want.Client4.String() {
			t.Errorf("with %+v in %d: from %s, want %s", step.m, step.scope, got, step.want.Name)
		}
	}
	if got := s.read(t); got.Command != command {
		t.Errorf("the command is %q", got.Command)
	}
}

// Rules give connections of one scope other answers, by port, destination and command, also
// from an IPv6 socket to IPv4, and for datagrams. An answer for a destination is for one
// variant only.
func TestRules(t *testing.T) {
	s := newScene(t, true)
	g := s.root.Sub("one")
	id, err := GroupID(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	const port, network, command = 1, 2, 4 // rules
	service := netip.PrefixFrom(testbed.ServiceAddr4, 24).Masked()
	r := &Rules{
		Ports:    []PortFits{{0, 0, network | command}, {80, 16, port | network | command}, {8192, 3, port | network | command}},
		Networks: []NetworkFits{{netip.MustParsePrefix("0.0.0.0/0"), port | command}, {netip.MustParsePrefix("::/0"), port | command}, {service, port | network | command}},
		Commands: []CommandFits{{"", port | network}, {"exe", port | network | command}},
		Variants: []VariantFits{
			{port | network | command, 1}, {network | command, 2}, {port | command, 3}, {command, 4}, {port | network, 5},
		},
	}
	if err := s.table.SetRules(1, r); err != nil {
		t.Fatal(err)
	}
	other := *r
	other.Commands = []CommandFits{{"", port | network}}
	if err := s.table.SetRules(2, &other); err != nil {
		t.Fatal(err)
	}
	m := Member{Class: 1}
	whole := false // the scope has all processes of the group
	use := func(scope uint32, r *Rules) {
		t.Helper()
		if whole {
			if err := s.table.SetWholeGroup(id, scope, 0, r); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := errors.Join(s.table.SetGroup(id, 1, m.Form()), s.table.SetMember(m, scope, 0, r)); err != nil {
			t.Fatal(err)
		}
	}
	for v := range Variant(6) {
		for _, p := range []Protocol{TCP, UDP} {
			for _, v6 := range []bool{false, true} {
				a := Answer{ID: 100 + uint64(v), Kind: Place, First: Way{Source: s.b.Client4, Device: s.b.Name}}
				if v6 {
					a.First.Source = s.b.Client6
				}
				if err := errors.Join(s.table.SetUsual(Usual{1, p, v6, v}, a), s.table.SetUsual(Usual{2, p, v6, v}, a)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	use(1, r)
	program := startMember(t, s.bed.Client, g)
	check := func(what, how, to string, want Variant) {
		t.Helper()
		program.dial(how, to)
		if e := s.read(t); e.Variant != want || e.Answer != 100+uint64(want) || e.Kind != Place || e.Remote.String() != to {
			t.Errorf("%s, %s %s: told of as %+v, want variant %d", what, how, to, e, want)
		}
	}
	check("all three", "tcp", web4, 1)
	check("all three", "mapped", web4, 1)
	check("all three", "udp", web4, 1)
	check("all three", "send", web4, 1)
	check("another port", "udp", "192.0.2.1:81", 2)
	check("within a range", "udp", "192.0.2.1:16383", 1)
	check("beyond a range", "udp", "192.0.2.1:16384", 2)
	check("another family", "udp", web6, 3)
	check("another destination", "udp", "198.51.100.1:80", 3)
	check("the command only", "udp", "198.51.100.1:443", 4)
	use(2, &other)
	check("another command", "udp", web4, 5)
	check("no set of rules that is listed", "udp", "192.0.2.1:81", 0)
	whole = true
	use(2, &other)
	check("another command", "udp", web4, 5)
	use(1, r)
	check("all three", "mapped", web4, 1)
	check("another port", "send", "192.0.2.1:81", 2)
	check("the command only", "udp", "198.51.100.1:443", 4)
	key := Key{Scope: 1, User: uint32(os.Geteuid()), Protocol: UDP, Remote: netip.MustParseAddrPort(web4), Variant: 2}
	if err := s.table.SetAnswer(key, Answer{ID: 102, Kind: Leave}); err != nil {
		t.Fatal(err)
	}
	check("an answer for another variant", "udp", web4, 1)
	key.Variant = 1
	if err := s.table.SetAnswer(key, Answer{ID: 7, Kind: Leave}); err != nil {
		t.Fatal(err)
	}
	program.dial("udp", web4)
	if e := s.read(t); e.Key != key || e.Answer != 7 {
		t.Errorf("with an answer of its own it is told of as %+v", e)
	}
	use(1, nil) // as in a scope without rules
	check("without rules", "udp", web4, 0)
	for _, name := range []string{"ports", "networks", "commands", "variants"} {
		if n := s.entries(t, name); n == 0 {
			t.Errorf("nothing in %s", name)
		}
	}
	if err := errors.Join(s.table.DropRules(1, r), s.table.DropRules(2, &other), s.table.DropRules(2, &other)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ports", "networks", "commands", "variants"} {
		if n := s.entries(t, name); n != 0 {
			t.Errorf("%d left in %s", n, name)
		}
	}
	use(1, r)
	check("rules that are gone", "udp", web4, 0)
}

// Sockets of another network namespace are left alone.
func TestNamespace(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, true)
	m := startMember(t, s.bed.Service.Namespace, s.root.Sub("one"))
	if got := m.dial("tcp", web4); got != "192.0.2.1" {
		t.Errorf("from %s", got)
	}
}
