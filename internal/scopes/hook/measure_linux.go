package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// measuring is the hook at which a program measures connections.
var measuring = point{name: "sockops", attach: ebpf.AttachCGroupSockOps}

// Offsets in struct bpf_sock_ops (linux/bpf.h).
const (
	opsOp                      = 0
	opsArg0, opsArg1           = 4, 8
	opsFamily                  = 20
	opsRemote4, opsLocal4      = 24, 28
	opsRemote6, opsLocal6      = 32, 48
	opsRemotePort, opsPort     = 64, 68
	opsRTT, opsFlags           = 80, 84
	opsMinRTT                  = 92
	opsRetrans                 = 136
	opsSegsIn                  = 140
	opsSegsOut, opsDataSegsOut = 148, 152
	opsLost                    = 156
	opsReceived, opsAcked      = 168, 176
	opsSock                    = 184
)

// Operations for which the program is called, and flags that ask for some of them.
const (
	opActive, opPassive = 4, 5 // a connection is established
	opTimeout           = 8    // a retransmission timer has expired; argument: how many had before, in a row
	opRetransmit        = 9
	opState             = 10 // arguments: the old and the new state
	opRTT               = 12 // arguments, since Linux 6.11: the round-trip time, and the new smoothed one

	opsFlagTimeout, opsFlagRetransmit, opsFlagState, opsFlagRTT = 1, 2, 4, 8

	tcpClose = 7 // TCP_CLOSE
)

// Places on the program's stack.
const (
	atCookie = -8
	atFlow   = -8 - flowSize
)

// flow is the register that points to the value of the map.
const flow = asm.R7

// measureProgram makes the program that keeps the map of connections current. The kernel calls
// it at the beginning and at the end of a connection, once a window with a new round-trip time,
// and when something is retransmitted. It changes nothing but the map.
func measureProgram(maps map[string]*ebpf.Map) *ebpf.ProgramSpec {
	w := &writer{point: measuring, maps: maps}
	w.add(
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(asm.R1, ctx, opsOp, asm.Word),
		asm.JEq.Imm(asm.R1, opActive, "established"),
		asm.JEq.Imm(asm.R1, opPassive, "established"),
		asm.JEq.Imm(asm.R1, opState, "state"),
		asm.JEq.Imm(asm.R1, opRTT, "known"),
		asm.JEq.Imm(asm.R1, opTimeout, "known"),
		asm.JNE.Imm(asm.R1, opRetransmit, "end"),
	)
	w.at("known")
	w.cookie()
	w.lookup("flows", atCookie)
	w.add(
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(flow, asm.R0),
		asm.LoadMem(asm.R1, ctx, opsOp, asm.Word),
		asm.JEq.Imm(asm.R1, opRTT, "rtt"),
		asm.JNE.Imm(asm.R1, opTimeout, "figures"),
		asm.LoadMem(asm.R1, ctx, opsArg0, asm.Word), asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(flow, flowTimeouts, asm.R1, asm.Word),
		asm.Ja.Label("figures"),
	)
	w.trip()
	w.at("figures")
	w.figures()
	w.add(asm.Ja.Label("end"))
	w.at("state")
	w.add(asm.LoadMem(asm.R1, ctx, opsArg1, asm.Word), asm.JNE.Imm(asm.R1, tcpClose, "end"))
	w.cookie()
	w.add(asm.LoadMapPtr(asm.R1, w.maps["flows"].FD()))
	w.pointer(asm.R2, atCookie)
	w.add(asm.FnMapDeleteElem.Call(), asm.Ja.Label("end"))
	w.established()
	w.at("end")
	w.add(asm.Mov.Imm(asm.R0, 1), asm.Return())
	return &ebpf.ProgramSpec{
		Name: "mamma_" + measuring.name, Type: ebpf.SockOps, AttachType: measuring.attach,
		Instructions: w.out, License: "BSD",
	}
}

func (w *writer) cookie() {
	w.add(asm.Mov.Reg(asm.R1, ctx), asm.FnGetSocketCookie.Call(), asm.StoreMem(asm.RFP, atCookie, asm.R0, asm.DWord))
}

