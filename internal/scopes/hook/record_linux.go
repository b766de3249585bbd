package hook

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// tellEvery is the least time between two records about datagrams to one destination.
const tellEvery = 1_000_000_000 // nanoseconds

// wakeEvery is the least time between two records that wake the reader. To wake it takes
// longer than all else that the program does, and the caller of connect waits for that.
const wakeEvery = 10_000_000 // nanoseconds

// tell writes the record and ends the program. If the ring buffer is full, the record is lost.
func (w *writer) tell() {
	if w.datagram {
		w.flag(eventDatagram)
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
	if w.can.multipath && !w.datagram {
		// The hook sees the first subflow, which looks like a socket of TCP.
		w.add(
			asm.LoadMem(asm.R1, asm.RFP, atKey+keyProtocol, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, "single"),
			asm.LoadMem(asm.R1, ctx, ctxSock, asm.DWord), asm.FnSkcToMptcpSock.Call(),
			asm.JEq.Imm(asm.R0, 0, "single"),
		)
		w.flag(eventMultipath)
		w.at("single")
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
		// Table.Read looks for records that do not wake it.
		asm.LoadMapValue(asm.R1, w.maps["woken"].FD(), 0),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R3, asm.RFP, atNow, asm.DWord),
		asm.Mov.Imm(asm.R4, unix.BPF_RB_NO_WAKEUP),
		asm.Mov.Reg(asm.R5, asm.R3), asm.Sub.Reg(asm.R5, asm.R2),
		asm.JLT.Imm(asm.R5, wakeEvery, "quietly"),
		asm.StoreMem(asm.R1, 0, asm.R3, asm.DWord),
		asm.Mov.Imm(asm.R4, unix.BPF_RB_FORCE_WAKEUP),
	)
	w.at("quietly")
	w.add(asm.LoadMapPtr(asm.R1, w.maps["events"].FD()))
	w.pointer(asm.R2, atEvent)
	w.add(
		asm.Mov.Imm(asm.R3, eventSize), asm.FnRingbufOutput.Call(),
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
