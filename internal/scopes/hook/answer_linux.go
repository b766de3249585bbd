package hook

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// choose finds the answer: that of the destination, or the scope's usual one if the
// destination has no answer and no route of its own. By a route of its own, a connection may
// leave by any network, so nothing is decided about it then. Register sock says what is to be
// done, and the way lies on the stack.
func (w *writer) choose() {
	w.add(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, atNow, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, atTries, asm.R1, asm.DWord),
	)
	w.at("choose")
	w.add(
		// If there is no network, the error says so. Programs take this error for a state that
		// passes: they try the other family, and come back later. After EACCES they do not.
		asm.StoreImm(asm.RFP, atErrno, -int64(unix.ENETUNREACH), asm.Word),
		asm.LoadMem(asm.R0, asm.RFP, atNow, asm.DWord),
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
	)
	w.flag(eventAside)
	w.add(asm.Ja.Label("undecided"))
	w.at("usual")
	w.flag(eventUsual)
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atKey+keyProtocol, asm.Byte),
		asm.StoreMem(asm.RFP, atUsual+usualProtocol, asm.R1, asm.Byte),
	)
	w.lookup("usual", atUsual)
	w.add(asm.JNE.Imm(asm.R0, 0, "answer"))
	w.at("undecided")
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atMemFlag, asm.Word),
		asm.And.Imm(asm.R1, int32(Strict)),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.JEq.Imm(asm.R1, 0, "acted"),
		asm.Mov.Imm(sock, int32(Refuse)),
		asm.Ja.Label("acted"),
	)
	w.at("changed")
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word), asm.And.Imm(asm.R1, eventPort2), // the others are of this answer
		asm.StoreMem(asm.RFP, atFlags, asm.R1, asm.Word),
	)
	w.again("choose", "undecided")
	w.at("answer")
	w.add(
		asm.Mov.Reg(answer, asm.R0),
		asm.LoadMem(asm.R1, answer, answerID, asm.DWord),
		asm.StoreMem(asm.RFP, atEvent+eventAnswer, asm.R1, asm.DWord),
		asm.LoadMem(sock, answer, answerKind, asm.Word),
		asm.JEq.Imm(sock, int32(Place), "place"),
		asm.JNE.Imm(sock, int32(Refuse), "taken"),
		asm.LoadMem(asm.R1, answer, answerErrno, asm.Word),
		asm.StoreMem(asm.RFP, atErrno, asm.R1, asm.Word),
		asm.Ja.Label("taken"),
	)
	w.at("place")
	w.way()
	w.at("taken")
	w.add(
		// An answer that has replaced this one for the same connections has another id.
		asm.LoadMem(asm.R1, answer, answerID, asm.DWord), asm.LoadMem(asm.R2, asm.RFP, atEvent+eventAnswer, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "changed"),
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word), asm.And.Imm(asm.R1, eventUsual),
		asm.JNE.Imm(asm.R1, 0, "ofscope"),
	)
	w.same(answer, atKey, keySize, "changed")
	w.add(asm.Ja.Label("decided"))
	w.at("ofscope")
	w.same(answer, atUsual, usualSize, "changed")
	w.at("decided")
}