// established begins to measure a connection of this network namespace.
func (w *writer) established() {
	w.at("established")
	w.add(
		asm.Mov.Reg(asm.R1, ctx), asm.FnGetNetnsCookie.Call(),
		asm.LoadMapValue(asm.R1, w.maps["settings"].FD(), 0),
		asm.LoadMem(asm.R1, asm.R1, settingsNetns, asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R1, "end"),
		asm.Mov.Imm(asm.R0, 0),
	)
	for at := int16(-8); at >= atFlow; at -= 8 {
		w.add(asm.StoreMem(asm.RFP, at, asm.R0, asm.DWord))
	}
	w.add(asm.Mov.Reg(flow, asm.RFP), asm.Add.Imm(flow, atFlow))
	w.add(asm.LoadMem(asm.R1, ctx, opsFamily, asm.Word), asm.JEq.Imm(asm.R1, unix.AF_INET6, "six"), asm.JNE.Imm(asm.R1, unix.AF_INET, "end"))
	for _, x := range []struct{ to, from int16 }{{flowLocal, opsLocal4}, {flowRemote, opsRemote4}} {
		w.add(asm.StoreImm(flow, x.to+10, 0xffff, asm.Half), asm.LoadMem(asm.R1, ctx, x.from, asm.Word), asm.StoreMem(flow, x.to+12, asm.R1, asm.Word))
	}
	w.add(asm.Ja.Label("addressed"))
	w.at("six")
	for i := int16(0); i < sizeAddr; i += 4 {
		w.add(
			asm.LoadMem(asm.R1, ctx, opsLocal6+i, asm.Word), asm.StoreMem(flow, flowLocal+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, ctx, opsRemote6+i, asm.Word), asm.StoreMem(flow, flowRemote+i, asm.R1, asm.Word),
		)
	}
	w.at("addressed")
	w.add(
		asm.LoadMem(asm.R1, ctx, opsPort, asm.Word), asm.StoreMem(flow, flowLocalPort, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, ctx, opsRemotePort, asm.Word), asm.StoreMem(flow, flowRemotePort, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, ctx, opsSock, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "end"),
		asm.LoadMem(asm.R1, asm.R1, sockDevice, asm.Word), asm.StoreMem(flow, flowDevice, asm.R1, asm.Word),
		// As RFC 6298 begins: half of the first round-trip time, which comes times eight.
		asm.LoadMem(asm.R1, ctx, opsRTT, asm.Word), asm.RSh.Imm(asm.R1, 4), asm.StoreMem(flow, flowRTTVar, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, ctx, opsRTT, asm.Word), asm.StoreMem(flow, flowRTT, asm.R1, asm.Word),
		asm.FnKtimeGetNs.Call(), asm.StoreMem(flow, flowHeard, asm.R0, asm.DWord),
	)
	w.figures()
	w.cookie()
	w.add(asm.LoadMapPtr(asm.R1, w.maps["flows"].FD()))
	w.pointer(asm.R2, atCookie)
	w.pointer(asm.R3, atFlow)
	w.add(
		asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"), // there is no room for more
		asm.Mov.Reg(asm.R1, ctx),
		asm.LoadMem(asm.R2, ctx, opsFlags, asm.Word), // others may have set some
		asm.Or.Imm(asm.R2, opsFlagTimeout|opsFlagRetransmit|opsFlagState|opsFlagRTT),
		asm.FnSockOpsCbFlagsSet.Call(),
	)
}

// trip takes a round-trip time. Its variation is estimated as in RFC 6298, from one
// round-trip time in each window.
func (w *writer) trip() {
	w.at("rtt")
	w.add(asm.FnKtimeGetNs.Call(), asm.StoreMem(flow, flowHeard, asm.R0, asm.DWord))
	w.add(
		asm.Mov.Imm(asm.R1, 0), asm.StoreMem(flow, flowTimeouts, asm.R1, asm.Word),
		asm.LoadMem(asm.R2, ctx, opsArg0, asm.Word), // this round-trip time
		asm.LoadMem(asm.R3, ctx, opsArg1, asm.Word), // the smoothed one, times eight
		asm.JNE.Imm(asm.R3, 0, "smoothed"),
		asm.LoadMem(asm.R3, ctx, opsRTT, asm.Word),
	)
	w.at("smoothed")
	w.add(
		asm.StoreMem(flow, flowRTT, asm.R3, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "figures"),
		asm.RSh.Imm(asm.R3, 3),
		asm.JGE.Reg(asm.R2, asm.R3, "slower"),
		asm.Mov.Reg(asm.R1, asm.R3), asm.Mov.Reg(asm.R3, asm.R2), asm.Mov.Reg(asm.R2, asm.R1),
	)
	w.at("slower")
	w.add(
		asm.Sub.Reg(asm.R2, asm.R3), // how much it differs
		asm.RSh.Imm(asm.R2, 2),
		asm.LoadMem(asm.R1, flow, flowRTTVar, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1), asm.RSh.Imm(asm.R3, 2), asm.Sub.Reg(asm.R1, asm.R3), asm.Add.Reg(asm.R1, asm.R2),
		asm.StoreMem(flow, flowRTTVar, asm.R1, asm.Word),
	)
}

