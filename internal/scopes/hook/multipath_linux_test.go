package hook

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
)

// Sockets of TCP are made for Multipath TCP in a scope that says so, and nowhere else, while the host
// permits it. Such connections are placed like others.
func TestMultipathSockets(t *testing.T) {
	s := newScene(t, true)
	if err := s.bed.Client.Do(s.table.LoadMultipath); errors.Is(err, ErrRights) || errors.Is(err, ErrUnsupported) {
		t.Skip("needs a kernel that lets programs decide on the protocol of sockets: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := s.attachment.AttachMultipath(s.table); err != nil {
		t.Fatal(err)
	}
	if hooks := s.attachment.Hooks(); hooks[len(hooks)-1] != "socket" {
		t.Errorf("hooks: %v", hooks)
	}
	hold := func() error { return s.table.Hold(time.Hour) }
	one, two := s.root.Sub("one"), s.root.Sub("two")
	ids := [2]uint64{}
	for i, path := range []string{one.Path, two.Path} {
		id, err := GroupID(path)
		if ids[i] = id; err != nil {
			t.Fatal(err)
		}
	}
	permit := func(value string) error { return s.bed.Client.Sysctl("net.mptcp.enabled", value) }
	if err := errors.Join(permit("1"), s.bed.Client.Do(hold), s.table.SetWholeGroup(ids[0], 1, Multipath, nil), s.table.SetWholeGroup(ids[1], 2, 0, nil)); err != nil {
		t.Fatal(err)
	}
	s.use(t, 1, s.b, false, false)
	s.use(t, 2, s.b, false, false)
	many, single, elsewhere := startMember(t, s.bed.Client, one), startMember(t, s.bed.Client, two), startMember(t, s.bed.Service.Namespace, one)
	check := func(what string, m *member, how, want string) {
		t.Helper()
		if got := m.dial("protocol", how); got != want {
			t.Errorf("%s, a socket of %s is of protocol %s, want %s", what, how, got, want)
		}
	}
	for _, how := range []string{"tcp4", "tcp4-named", "tcp6"} {
		check("in the scope", many, how, "262")
		check("in another scope", single, how, "6")
		check("in another network namespace", elsewhere, how, "6")
	}
	check("in the scope", many, "udp4", "17")
	check("in the scope", many, "unix", "0")
	if got := many.dial("tcp", web4); got != s.b.Client4.String() {
		t.Errorf("from %s, want %s", got, s.b.Client4)
	}
	if e := s.read(t); !e.Multipath || e.Kind != Place || e.Protocol != TCP {
		t.Errorf("told of as %+v", e)
	}
	follow := func() error { return s.bed.Client.Do(s.table.Follow) }
	if err := errors.Join(permit("0"), follow()); err != nil {
		t.Fatal(err)
	}
	check("while the host forbids it", many, "tcp4", "6")
	if err := errors.Join(permit("1"), follow()); err != nil {
		t.Fatal(err)
	}
	check("when the host permits it again", many, "tcp4", "262")
	if err := s.table.Hold(0); err != nil {
		t.Fatal(err)
	}
	check("when nobody holds the maps", many, "tcp4", "6")
	if err := s.bed.Client.Do(hold); err != nil {
		t.Fatal(err)
	}
	s.attachment.DetachMultipath()
	check("after it is detached", many, "tcp4", "6")
}

// A program that an earlier process has left at work is replaced or removed.
func TestMultipathKept(t *testing.T) {
	s := newScene(t, true)
	s.attachment.Close()
	fs, _ := groupbed.BPF(t)
	dir := fs + "/mamma"
	for _, again := range []bool{true, false} {
		table := loadForTest(t, s.bed.Client)
		if err := table.LoadMultipath(); errors.Is(err, ErrRights) || errors.Is(err, ErrUnsupported) {
			t.Skip("needs a kernel that lets programs decide on the protocol of sockets: ", err)
		} else if err != nil {
			t.Fatal(err)
		}
		a, err := table.Attach(s.root.Path, dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if again {
			if err := a.AttachMultipath(table); err != nil {
				t.Fatal(err)
			}
		} else {
			a.DetachMultipath()
		}
		if _, err := os.Stat(dir + "/socket"); (err == nil) != again {
			t.Errorf("kept: %v, want %v", err, again)
		}
		a.Close()
	}
}
