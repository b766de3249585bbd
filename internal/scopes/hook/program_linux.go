package hook

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// point is a place in the kernel where a program runs.
type point struct {
	name     string // of the program and of its link's file
	attach   ebpf.AttachType
	v6       bool // sockets of IPv6
	datagram bool // sendto and its like, of sockets that are not connected
}

// points are the hooks that are used. The first two are needed. If the kernel lacks the
// others, datagrams of sockets that are not connected are left alone.
var points = []point{
	{name: "connect4", attach: ebpf.AttachCGroupInet4Connect},
	{name: "connect6", attach: ebpf.AttachCGroupInet6Connect, v6: true},
	{name: "sendmsg4", attach: ebpf.AttachCGroupUDP4Sendmsg, datagram: true},
	{name: "sendmsg6", attach: ebpf.AttachCGroupUDP6Sendmsg, v6: true, datagram: true},
}

// abilities tells which of the helpers that not every kernel has are there.
type abilities struct {
	process   bool // bpf_get_current_pid_tgid
	retval    bool // bpf_set_retval; without it, every refused call fails with EPERM
	multipath bool // bpf_skc_to_mptcp_sock; without it, nobody knows what is Multipath TCP
}

// Offsets in struct bpf_sock_addr and struct bpf_sock (linux/bpf.h).
const (
	ctxIP4, ctxIP6, ctxPort  = 4, 8, 24
	ctxType, ctxProtocol     = 32, 36
	ctxSource4, ctxSource6   = 40, 44
	ctxSock                  = 64
	sockDevice, sockMark     = 0, 16
	sockSource4, sockSource6 = 24, 28
	sockPort                 = 44
)

// Places on the program's stack, below the frame pointer.
const (
	atKey     = -32  // keySize
	atMember  = -56  // memberSize
	atAside   = -80  // asideSize
	atUsual   = -88  // usualSize
	atGroup   = -96  // u64
	atNow     = -104 // u64
	atProcess = -112 // u32
	atMemFlag = -108 // u32: flags of the member
	atFlags   = -116 // u32: of the record
	atResult  = -120 // u32
	atSource  = -152 // sockaddr_in6, 28 bytes
	atEvent   = -240 // eventSize
	atErrno   = -244 // u32: what a refused call fails with, negative
	atRule    = -272 // a key of the maps about rules
	atOthers  = -280 // u64: memberOthers
	atTries   = -288 // u64: how often something was looked up again
	atWay     = -328 // waySize
	stackEnd  = -328
)

// tries bounds how often something is looked up again because it was replaced meanwhile.
const tries = 4

// Registers that keep their meaning in the whole program, except that sock changes it twice.
// R0 to R5 are for calls.
const (
	ctx      = asm.R6
	answer   = asm.R7 // the answer that is looked at; before it is found, the rules that fit
	settings = asm.R8
	sock     = asm.R9
)

// writer assembles a program.
type writer struct {
	point
	can   abilities
	maps  map[string]*ebpf.Map
	out   asm.Instructions
	label string // of the next instruction
}

// program makes the program of a hook. It ends at the first step that finds nothing to do.
// connection_linux.go has the steps that look at the socket, scope_linux.go those that find
// out whose it is, answer_linux.go what is done with it, and record_linux.go what is told.
func program(p point, can abilities, maps map[string]*ebpf.Map) *ebpf.ProgramSpec {
	w := &writer{point: p, can: can, maps: maps}
	w.begin()
	w.destination()
	w.socket()
	w.caller()
	w.scope()
	w.variant()
	w.choose()
	w.act()
	w.tell()
	w.at("pass")
	w.add(asm.Mov.Imm(asm.R0, 1), asm.Return())
	return &ebpf.ProgramSpec{
		Name: "mamma_" + p.name, Type: ebpf.CGroupSockAddr, AttachType: p.attach,
		Instructions: w.out, License: "BSD",
	}
}

func (w *writer) add(list ...asm.Instruction) {
	for _, i := range list {
		if w.label != "" {
			i, w.label = i.WithSymbol(w.label), ""
		}
		w.out = append(w.out, i)
	}
}

// at names the next instruction, as a target of jumps.
func (w *writer) at(label string) {
	if w.label != "" {
		w.add(asm.Mov.Reg(asm.R0, asm.R0)) // an instruction can have only one name
	}
	w.label = label
}

// pointer sets a register to the address of a place on the stack.
func (w *writer) pointer(r asm.Register, at int32) {
	w.add(asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, at))
}

// lookup looks up a key that lies on the stack. R0 then points to the value, or is 0 if there
// is none.
func (w *writer) lookup(name string, key int32) {
	w.add(asm.LoadMapPtr(asm.R1, w.maps[name].FD()))
	w.pointer(asm.R2, key)
	w.add(asm.FnMapLookupElem.Call())
}

// again jumps to a label once more, or to another one if that was done too often.
func (w *writer) again(label, end string) {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atTries, asm.DWord), asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, atTries, asm.R1, asm.DWord),
		asm.JGT.Imm(asm.R1, tries, end),
		asm.Ja.Label(label),
	)
}

// same jumps to a label unless the key at the beginning of a value is the one on the stack.
func (w *writer) same(value asm.Register, key, size int16, other string) {
	for i := int16(0); i < size; {
		width, step := asm.DWord, int16(8)
		if size-i < step {
			width, step = asm.Word, 4
		}
		w.add(asm.LoadMem(asm.R4, value, i, width), asm.LoadMem(asm.R5, asm.RFP, key+i, width), asm.JNE.Reg(asm.R4, asm.R5, other))
		i += step
	}
}

// copyAddr copies an address on the stack.
func (w *writer) copyAddr(to, from int16) {
	for i := int16(0); i < sizeAddr; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, from+i, asm.Word), asm.StoreMem(asm.RFP, to+i, asm.R1, asm.Word))
	}
}