// figures copies what the kernel counts.
func (w *writer) figures() {
	for _, x := range []struct {
		to, from int16
		size     asm.Size
	}{
		{flowMinRTT, opsMinRTT, asm.Word}, {flowSent, opsDataSegsOut, asm.Word}, {flowRetrans, opsRetrans, asm.Word}, {flowLost, opsLost, asm.Word},
		{flowSegsIn, opsSegsIn, asm.Word}, {flowSegsOut, opsSegsOut, asm.Word}, {flowAcked, opsAcked, asm.DWord}, {flowReceived, opsReceived, asm.DWord},
	} {
		w.add(asm.LoadMem(asm.R1, ctx, x.from, x.size), asm.StoreMem(flow, x.to, asm.R1, x.size))
	}
}

// Unmeasured is why connections are not measured; nil: they are, once Attach is called.
func (t *Table) Unmeasured() error { return t.unmeasured }

// MaxFlows is how many connections can be measured. Further ones are not.
const MaxFlows = maxFlows

// flowBatch is how many connections are read with one call of the kernel.
const flowBatch = 512

// Flows calls visit for each TCP connection that was established since Attach was called, and
// that has not ended. The Flow is valid during the call only. Only one goroutine may call
// Flows.
func (t *Table) Flows(visit func(*Flow)) error {
	if t.unmeasured != nil {
		return t.unmeasured
	}
	if t.cookies == nil {
		t.cookies, t.flows = make([]uint64, flowBatch), make([][flowSize]byte, flowBatch)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	var at ebpf.MapBatchCursor
	for {
		n, err := t.maps["flows"].BatchLookup(&at, t.cookies, t.flows, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read connections: %w", err)
		}
		for i := range n {
			if ParseFlow(t.cookies[i], t.flows[i][:], time.Duration(now.Nano()), &t.flow) == nil {
				visit(&t.flow)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// ParseFlow reads an entry of the map of connections, at a time of CLOCK_MONOTONIC.
func ParseFlow(cookie uint64, b []byte, now time.Duration, f *Flow) error {
	if len(b) < flowSize {
		return fmt.Errorf("%w: %d bytes", ErrEvent, len(b))
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	*f = Flow{
		Cookie: cookie, Local: [sizeAddr]byte(b[flowLocal:]), Remote: [sizeAddr]byte(b[flowRemote:]),
		LocalPort: binary.NativeEndian.Uint16(b[flowLocalPort:]), RemotePort: binary.BigEndian.Uint16(b[flowRemotePort+2:]),
		Device: u32(b[flowDevice:]), RTT: u32(b[flowRTT:]) >> 3, RTTVar: u32(b[flowRTTVar:]), MinRTT: u32(b[flowMinRTT:]),
		Sent: u32(b[flowSent:]), Retrans: u32(b[flowRetrans:]), Lost: u32(b[flowLost:]), Segments: u32(b[flowSegsIn:]) + u32(b[flowSegsOut:]),
		Timeouts: u32(b[flowTimeouts:]), Acked: u64(b[flowAcked:]), Received: u64(b[flowReceived:]),
	}
	if f.MinRTT == 1<<32-1 {
		f.MinRTT = 0 // not known yet
	}
	if heard := u64(b[flowHeard:]); heard < uint64(now) {
		f.Silent = now - time.Duration(heard)
	}
	return nil
}
