package client

import (
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// Flow is what a program knows about its datagrams over a PacketConn to one destination,
// as QUIC implementations do. Figures of zero are not known.
type Flow struct {
	RTT    time.Duration // smoothed round-trip time
	MinRTT time.Duration // the least one
	RTTVar time.Duration // mean deviation of round-trip times
	Sent   uint32        // packets since the report before
	Lost   uint32        // how many packets are known, since the report before, to be lost

	// Over tells that this is the last report.
	Over bool
	// Silent tells that the destination did not answer any more over this network, while
	// it did over another one. The manager then doubts this network for this user.
	Silent bool

	// Received is the number of bytes that have come in all, Busy the time in which they
	// came, and Connect the time until the connection stood. They are used with Over only:
	// the manager learns rates from them.
	Received      uint64
	Busy, Connect time.Duration
}

// Report tells the manager, in the background, how datagrams over the socket fare. The
// kernel measures TCP only; by reports the manager knows the round-trip times and losses of
// datagrams, too, and uses them in decisions for the same user. Report about once a second
// while something comes, and at the end. The address to is the destination; invalid: that
// of Remote. A manager that takes no reports is not told.
func (c *PacketConn) Report(to netip.AddrPort, f Flow) {
	if !to.IsValid() {
		to = c.remote
	}
	local := addrPort(c.LocalAddr())
	if !c.info.Decided || c.features&wire.FeatureFlows == 0 || !to.IsValid() || !local.IsValid() {
		return
	}
	if to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port()); to.Addr().Is4() != local.Addr().Unmap().Is4() {
		return
	}
	local = netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), local.Port())
	w := &wire.Flow{
		Index: uint32(c.index), RTT: inMicroseconds(f.RTT), MinRTT: inMicroseconds(f.MinRTT), RTTVar: inMicroseconds(f.RTTVar), Sent: f.Sent, Lost: f.Lost,
		Local: wire.SockAddr{AddrPort: local}, Remote: wire.SockAddr{AddrPort: to},
	}
	if f.Over {
		w.Flags |= wire.FlowOver
	}
	if f.Silent {
		w.Flags |= wire.FlowSilent
	}
	m := &wire.Message{Action: wire.ActionReportRequest, DecisionID: uuid.UUID(c.info.ID), Flow: w}
	if f.Over && f.Received > 0 && c.info.Candidate >= FirstChoice {
		m.Transfer = &wire.Transfer{
			Candidate: int32(c.info.Candidate), Bytes: f.Received, Microseconds: inMicroseconds(f.Connect + f.Busy),
			Connect: inMicroseconds(f.Connect), RTT: w.RTT, MinRTT: w.MinRTT,
		}
	}
	c.dialer.daemon().report(!f.Silent, m)
}
