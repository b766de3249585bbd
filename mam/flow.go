package mam

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// FlowReport is what a client reports of datagrams of its own. It may report anything:
// use it for the same user only. Times of 0 are unknown.
type FlowReport struct {
	App              policy.App // who reports; the user is known
	Over             policy.PrefixID
	Local, Remote    netip.AddrPort
	RTT, MinRTT, Var time.Duration
	Sent, Lost       uint32 // packets since the report before
	Last             bool   // there will be no further report
	Silent           bool   // no answer came any more, while the destination answered over another network
}

// flowReport finds the prefix of a report. It returns nil if there is none, or if no
// single one can be meant.
func (v *View) flowReport(f *wire.Flow) *FlowReport {
	local, remote := plainAddr(f.Local), plainAddr(f.Remote)
	if !remote.IsValid() || remote.Addr().IsUnspecified() || remote.Addr().IsMulticast() {
		return nil
	}
	var over *policy.Prefix
	for _, p := range v.Prefixes {
		if !p.CIDR.Contains(local.Addr().WithZone("")) || f.Index != 0 && p.Index != int(f.Index) {
			continue
		}
		if over != nil {
			return nil
		}
		over = p
	}
	if over == nil {
		return nil
	}
	return &FlowReport{
		Over: over.ID, Local: local, Remote: remote,
		RTT: roundTrip(f.RTT), MinRTT: roundTrip(f.MinRTT), Var: ofMicroseconds(f.RTTVar), Sent: f.Sent, Lost: f.Lost,
		Last: f.Flags&wire.FlowOver != 0, Silent: f.Flags&wire.FlowSilent != 0,
	}
}

// plainAddr is an address as prefixes have it: IPv4 is not mapped.
func plainAddr(a wire.SockAddr) netip.AddrPort {
	return netip.AddrPortFrom(a.AddrPort.Addr().Unmap(), a.AddrPort.Port())
}
