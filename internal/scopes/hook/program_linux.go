package hook

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// point is a place in the kernel where a program runs.
type point struct {
	name     string // of the program and of its link's file
	attach   ebpf.AttachType
	v6       bool // sockets of IPv6
	datagram bool // sendto and its like, of sockets that are not connected
}

// points are the hooks that are used. Without the first two nothing is placed; without
// the others datagrams of sockets that are not connected are left alone.
var points = []point{
	{name: "connect4", attach: ebpf.AttachCGroupInet4Connect},
	{name: "connect6", attach: ebpf.AttachCGroupInet6Connect, v6: true},
	{name: "sendmsg4", attach: ebpf.AttachCGroupUDP4Sendmsg, datagram: true},
	{name: "sendmsg6", attach: ebpf.AttachCGroupUDP6Sendmsg, v6: true, datagram: true},
}

// abilities are the helpers that not every kernel has.
type abilities struct {
	process bool // bpf_get_current_pid_tgid
	retval  bool // bpf_set_retval: a refused call fails with what is said, else with EPERM
}

// Offsets in struct bpf_sock_addr and struct bpf_sock (linux/bpf.h).
const (
	ctxIP4, ctxIP6, ctxPort  = 4, 8, 24
	ctxType, ctxProtocol     = 32, 36
	ctxSource4, ctxSource6   = 40, 44
	ctxSock                  = 64
	sockDevice               = 0
	sockSource4, sockSource6 = 24, 28
	sockPort                 = 44
)

// Where things lie on the program's stack, below the frame pointer.
const (
	atKey     = -32  // keySize
	atMember  = -56  // memberSize
	atAside   = -80  // asideSize
	atUsual   = -88  // usualSize
	atGroup   = -96  // u64
	atNow     = -104 // u64
	atProcess = -112 // u32
	atStrict  = -108 // u32
	atFlags   = -116 // u32: of the record
	atResult  = -120 // u32
	atSource  = -152 // sockaddr_in6, 28 bytes
	atEvent   = -240 // eventSize
	atErrno   = -244 // u32: what a refused call fails with, negative
	stackEnd  = -248
)

// Registers that keep their meaning throughout. R0 to R5 are for calls.
const (
	ctx      = asm.R6
	answer   = asm.R7 // the answer that is taken
	settings = asm.R8
	sock     = asm.R9
)

// depth is how far below the mount of control groups those of programs are looked for that
// nobody has told of yet. systemd's own lie at 2 to 6.
const depth = 12

// maxNames and the like bound the maps.
const (
	maxGroups  = 16384
	maxMembers = 4096
	maxUsual   = 1024
	maxAnswers = 16384
	maxAside   = 65536
	ringSize   = 256 << 10
)

// tellEvery is how often datagrams to one destination are told of.
const tellEvery = 1_000_000_000 // nanoseconds

// mapSpecs describes the maps.
func mapSpecs() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{
		"settings": {Type: ebpf.Array, KeySize: 4, ValueSize: settingsSize, MaxEntries: 1},
		"groups":   {Type: ebpf.Hash, KeySize: 8, ValueSize: groupSize, MaxEntries: maxGroups},
		"members":  {Type: ebpf.Hash, KeySize: memberSize, ValueSize: memberValueSize, MaxEntries: maxMembers},
		"usual":    {Type: ebpf.Hash, KeySize: usualSize, ValueSize: answerSize, MaxEntries: maxUsual},
		"answers":  {Type: ebpf.Hash, KeySize: keySize, ValueSize: answerSize, MaxEntries: maxAnswers},
		"told":     {Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: maxAnswers},
		"aside":    {Type: ebpf.LPMTrie, KeySize: asideSize, ValueSize: 4, MaxEntries: maxAside, Flags: unix.BPF_F_NO_PREALLOC},
		"events":   {Type: ebpf.RingBuf, MaxEntries: ringSize},
		"lost":     {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
	}
}

// writer puts a program together.
type writer struct {
	point
	can   abilities
	maps  map[string]*ebpf.Map
	out   asm.Instructions
	label string // of the next instruction
}

