package hook

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
)

// attachOther attaches somebody else's program to connect4.
func attachOther(t *testing.T, group string, body ...asm.Instruction) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "other", Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, Instructions: body, License: "BSD",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close() //nolint:errcheck // the link holds it
	l, err := link.AttachCgroup(link.CgroupOptions{Path: group, Attach: ebpf.AttachCGroupInet4Connect, Program: prog})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// Programs of others run on beside ours. A connection that one of them refuses is
// refused, and a socket that one of them has bound stays bound.
func TestBesideOthers(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, false)
	s.use(t, 1, s.b, true, false)
	free, refused, bound := s.root.Sub("free"), s.root.Sub("refused"), s.root.Sub("bound")
	attachOther(t, s.root.Path, asm.Mov.Imm(asm.R0, 1), asm.Return())
	attachOther(t, refused.Path, asm.Mov.Imm(asm.R0, 0), asm.Return())
	var name [8]byte // of wlan0
	copy(name[:], s.a.Name)
	attachOther(t, bound.Path,
		asm.LoadImm(asm.R2, int64(littleEndian(name)), asm.DWord), asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.RFP), asm.Add.Imm(asm.R4, -8), asm.Mov.Imm(asm.R5, 8),
		asm.Mov.Imm(asm.R2, unix.SOL_SOCKET), asm.Mov.Imm(asm.R3, unix.SO_BINDTODEVICE), asm.FnSetsockopt.Call(),
		asm.Mov.Imm(asm.R0, 1), asm.Return(),
	)
	for _, tt := range []struct {
		g    *groupbed.Group
		want string
	}{{free, s.b.Client4.String()}, {refused, fmt.Sprintf("error %d", unix.EPERM)}, {bound, s.a.Client4.String()}} {
		if got := startMember(t, s.bed.Client, tt.g).dial("tcp", web4); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.g.Path, got, tt.want)
		}
	}
}

func littleEndian(b [8]byte) (n uint64) {
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// If the hooks for datagrams are missing, the others work. If those for connections are
// missing, nothing works. If a helper is missing, a refused call fails with another error.
func TestKernelsThatLack(t *testing.T) {
	s := newScene(t, true)
	s.attachment.Close()
	lacks := func(names ...string) loader {
		l := kernel
		l.load = func(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
			for _, n := range names {
				if spec.Name == "mamma_"+n {
					return nil, fmt.Errorf("load program: %w", unix.EINVAL)
				}
			}
			return kernel.load(spec)
		}
		l.helper = func(asm.BuiltinFunc) error { return ebpf.ErrNotSupported }
		return l
	}
	loadIn := func(l loader) (table *Table, err error) {
		err = s.bed.Client.Do(func() (err error) { table, err = load(l); return err })
		return table, err
	}
	for _, name := range []string{"connect4", "connect6"} {
		if _, err := loadIn(lacks(name)); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	refusing := kernel
	refusing.load = func(*ebpf.ProgramSpec) (*ebpf.Program, error) { return nil, unix.EPERM }
	if _, err := loadIn(refusing); !errors.Is(err, ErrRights) {
		t.Errorf("without rights: %v", err)
	}
	table, err := loadIn(lacks("sendmsg4", "sendmsg6"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if got := strings.Join(table.Missing(), " "); got != "sendmsg4 sendmsg6" {
		t.Errorf("missing: %s", got)
	}
	a, err := table.Attach(s.root.Path, "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := strings.Join(a.Hooks(), " "); got != "connect4 connect6" {
		t.Errorf("attached: %s", got)
	}
	s.table = table
	s.put(t, s.root, 1, true)
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	if got := m.dial("tcp", web4); !strings.HasPrefix(got, fmt.Sprintf("error %d", unix.EPERM)) {
		t.Errorf("refused without bpf_set_retval: %s", got)
	}
}

// A socket of Multipath TCP is placed like any other, also if only one network is
// permitted. The record tells which it is.
func TestMultipath(t *testing.T) {
	s := newScene(t, true)
	s.put(t, s.root, 1, true)
	s.use(t, 1, s.b, false, true)
	l, err := s.bed.Service.Listen("tcp", "192.0.2.1:8080") // takes both
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only listened at
	m := startMember(t, s.bed.Client, s.root.Sub("one"))
	for _, how := range []string{"tcp", "mptcp"} {
		if got := m.dial(how, l.Addr().String()); got != s.b.Client4.String() {
			t.Errorf("%s: from %s", how, got)
		}
		if e := s.read(t); e.Multipath != (how == "mptcp" && s.table.can.multipath) {
			t.Errorf("%s is told of as %+v", how, e)
		}
	}
}
