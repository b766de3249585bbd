package hook

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

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
			asm.JNE.Reg(asm.R0, asm.R1, "other"),
			// Once the daemon has ended, its number is given to others.
			asm.FnGetCurrentCgroupId.Call(),
			asm.LoadMem(asm.R1, settings, settingsGroup, asm.DWord),
			asm.JEq.Imm(asm.R1, 0, "pass"),
			asm.JEq.Reg(asm.R0, asm.R1, "pass"),
		)
		w.at("other")
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

// socket leaves a socket alone that has a source, a device or a mark: one that its program has
// bound or marked, a subflow of Multipath TCP that the kernel opens, or one that somebody has
// placed before.
// So a socket that connects again, also after an error or a disconnect, keeps the network of its first
// connection: nothing tells whether its program has bound it, or we. A socket with a port outside the range from which the kernel chooses counts as bound by its
// program. A socket with a port that the kernel has chosen can only be bound to a device.
func (w *writer) socket() {
	w.add(
		asm.LoadMem(sock, ctx, ctxSock, asm.DWord),
		asm.LoadMem(asm.R1, sock, sockDevice, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "pass"),
		asm.LoadMem(asm.R1, sock, sockMark, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "pass"),
	)
	if w.v6 {
		w.noSource(sock, sockSource6, "sourceless")
	} else {
		w.add(asm.LoadMem(asm.R1, sock, sockSource4, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
	}
	switch { // a datagram may name its own source (IP_PKTINFO, IPV6_PKTINFO)
	case w.datagram && w.v6:
		w.noSource(ctx, ctxSource6, "unnamed")
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

// noSource leaves a socket alone that has a source of IPv6. None is :: or the address of IPv4 that
// stands for none, 0.0.0.0 mapped. The program goes on at a label.
func (w *writer) noSource(from asm.Register, at int16, label string) {
	for i := int16(0); i < sizeAddr; i += 4 {
		if i != 8 {
			w.add(asm.LoadMem(asm.R1, from, at+i, asm.Word), asm.JNE.Imm(asm.R1, 0, "pass"))
		}
	}
	w.add(
		asm.LoadMem(asm.R1, from, at+8, asm.Word), asm.JEq.Imm(asm.R1, 0, label),
		asm.HostTo(asm.BE, asm.R1, asm.Word), asm.JNE.Imm(asm.R1, 0xffff, "pass"),
	)
	w.at(label)
}