// program makes the program of a hook.
func program(p point, can abilities, maps map[string]*ebpf.Map) *ebpf.ProgramSpec {
	w := &writer{point: p, can: can, maps: maps}
	w.begin()
	w.destination()
	w.socket()
	w.caller()
	w.scope()
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
		w.add(asm.Mov.Reg(asm.R0, asm.R0)) // two names for one place
	}
	w.label = label
}

// pointer sets a register to a place on the stack.
func (w *writer) pointer(r asm.Register, at int32) {
	w.add(asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, at))
}

// lookup looks a key on the stack up; R0 is the value, 0 if there is none.
func (w *writer) lookup(name string, key int32) {
	w.add(asm.LoadMapPtr(asm.R1, w.maps[name].FD()))
	w.pointer(asm.R2, key)
	w.add(asm.FnMapLookupElem.Call())
}

// copyAddr copies an address on the stack.
func (w *writer) copyAddr(to, from int16) {
	for i := int16(0); i < sizeAddr; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, from+i, asm.Word), asm.StoreMem(asm.RFP, to+i, asm.R1, asm.Word))
	}
}

// begin leaves alone what is none of ours: another network namespace, where the same names
// and addresses mean other networks; other protocols.
func (w *writer) begin() {
	w.add(asm.Mov.Reg(ctx, asm.R1), asm.Mov.Imm(asm.R0, 0))
	for at := int16(-8); at >= stackEnd; at -= 8 {
		w.add(asm.StoreMem(asm.RFP, at, asm.R0, asm.DWord))
	}
	w.add(
		asm.LoadMapValue(settings, w.maps["settings"].FD(), 0),
		asm.Mov.Reg(asm.R1, ctx), asm.FnGetNetnsCookie.Call(),
		asm.LoadMem(asm.R1, settings, settingsNetns, asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R1, "pass"),
	)
	if w.can.process {
		w.add(
			asm.FnGetCurrentPidTgid.Call(), asm.RSh.Imm(asm.R0, 32),
			asm.StoreMem(asm.RFP, atProcess, asm.R0, asm.Word),
			asm.LoadMem(asm.R1, settings, settingsSelf, asm.Word),
			asm.JEq.Reg(asm.R0, asm.R1, "pass"),
		)
	}
	w.add(
		asm.LoadMem(asm.R1, ctx, ctxType, asm.Word),
		asm.LoadMem(asm.R2, ctx, ctxProtocol, asm.Word),
		asm.JEq.Imm(asm.R1, unix.SOCK_DGRAM, "datagram"),
		asm.JNE.Imm(asm.R1, unix.SOCK_STREAM, "pass"),
		// The kernel's own subflows come as TCP, and so may the sockets of Multipath TCP.
		asm.JEq.Imm(asm.R2, unix.IPPROTO_MPTCP, "mptcp"),
		asm.JNE.Imm(asm.R2, unix.IPPROTO_TCP, "pass"),
	)
	w.at("mptcp")
	w.add(asm.StoreImm(asm.RFP, atKey+keyProtocol, unix.IPPROTO_TCP, asm.Byte), asm.Ja.Label("protocol"))
	w.at("datagram")
	w.add(
		asm.JNE.Imm(asm.R2, unix.IPPROTO_UDP, "pass"),
		asm.StoreImm(asm.RFP, atKey+keyProtocol, unix.IPPROTO_UDP, asm.Byte),
	)
	w.at("protocol")
}