// act binds the socket, or gives the datagram its source.
func (w *writer) act() {
	w.add(asm.JNE.Imm(sock, int32(Place), "acted"))
	if w.datagram {
		w.actDatagram()
	} else {
		w.actConnect()
	}
	w.at("failed") // what is done with a socket that cannot be bound
	w.add(
		asm.StoreMem(asm.RFP, atResult, asm.R0, asm.Word),
		asm.Mov.Imm(sock, int32(Leave)),
		asm.LoadMem(asm.R1, asm.RFP, atWay+wayFlags, asm.Word),
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

// way copies the first way of the answer whose network is not down. If all are down, that is the
// first way of all, or the connection is refused.
func (w *writer) way() {
	for i := range int32(ways) {
		at := fmt.Sprintf("way%d", i)
		w.add(
			asm.Mov.Reg(asm.R2, answer), asm.Add.Imm(asm.R2, answerWays+i*waySize),
			asm.LoadMem(asm.R1, asm.R2, wayNetwork, asm.Word), asm.And.Imm(asm.R1, noNetwork),
			asm.LoadMapValue(asm.R3, w.maps["down"].FD(), 0), asm.Add.Reg(asm.R3, asm.R1),
			asm.LoadMem(asm.R1, asm.R3, 0, asm.Byte), asm.JNE.Imm(asm.R1, 0, at),
		)
		if i > 0 {
			w.flag(eventAlternate)
		}
		w.add(asm.Ja.Label("copy"))
		w.at(at)
	}
	w.flag(eventDown)
	w.add(
		asm.Mov.Reg(asm.R2, answer), asm.Add.Imm(asm.R2, answerWays),
		asm.LoadMem(asm.R1, asm.R2, wayFlags, asm.Word),
		asm.And.Imm(asm.R1, flagOnly),
		asm.JEq.Imm(asm.R1, 0, "copy"),
		asm.Mov.Imm(sock, int32(Refuse)), // the error is ENETUNREACH
		asm.Ja.Label("taken"),
	)
	w.at("copy")
	for i := int16(0); i < waySize; i += 8 {
		w.add(asm.LoadMem(asm.R1, asm.R2, i, asm.DWord), asm.StoreMem(asm.RFP, atWay+i, asm.R1, asm.DWord))
	}
}

// flag sets a flag of the record.
func (w *writer) flag(f int32) {
	w.add(asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word), asm.Or.Imm(asm.R1, f), asm.StoreMem(asm.RFP, atFlags, asm.R1, asm.Word))
}

func (w *writer) actConnect() {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atFlags, asm.Word),
		asm.And.Imm(asm.R1, eventPort2),
		asm.JNE.Imm(asm.R1, 0, "device"),
		asm.LoadMem(asm.R1, asm.RFP, atWay+wayFlags, asm.Word),
		asm.And.Imm(asm.R1, flagDevice),
		asm.JEq.Imm(asm.R1, 0, "source"),
	)
	w.at("device")
	w.add(
		asm.Mov.Reg(asm.R1, ctx), asm.Mov.Imm(asm.R2, unix.SOL_SOCKET), asm.Mov.Imm(asm.R3, unix.SO_BINDTODEVICE),
		asm.Mov.Reg(asm.R4, asm.RFP), asm.Add.Imm(asm.R4, atWay+wayDevice), asm.Mov.Imm(asm.R5, unix.IFNAMSIZ),
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
			w.add(asm.LoadMem(asm.R1, asm.RFP, atWay+waySource+i, asm.Word), asm.StoreMem(asm.RFP, atSource+8+i, asm.R1, asm.Word))
		}
	} else {
		w.add(
			asm.StoreImm(asm.RFP, atSource, unix.AF_INET, asm.Half),
			asm.LoadMem(asm.R1, asm.RFP, atWay+waySource+12, asm.Word), asm.StoreMem(asm.RFP, atSource+4, asm.R1, asm.Word),
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
		asm.LoadMem(asm.R1, asm.RFP, atWay+wayFlags, asm.Word),
		asm.And.Imm(asm.R1, flagDevice),
		asm.JNE.Imm(asm.R1, 0, "failed"),
	)
	if w.v6 {
		for i := int16(0); i < sizeAddr; i += 4 {
			w.add(asm.LoadMem(asm.R1, asm.RFP, atWay+waySource+i, asm.Word), asm.StoreMem(ctx, ctxSource6+i, asm.R1, asm.Word))
		}
	} else {
		w.add(asm.LoadMem(asm.R1, asm.RFP, atWay+waySource+12, asm.Word), asm.StoreMem(ctx, ctxSource4, asm.R1, asm.Word))
	}
	w.add(asm.Ja.Label("acted"))
}
