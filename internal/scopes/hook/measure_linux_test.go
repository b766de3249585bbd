package hook

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// measure attaches again, with the program that measures.
func (s *scene) measure(t *testing.T) {
	t.Helper()
	s.attachment.Close()
	a, err := s.table.Attach(s.root.Path, "", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	s.attachment = a
	if !a.Measures() {
		required.Lacking(t, "needs BPF programs at sock_ops: %v", s.table.Unmeasured())
	}
}

// sink makes a server that reads everything.
func sink(t testing.TB, n *testbed.Namespace, address string) netip.AddrPort {
	t.Helper()
	l, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// until reads the flows until they are as they should be.
func (s *scene) until(t *testing.T, what string, done func(map[netip.AddrPort]Flow) bool) {
	t.Helper()
	for begun := time.Now(); ; {
		flows := map[netip.AddrPort]Flow{} // by local address
		if err := s.table.Flows(func(f *Flow) {
			flows[netip.AddrPortFrom(netip.AddrFrom16(f.Local).Unmap(), f.LocalPort)] = *f
		}); err != nil {
			t.Fatal(err)
		}
		if done(flows) {
			return
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%s: %+v", what, flows)
		}
	}
}

// The kernel measures the connections of all programs below the group, in a scope or not, in both
// families, until they end. It tells of losses, and of connections that get no answer.
func TestMeasured(t *testing.T) {
	s := newScene(t, true)
	s.measure(t)
	m, foreign := startMember(t, s.bed.Client, s.root.Sub("one")), startMember(t, s.bed.Service.Namespace, s.root.Sub("two"))
	remotes := map[netip.AddrPort]netip.AddrPort{} // by local address
	for _, to := range []string{"192.0.2.1:9000", "[2001:db8:ffff::1]:9000"} {
		at := sink(t, s.bed.Service.Namespace, to)
		local, err := netip.ParseAddrPort(m.dial("stay", to))
		if err != nil {
			t.Fatal(err)
		}
		remotes[local] = at
		foreign.dial("stay", to) // in another network namespace
	}
	s.until(t, "both are measured", func(flows map[netip.AddrPort]Flow) bool {
		good := 0
		for local, remote := range remotes {
			f := flows[local]
			if f.Acked > 0 && f.RTT > 0 && f.RTTVar > 0 && f.MinRTT > 0 && f.MinRTT <= 8*f.RTT && f.Sent > 1 && f.Segments > f.Sent && f.Cookie != 0 &&
				f.Timeouts == 0 && f.RemotePort == remote.Port() && netip.AddrFrom16(f.Remote).Unmap() == remote.Addr() {
				good++
			}
		}
		return good == 2 && len(flows) == 2
	})
	undo, err := s.bed.Client.Drop(testbed.Incoming, s.a.Name)
	if err != nil {
		t.Fatal(err)
	}
	m.dial("more", "all")
	s.until(t, "they get no answer", func(flows map[netip.AddrPort]Flow) bool {
		good := 0
		for _, f := range flows {
			if f.Timeouts >= 2 && f.Retrans > 0 && f.Lost > 0 && f.Silent > 0 {
				good++
			}
		}
		return good == 2
	})
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	s.until(t, "they get an answer", func(flows map[netip.AddrPort]Flow) bool {
		good := 0
		for _, f := range flows {
			if f.Timeouts == 0 && f.Retrans > 0 {
				good++
			}
		}
		return good == 2
	})
	m.dial("leave", "all")
	s.until(t, "they have ended", func(flows map[netip.AddrPort]Flow) bool { return len(flows) == 0 })
}

// An entry of any bytes becomes a flow or is refused.
func FuzzParseFlow(f *testing.F) {
	f.Add(uint64(1), make([]byte, flowSize), int64(1))
	f.Fuzz(func(t *testing.T, cookie uint64, b []byte, now int64) {
		var x, again Flow
		err := ParseFlow(cookie, b, time.Duration(now), &x)
		if (err != nil) != (len(b) < flowSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		if x.Cookie != cookie || x.RTT > 1<<29 || x.Silent < 0 && now >= 0 {
			t.Fatalf("%+v", x)
		}
		if err := ParseFlow(cookie, append(b, 1), time.Duration(now), &again); err != nil || again != x {
			t.Fatalf("with more behind it: %+v, %v", again, err)
		}
	})
}

// A kernel without the hook places connections all the same, and says why it measures none. A
// link to the program that an earlier process has left ends where nothing is to be measured.
func TestUnmeasured(t *testing.T) {
	s := newScene(t, true)
	s.measure(t)
	s.attachment.Close()
	fs, _ := groupbed.BPF(t)
	dir := fs + "/mamma"
	l := kernel
	l.load = func(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
		if spec.Type == ebpf.SockOps {
			return nil, fmt.Errorf("load program: %w", unix.EINVAL)
		}
		return kernel.load(spec)
	}
	var lacking *Table
	if err := s.bed.Client.Do(func() (err error) { lacking, err = load(l); return err }); err != nil {
		t.Fatal(err)
	}
	defer lacking.Close()
	if err := lacking.Unmeasured(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("the reason is %v", err)
	}
	if err := lacking.Flows(func(*Flow) {}); err == nil {
		t.Error("it has measured something")
	}
	for _, step := range []struct {
		table   *Table
		measure bool
		want    bool
	}{{s.table, true, true}, {s.table, false, false}, {s.table, true, true}, {lacking, true, false}} {
		a, err := step.table.Attach(s.root.Path, dir, step.measure)
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Stat(dir + "/sockops")
		if a.Measures() != step.want || (err == nil) != step.want || len(a.Hooks()) != len(points) {
			t.Errorf("asked to measure: %v; measures: %v; its link: %v; hooks: %v", step.measure, a.Measures(), err, a.Hooks())
		}
		a.Close()
	}
}