// destination puts the destination into the key, and leaves those alone that are on one
// link only, or this host itself.
func (w *writer) destination() {
	w.add(
		asm.LoadMem(asm.R1, ctx, ctxPort, asm.Word),
		asm.StoreMem(asm.RFP, atKey+keyPort, asm.R1, asm.Half),
	)
	const addr = atKey + keyAddr
	if w.v6 {
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, ctx, ctxIP6+i, asm.Word), asm.StoreMem(asm.RFP, addr+i, asm.R1, asm.Word))
		}
		w.add(
			asm.LoadMem(asm.R1, asm.RFP, addr, asm.DWord),
			asm.JNE.Imm(asm.R1, 0, "v6"),
			asm.LoadMem(asm.R1, asm.RFP, addr+8, asm.Half),
			asm.JNE.Imm(asm.R1, 0, "v6"),
			asm.LoadMem(asm.R1, asm.RFP, addr+10, asm.Half),
			asm.JEq.Imm(asm.R1, 0xffff, "v4"), // IPv4 through a socket of IPv6
			asm.JEq.Imm(asm.R1, 0, "pass"),    // :: and ::1, which are this host
		)
		w.at("v6")
		w.add(
			asm.StoreImm(asm.RFP, atUsual+usualV6, 1, asm.Byte),
			asm.LoadMem(asm.R1, asm.RFP, addr, asm.Byte),
			asm.JEq.Imm(asm.R1, 0xff, "pass"), // multicast
			asm.JNE.Imm(asm.R1, 0xfe, "far"),
			asm.LoadMem(asm.R1, asm.RFP, addr+1, asm.Byte),
			asm.And.Imm(asm.R1, 0xc0),
			asm.JEq.Imm(asm.R1, 0x80, "pass"), // link-local, fe80::/10
			asm.Ja.Label("far"),
		)
		w.at("v4")
	} else {
		w.add(
			asm.StoreImm(asm.RFP, addr+10, 0xffff, asm.Half),
			asm.LoadMem(asm.R1, ctx, ctxIP4, asm.Word),
			asm.StoreMem(asm.RFP, addr+12, asm.R1, asm.Word),
		)
	}
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, addr+12, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.JEq.Imm(asm.R1, 127, "pass"),
		asm.JGE.Imm(asm.R1, 224, "pass"), // multicast, reserved, broadcast
		asm.JNE.Imm(asm.R1, 169, "far"),
		asm.LoadMem(asm.R1, asm.RFP, addr+13, asm.Byte),
		asm.JEq.Imm(asm.R1, 254, "pass"), // link-local, 169.254.0.0/16
	)
	w.at("far")
}

// socket leaves a socket alone that has a source or a device: what was bound by its
// program, the kernel's own subflows of Multipath TCP, what somebody has placed before. A
// port of the kernel's choice is no server's, but leaves the device only to be bound to.
func (w *writer) socket() {
	w.add(
		asm.LoadMem(sock, ctx, ctxSock, asm.DWord),
		asm.LoadMem(asm.R1, sock, sockDevice, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "pass"),
	)
	if w.v6 {
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, sock, sockSource6+i, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
		}
	} else {
		w.add(asm.LoadMem(asm.R1, sock, sockSource4, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
	}
	switch { // a datagram may name its own source (IP_PKTINFO, IPV6_PKTINFO)
	case w.datagram && w.v6:
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, ctx, ctxSource6+i, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
		}
	case w.datagram:
		w.add(asm.LoadMem(asm.R1, ctx, ctxSource4, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
	}
	w.add(
		asm.LoadMem(asm.R1, sock, sockPort, asm.Word),
		asm.And.Imm(asm.R1, 0xffff),
		asm.JEq.Imm(asm.R1, 0, "unbound"),
		asm.LoadMem(asm.R2, settings, settingsLow, asm.Word),
		asm.JLT.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R2, settings, settingsHigh, asm.Word),
		asm.JGT.Reg(asm.R1, asm.R2, "pass"),
		asm.StoreImm(asm.RFP, atFlags, eventPort2, asm.Word),
	)
	w.at("unbound")
}

// caller finds out who calls: user, command and control group. It is the group of the
// thread that calls, not that in which the socket was made: a process that was moved, or
// was handed a socket, is placed as what it is now.
func (w *writer) caller() {
	w.add(
		asm.FnGetCurrentUidGid.Call(),
		asm.StoreMem(asm.RFP, atKey+keyUser, asm.R0, asm.Word),
		asm.StoreMem(asm.RFP, atMember+memberUser, asm.R0, asm.Word),
	)
	w.pointer(asm.R1, atMember+memberCommand)
	w.add(asm.Mov.Imm(asm.R2, commandSize), asm.FnGetCurrentComm.Call())
	for i := int16(0); i < commandSize; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atMember+memberCommand+i, asm.Word), asm.StoreMem(asm.RFP, atEvent+eventCommand+i, asm.R1, asm.Word))
	}
	w.add(asm.FnGetCurrentCgroupId.Call(), asm.StoreMem(asm.RFP, atGroup, asm.R0, asm.DWord))
	w.add(asm.StoreMem(asm.RFP, atEvent+eventGroup, asm.R0, asm.DWord))
	w.lookup("groups", atGroup)
	w.add(asm.JNE.Imm(asm.R0, 0, "group"))
	// One that is too new to be known is what the nearest above it is.
	for level := int32(depth); level >= 0; level-- {
		w.add(
			asm.Mov.Imm(asm.R1, level), asm.FnGetCurrentAncestorCgroupId.Call(),
			asm.StoreMem(asm.RFP, atGroup, asm.R0, asm.DWord),
		)
		if level > 0 {
			w.add(asm.JEq.Imm(asm.R0, 0, next(level)))
		} else {
			w.add(asm.JEq.Imm(asm.R0, 0, "pass"))
		}
		w.lookup("groups", atGroup)
		w.add(asm.JNE.Imm(asm.R0, 0, "group"))
		if level > 0 {
			w.at(next(level))
		}
	}
	w.add(asm.Ja.Label("pass"))
	w.at("group")
	w.add(
		asm.LoadMem(asm.R1, asm.R0, groupClass, asm.Word),
		asm.StoreMem(asm.RFP, atMember+memberClass, asm.R1, asm.Word),
		asm.LoadMem(sock, asm.R0, groupForms, asm.Word), // the socket is not needed any more
	)
}

