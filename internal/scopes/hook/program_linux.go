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
	process bool // bpf_get_current_pid_tgid
	retval  bool // bpf_set_retval; without it, every refused call fails with EPERM
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
	stackEnd  = -272
)

// Registers that keep their meaning in the whole program, except that sock changes it twice.
// R0 to R5 are for calls.
const (
	ctx      = asm.R6
	answer   = asm.R7 // the answer that is followed; before it is found, the rules that fit
	settings = asm.R8
	sock     = asm.R9
)

// depth bounds the search for a known group above a control group that is still unknown: so
// many levels below the mount of the control groups. The groups of systemd lie at 2 to 6.
const depth = 12

// These bound the maps.
const (
	maxGroups  = 16384
	maxMembers = 4096
	maxUsual   = 16384
	maxAnswers = 16384
	maxAside   = 65536
	// Entries of rules take memory only as they are needed.
	maxRules    = 1 << 17
	maxCommands = 8192
	maxVariants = 16384
	ringSize    = 256 << 10
)

// tellEvery is the least time between two records about datagrams to one destination.
const tellEvery = 1_000_000_000 // nanoseconds

// mapSpecs describes the maps.
func mapSpecs() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{
		"settings": {Type: ebpf.Array, KeySize: 4, ValueSize: settingsSize, MaxEntries: 1},
		"groups":   {Type: ebpf.Hash, KeySize: 8, ValueSize: groupSize, MaxEntries: maxGroups},
		"members":  {Type: ebpf.Hash, KeySize: memberSize, ValueSize: memberValueSize, MaxEntries: maxMembers},
		"usual":    {Type: ebpf.Hash, KeySize: usualSize, ValueSize: answerSize, MaxEntries: maxUsual, Flags: unix.BPF_F_NO_PREALLOC},
		"answers":  {Type: ebpf.Hash, KeySize: keySize, ValueSize: answerSize, MaxEntries: maxAnswers},
		"told":     {Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: maxAnswers},
		"aside":    {Type: ebpf.LPMTrie, KeySize: asideSize, ValueSize: 4, MaxEntries: maxAside, Flags: unix.BPF_F_NO_PREALLOC},
		"ports":    {Type: ebpf.LPMTrie, KeySize: rulePortSize, ValueSize: ruleFits, MaxEntries: maxRules, Flags: unix.BPF_F_NO_PREALLOC},
		"networks": {Type: ebpf.LPMTrie, KeySize: ruleAddrSize, ValueSize: ruleFits, MaxEntries: maxRules, Flags: unix.BPF_F_NO_PREALLOC},
		"commands": {Type: ebpf.Hash, KeySize: ruleCommandSize, ValueSize: ruleFits, MaxEntries: maxCommands, Flags: unix.BPF_F_NO_PREALLOC},
		"variants": {Type: ebpf.Hash, KeySize: variantSize, ValueSize: 4, MaxEntries: maxVariants, Flags: unix.BPF_F_NO_PREALLOC},
		"events":   {Type: ebpf.RingBuf, MaxEntries: ringSize},
		"lost":     {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
	}
}

// writer assembles a program.
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

// copyAddr copies an address on the stack.
func (w *writer) copyAddr(to, from int16) {
	for i := int16(0); i < sizeAddr; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, from+i, asm.Word), asm.StoreMem(asm.RFP, to+i, asm.R1, asm.Word))
	}
}

// begin leaves two kinds of sockets alone: those of other network namespaces, because the same
// names and addresses mean other networks there, and those of other protocols.
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
		// Subflows that the kernel opens have protocol TCP here, and sockets of Multipath TCP
		// may have it, too.
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

// destination puts the destination into the key. It leaves destinations alone that are on one
// link only, and this host itself.
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
			asm.JEq.Imm(asm.R1, 0xffff, "v4"), // IPv4 over an IPv6 socket
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

// socket leaves a socket alone that has a source or a device: one that its program has bound,
// a subflow of Multipath TCP that the kernel opens, or one that somebody has placed before. A
// socket with a port outside the range from which the kernel chooses counts as bound by its
// program. A socket with a port that the kernel has chosen can only be bound to a device.
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

// caller finds out who calls: user, command and control group. The group is that of the
// thread that calls, not the one in which the socket was made. So a process that was moved, or
// that was handed a socket, is placed by its present group.
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
	// A group that is too new to be known is treated like the nearest known group above it.
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

// Forms of a member, the most specific first. A form tells which of user and command the
// member names.
const (
	formBoth = 1 << iota
	formCommand
	formUser
	formAny
)

// scope finds the scope, in the order of forms. It skips forms that no member of the class
// has.
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
		asm.StoreMem(asm.RFP, atMemFlag, asm.R1, asm.Word),
	)
}

