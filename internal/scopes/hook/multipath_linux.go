package hook

import (
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// making is where a program decides that a socket is made for Multipath TCP: a function of the
// kernel that is there for this (since Linux 6.6).
var making = point{name: "socket", attach: ebpf.AttachModifyReturn}

// makingFunction takes family, type and protocol of a socket. Its result is the protocol of which
// the socket will be.
const makingFunction = "update_socket_protocol"

// multipathProgram makes the program that makes TCP sockets of some scopes into sockets of
// Multipath TCP. A program of this type does not learn the network namespace by a helper, so it
// looks where the kernel's own type information says.
func multipathProgram(can abilities, maps map[string]*ebpf.Map) (*ebpf.ProgramSpec, error) {
	proxy, net, cookie, err := namespaceOffsets()
	if err != nil {
		return nil, err
	}
	w := &writer{point: making, can: can, maps: maps}
	w.add(asm.Mov.Reg(ctx, asm.R1), asm.Mov.Imm(asm.R0, 0))
	for at := int16(-8); at >= stackEnd; at -= 8 {
		w.add(asm.StoreMem(asm.RFP, at, asm.R0, asm.DWord))
	}
	w.add(
		asm.LoadMem(asm.R1, ctx, 0, asm.DWord), asm.Mov.Reg32(asm.R1, asm.R1),
		asm.JEq.Imm(asm.R1, unix.AF_INET, "family"),
		asm.JNE.Imm(asm.R1, unix.AF_INET6, "pass"),
	)
	w.at("family")
	w.add(
		asm.LoadMem(asm.R1, ctx, 8, asm.DWord), asm.And.Imm(asm.R1, 0xf), // without SOCK_NONBLOCK and SOCK_CLOEXEC
		asm.JNE.Imm(asm.R1, unix.SOCK_STREAM, "pass"),
		asm.LoadMem(asm.R1, ctx, 16, asm.DWord), asm.Mov.Reg32(asm.R1, asm.R1),
		asm.JEq.Imm(asm.R1, 0, "protocol"),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, "pass"),
	)
	w.at("protocol")
	w.add(
		asm.LoadMapValue(settings, w.maps["settings"].FD(), 0),
		asm.LoadMem(asm.R1, settings, settingsMPTCP, asm.Word), asm.JEq.Imm(asm.R1, 0, "pass"), // socket(2) would fail
		asm.FnGetCurrentTaskBtf.Call(),
		asm.LoadMem(asm.R1, asm.R0, proxy, asm.DWord), asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R1, net, asm.DWord), asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R1, cookie, asm.DWord),
		asm.LoadMem(asm.R2, settings, settingsNetns, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.FnGetCurrentPidTgid.Call(), asm.RSh.Imm(asm.R0, 32),
		asm.LoadMem(asm.R1, settings, settingsSelf, asm.Word),
		asm.JEq.Reg(asm.R0, asm.R1, "pass"),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, settings, settingsDeadline, asm.DWord),
		asm.JGT.Reg(asm.R0, asm.R1, "pass"),
	)
	w.caller()
	w.scope()
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word), asm.And.Imm(asm.R1, int32(Multipath)),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.Mov.Imm(asm.R0, unix.IPPROTO_MPTCP), asm.Return(),
	)
	w.at("pass")
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return()) // the kernel's own function goes on
	return &ebpf.ProgramSpec{
		Name: "mamma_" + making.name, Type: ebpf.Tracing, AttachType: making.attach, AttachTo: makingFunction,
		// The kernel has what the helper above returns for programs under the GPL only. Ours is under
		// the BSD licence, which permits this.
		Instructions: w.out, License: "Dual BSD/GPL",
	}, nil
}

// LoadMultipath loads the program for scopes with [Multipath]. It needs the rights that Load needs.
// The error wraps ErrUnsupported if the kernel lacks what is needed (Linux 6.6 with type information,
// and tracing programs that may change results), and ErrRights if it does not permit it.
func (t *Table) LoadMultipath() error {
	if t.programs[making.name] != nil {
		return nil
	}
	spec, err := multipathProgram(t.can, t.maps)
	if err != nil {
		return fmt.Errorf("%w: sockets of Multipath TCP: %w", ErrUnsupported, err)
	}
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return lacking("make sockets of Multipath TCP", err)
	}
	t.programs[making.name] = prog
	return nil
}

// multipathEnabled tells whether sockets of Multipath TCP can be made in this network namespace.
func multipathEnabled() bool {
	text, err := os.ReadFile("/proc/sys/net/mptcp/enabled")
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// namespaceOffsets returns where the kernel keeps what leads from a thread to its network
// namespace's cookie: task_struct.nsproxy, nsproxy.net_ns, net.net_cookie.
func namespaceOffsets() (proxy, net, cookie int16, err error) {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, 0, 0, err
	}
	var at [3]int16
	for i, x := range [3][2]string{{"task_struct", "nsproxy"}, {"nsproxy", "net_ns"}, {"net", "net_cookie"}} {
		var s *btf.Struct
		if err := types.TypeByName(x[0], &s); err != nil {
			return 0, 0, 0, err
		}
		found := false
		for _, m := range s.Members {
			if m.Name == x[1] && m.Offset.Bytes() < 1<<15 {
				at[i], found = int16(m.Offset.Bytes()), true
			}
		}
		if !found {
			return 0, 0, 0, fmt.Errorf("%w: struct %s has no %s", ErrUnsupported, x[0], x[1])
		}
	}
	return at[0], at[1], at[2], nil
}