func next(level int32) string { return "above" + string(rune('a'+level)) }

// Forms of a member, the most specific first: which of user and command it names.
const (
	formBoth = 1 << iota
	formCommand
	formUser
	formAny
)

// scope finds the scope, in the order of forms. Those that no member of the class has are
// not looked for.
func (w *writer) scope() {
	for _, f := range []struct {
		bit   int32
		label string
	}{{formBoth, "both"}, {formCommand, "command"}, {formUser, "user"}, {formAny, "any"}} {
		w.at(f.label)
		after := map[string]string{"both": "command", "command": "user", "user": "any", "any": "pass"}[f.label]
		w.add(asm.Mov.Reg(asm.R1, sock), asm.And.Imm(asm.R1, f.bit), asm.JEq.Imm(asm.R1, 0, after))
		switch f.bit {
		case formCommand, formAny:
			w.add(asm.StoreImm(asm.RFP, atMember+memberUser, -1, asm.Word))
		case formUser:
			w.add(asm.LoadMem(asm.R1, asm.RFP, atKey+keyUser, asm.Word), asm.StoreMem(asm.RFP, atMember+memberUser, asm.R1, asm.Word))
		}
		if f.bit == formUser || f.bit == formAny {
			w.add(asm.Mov.Imm(asm.R1, 0))
			for i := int16(0); i < commandSize; i += 8 {
				w.add(asm.StoreMem(asm.RFP, atMember+memberCommand+i, asm.R1, asm.DWord))
			}
		}
		w.lookup("members", atMember)
		w.add(asm.JNE.Imm(asm.R0, 0, "member"))
	}
	w.add(asm.Ja.Label("pass"))
	w.at("member")
	w.add(
		asm.LoadMem(asm.R1, asm.R0, memberScope, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.StoreMem(asm.RFP, atKey+keyScope, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, atUsual+usualScope, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R0, memberFlags, asm.Word),
		asm.StoreMem(asm.RFP, atStrict, asm.R1, asm.Word),
	)
}

// choose finds the answer: that of the destination, else, unless this has a way of its
// own, the scope's usual one. sock is then what is to be done.
func (w *writer) choose() {
	w.add(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, atNow, asm.R0, asm.DWord),
		// Where there is no network, programs are told so: they take that for a state that
		// passes, try the other family, and come back, unlike after EACCES.
		asm.StoreImm(asm.RFP, atErrno, -int64(unix.ENETUNREACH), asm.Word),
		asm.LoadMem(asm.R1, settings, settingsDeadline, asm.DWord),
		asm.JGT.Reg(asm.R0, asm.R1, "undecided"), // the maps are out of date
	)
	w.lookup("answers", atKey)
	w.add(asm.JNE.Imm(asm.R0, 0, "answer"))
	w.add(asm.StoreImm(asm.RFP, atAside+asideBits, 8*sizeAddr, asm.Word))
	w.copyAddr(atAside+asideAddr, atKey+keyAddr)
	w.lookup("aside", atAside)
	w.add(
		asm.JEq.Imm(asm.R0, 0, "usual"),
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word),
		asm.Or.Imm(asm.R1, eventAside),
		asm.StoreMem(asm.RFP, atFlags, asm.R1, asm.Word),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.Ja.Label("acted"),
	)
	w.at("usual")
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word),
		asm.Or.Imm(asm.R1, eventUsual),
		asm.StoreMem(asm.RFP, atFlags, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atKey+keyProtocol, asm.Byte),
		asm.StoreMem(asm.RFP, atUsual+usualProtocol, asm.R1, asm.Byte),
	)
	w.lookup("usual", atUsual)
	w.add(asm.JNE.Imm(asm.R0, 0, "answer"))
	w.at("undecided")
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atStrict, asm.Word),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.JEq.Imm(asm.R1, 0, "acted"),
		asm.Mov.Imm(sock, int32(Refuse)),
		asm.Ja.Label("acted"),
	)
	w.at("answer")
	w.add(
		asm.Mov.Reg(answer, asm.R0),
		asm.LoadMem(asm.R1, answer, answerID, asm.DWord),
		asm.StoreMem(asm.RFP, atEvent+eventAnswer, asm.R1, asm.DWord),
		asm.LoadMem(sock, answer, answerKind, asm.Word),
		asm.JEq.Imm(sock, int32(Place), "place"),
		asm.JNE.Imm(sock, int32(Refuse), "acted"),
		asm.LoadMem(asm.R1, answer, answerErrno, asm.Word),
		asm.StoreMem(asm.RFP, atErrno, asm.R1, asm.Word),
		asm.Ja.Label("acted"),
	)
}