// variant finds out which rules of the scope fit the connection, and so which variant of the
// scope's answers is for it. The maps have an entry for all that no rule names, so a lookup
// fails only if the scope has been removed a moment ago.
func (w *writer) variant() {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word),
		asm.And.Imm(asm.R1, flagRules),
		asm.JEq.Imm(asm.R1, 0, "varied"),
		asm.Mov.Imm(answer, -1),
	)
	check := func(flag int32, label string) {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word), asm.And.Imm(asm.R1, flag), asm.JEq.Imm(asm.R1, 0, label))
	}
	setScope := func(at int16) {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atKey+keyScope, asm.Word), asm.StoreMem(asm.RFP, atRule+at, asm.R1, asm.Word))
	}
	fit := func() {
		w.add(
			asm.JEq.Imm(asm.R0, 0, "varied"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.And.Reg(answer, asm.R1),
		)
	}
	check(flagPorts, "network")
	setScope(ruleScope)
	w.add(
		asm.StoreImm(asm.RFP, atRule+ruleBits, 8*(rulePortSize-ruleScope), asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, atKey+keyPort, asm.Half), asm.StoreMem(asm.RFP, atRule+rulePort, asm.R1, asm.Half),
	)
	w.lookup("ports", atRule)
	fit()
	w.at("network")
	check(flagNetworks, "name")
	setScope(ruleScope)
	w.add(asm.StoreImm(asm.RFP, atRule+ruleBits, 8*(ruleAddrSize-ruleScope), asm.Word))
	w.copyAddr(atRule+ruleAddr, atKey+keyAddr)
	w.lookup("networks", atRule)
	fit()
	w.at("name")
	check(flagCommands, "fits")
	setScope(ruleCommandScope)
	for i := int16(0); i < commandSize; i += 4 {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atEvent+eventCommand+i, asm.Word), asm.StoreMem(asm.RFP, atRule+ruleCommand+i, asm.R1, asm.Word))
	}
	w.lookup("commands", atRule)
	w.add(asm.JNE.Imm(asm.R0, 0, "named"))
	for i := int16(0); i < commandSize; i += 4 { // the empty name stands for all others
		w.add(asm.StoreImm(asm.RFP, atRule+ruleCommand+i, 0, asm.Word))
	}
	w.lookup("commands", atRule)
	w.at("named")
	fit()
	w.at("fits")
	setScope(variantScope)
	w.add(asm.StoreImm(asm.RFP, atRule+variantScope+4, 0, asm.Word), asm.StoreMem(asm.RFP, atRule+variantFits, answer, asm.DWord))
	w.lookup("variants", atRule)
	w.add(
		asm.JEq.Imm(asm.R0, 0, "varied"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte),
		asm.StoreMem(asm.RFP, atKey+keyVariant, asm.R1, asm.Byte),
		asm.StoreMem(asm.RFP, atUsual+usualVariant, asm.R1, asm.Byte),
	)
	w.at("varied")
}

// choose finds the answer: that of the destination, or the scope's usual one if the
// destination has no answer and no route of its own. Register sock then says what is to be
// done.
func (w *writer) choose() {
	w.add(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, atNow, asm.R0, asm.DWord),
		// If there is no network, the error says so. Programs take this error for a state that
		// passes: they try the other family, and come back later. After EACCES they do not.
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
		asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word),
		asm.And.Imm(asm.R1, flagStrict),
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
	w.at("failed") // what is done with a socket that cannot be bound
	w.add(
		asm.StoreMem(asm.RFP, atResult, asm.R0, asm.Word),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.LoadMem(asm.R1, answer, answerFlags, asm.Word),
		asm.And.Imm(asm.R1, flagOnly),
		asm.JEq.Imm(asm.R1, 0, "acted"),
		asm.Mov.Imm(sock, int32(Refuse)),
		// If the network has gone a moment ago, its address or device is missing. All other
		// errors are intended by somebody, or do not pass.
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

// actDatagram gives a datagram its source address. This is all that can be set for a single
// datagram: a device would hold for all later datagrams of the same socket, whatever their
// destination. If the source address is not enough, the datagram is left alone or refused.
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

// tell writes the record and ends the program. If the ring buffer is full, the record is lost.
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
		{eventVariant, atKey + keyVariant, asm.Byte},
	} {
		w.add(asm.LoadMem(asm.R1, asm.RFP, c.from, c.size), asm.StoreMem(asm.RFP, atEvent+c.to, asm.R1, c.size))
	}
	w.copyAddr(atEvent+eventAddr, atKey+keyAddr)
	w.add(
		asm.StoreMem(asm.RFP, atEvent+eventKind, sock, asm.Half),
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
