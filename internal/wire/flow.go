package wire

import (
	"fmt"
)

// Flow reports how datagrams of the client fare, which the kernel does not measure. It
// is about one socket and one destination. Times are in microseconds, 0: unknown.
type Flow struct {
	Flags               FlowFlags
	Index               uint32 // of the interface; 0: unknown
	RTT, MinRTT, RTTVar uint32
	Sent, Lost          uint32 // packets since the report before
	Local, Remote       SockAddr
}

// FlowFlags are the flags of a Flow.
type FlowFlags uint32

// The flags of a Flow.
const (
	FlowOver   FlowFlags = 1 // there will be no further report
	FlowSilent FlowFlags = 2 // no answer came any more, while the destination answered over another network
)

const flowSize = 28 // fixed part of a flow

func (e *encoder) flow(f *Flow) {
	mark := e.open(TagFlow)
	for _, n := range []uint32{uint32(f.Flags), f.Index, f.RTT, f.MinRTT, f.RTTVar, f.Sent, f.Lost} {
		e.b = le.AppendUint32(e.b, n)
	}
	e.rawAddr(TagFlow, f.Local)
	e.rawAddr(TagFlow, f.Remote)
	e.close(mark)
}

func decodeFlow(v []byte) (*Flow, error) {
	if len(v) < flowSize {
		return nil, errLength
	}
	f := &Flow{
		Flags: FlowFlags(le.Uint32(v)), Index: le.Uint32(v[4:]), RTT: le.Uint32(v[8:]), MinRTT: le.Uint32(v[12:]), RTTVar: le.Uint32(v[16:]),
		Sent: le.Uint32(v[20:]), Lost: le.Uint32(v[24:]),
	}
	v = v[flowSize:]
	for _, a := range []*SockAddr{&f.Local, &f.Remote} {
		var err error
		if *a, err = decodeSockAddr(v); err != nil {
			return nil, err
		}
		v = v[a.size():]
	}
	return f, nil
}

func (f *Flow) text() string {
	return fmt.Sprintf("%v to %v on interface %d, rtt %d us, least %d us, variation %d us, %d sent, %d lost, flags %#x",
		f.Local.AddrPort, f.Remote.AddrPort, f.Index, f.RTT, f.MinRTT, f.RTTVar, f.Sent, f.Lost, uint32(f.Flags))
}