// act binds the socket, or gives the datagram its source.
func (w *writer) act() {
	w.at("place")
	if w.datagram {
		w.actDatagram()
	} else {
		w.actConnect()
	}
	w.at("failed") // and what is to be done if it cannot be bound
	w.add(
		asm.StoreMem(asm.RFP, atResult, asm.R0, asm.Word),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.LoadMem(asm.R1, answer, answerFlags, asm.Word),
		asm.And.Imm(asm.R1, flagOnly),
		asm.JEq.Imm(asm.R1, 0, "acted"),
		asm.Mov.Imm(sock, int32(Refuse)),
		// Of a network that has gone a moment ago, the address or the device is missing.
		// All else is somebody's will, or does not pass.
		asm.LoadMem(asm.R1, asm.RFP, atResult, asm.Word),
		asm.Mov.Reg32(asm.R1, asm.R1),
		asm.JEq.Imm32(asm.R1, -int32(unix.EADDRNOTAVAIL), "acted"),
		asm.JEq.Imm32(asm.R1, -int32(unix.ENODEV), "acted"),
		asm.StoreImm(asm.RFP, atErrno, -int64(unix.EACCES), asm.Word),
	)
	w.at("acted")
}

func (w *writer) actConnect() {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word),
		asm.And.Imm(asm.R1, eventPort2),
		asm.JNE.Imm(asm.R1, 0, "device"),
		asm.LoadMem(asm.R1, answer, answerFlags, asm.Word),
		asm.And.Imm(asm.R1, flagDevice),
		asm.JEq.Imm(asm.R1, 0, "source"),
	)
	w.at("device")
	w.add(
		asm.Mov.Reg(asm.R1, ctx), asm.Mov.Imm(asm.R2, unix.SOL_SOCKET), asm.Mov.Imm(asm.R3, unix.SO_BINDTODEVICE),
		asm.Mov.Reg(asm.R4, answer), asm.Add.Imm(asm.R4, answerDevice), asm.Mov.Imm(asm.R5, unix.IFNAMSIZ),
		asm.FnSetsockopt.Call(),
		asm.JNE.Imm(asm.R0, 0, "failed"),
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word),
		asm.And.Imm(asm.R1, eventPort2),
		asm.JNE.Imm(asm.R1, 0, "acted"),
	)
	w.at("source")
	size := int32(unix.SizeofSockaddrInet4)
	if w.v6 {
		size = unix.SizeofSockaddrInet6
		w.add(asm.StoreImm(asm.RFP, atSource, unix.AF_INET6, asm.Half))
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, answer, answerSource+i, asm.Word), asm.StoreMem(asm.RFP, atSource+8+i, asm.R1, asm.Word))
		}
	} else {
		w.add(
			asm.StoreImm(asm.RFP, atSource, unix.AF_INET, asm.Half),
			asm.LoadMem(asm.R1, answer, answerSource+12, asm.Word), asm.StoreMem(asm.RFP, atSource+4, asm.R1, asm.Word),
		)
	}
	w.add(asm.Mov.Reg(asm.R1, ctx))
	w.pointer(asm.R2, atSource)
	w.add(asm.Mov.Imm(asm.R3, size), asm.FnBind.Call(), asm.JEq.Imm(asm.R0, 0, "acted"))
}

// actDatagram gives a datagram its source. Nothing else can be had for one datagram: a
// device would hold for all that follow from the same socket, wherever they go. Where the
// source is not enough, the datagram is left alone, or refused.
func (w *writer) actDatagram() {
	w.add(
		asm.Mov.Imm(asm.R0, -int32(unix.EOPNOTSUPP)),
		asm.LoadMem(asm.R1, answer, answerFlags, asm.Word),
		asm.And.Imm(asm.R1, flagDevice),
		asm.JNE.Imm(asm.R1, 0, "failed"),
	)
	if w.v6 {
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, answer, answerSource+i, asm.Word), asm.StoreMem(ctx, ctxSource6+i, asm.R1, asm.Word))
		}
	} else {
		w.add(asm.LoadMem(asm.R1, answer, answerSource+12, asm.Word), asm.StoreMem(ctx, ctxSource4, asm.R1, asm.Word))
	}
	w.add(asm.Ja.Label("acted"))
}

// tell writes the record, and ends the program. A ring that is full is not waited for.
func (w *writer) tell() {
	if w.datagram {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word), asm.Or.Imm(asm.R1, eventDatagram), asm.StoreMem(asm.RFP, atFlags, asm.R1, asm.Word))
		w.lookup("told", atKey)
		w.add(
			asm.JEq.Imm(asm.R0, 0, "first"),
			asm.LoadMem(asm.R1, asm.RFP, atNow, asm.DWord),
			asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord),
			asm.Sub.Reg(asm.R1, asm.R2),
			asm.JLT.Imm(asm.R1, tellEvery, "end"),
		)
		w.at("first")
		w.add(asm.LoadMapPtr(asm.R1, w.maps["told"].FD()))
		w.pointer(asm.R2, atKey)
		w.pointer(asm.R3, atNow)
		w.add(asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call())
	}
	w.add(asm.Mov.Reg(asm.R1, ctx), asm.FnGetSocketCookie.Call(), asm.StoreMem(asm.RFP, atEvent+eventCookie, asm.R0, asm.DWord))
	for _, c := range []struct {
		to, from int16
		size     asm.Size
	}{
		{eventTime, atNow, asm.DWord},
		{eventScope, atKey + keyScope, asm.Word}, {eventUser, atKey + keyUser, asm.Word},
		{eventProcess, atProcess, asm.Word}, {eventResult, atResult, asm.Word},
		{eventPort, atKey + keyPort, asm.Half}, {eventProtocol, atKey + keyProtocol, asm.Byte},
	} {
		w.add(asm.LoadMem(asm.R1, asm.RFP, c.from, c.size), asm.StoreMem(asm.RFP, atEvent+c.to, asm.R1, c.size))
	}
	w.copyAddr(atEvent+eventAddr, atKey+keyAddr)
	w.add(
		asm.StoreMem(asm.RFP, atEvent+eventKind, sock, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word), asm.StoreMem(asm.RFP, atEvent+eventFlags, asm.R1, asm.Byte),
		asm.LoadMapPtr(asm.R1, w.maps["events"].FD()),
	)
	w.pointer(asm.R2, atEvent)
	w.add(
		asm.Mov.Imm(asm.R3, eventSize), asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMapValue(asm.R1, w.maps["lost"].FD(), 0), asm.Mov.Imm(asm.R2, 1), asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
	)
	w.at("end")
	w.add(asm.JNE.Imm(sock, int32(Refuse), "pass"))
	if w.can.retval {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atErrno, asm.Word), asm.FnSetRetval.Call())
	}
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
}
