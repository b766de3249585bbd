package client

import (
	"math"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// Outcome is the result of a connection that a program made itself, by an Endpoint of a
// Decision.
type Outcome struct {
	// Candidate is that of the Endpoint; the zero value is the manager's first choice. The
	// manager doubts the candidates before one that connects, as after a dial that did.
	Candidate Candidate
	Duration  time.Duration  // from the call that connects to its end
	Err       error          // why there is no connection; nil if there is one
	Local     netip.AddrPort // of the connection, if there is one
	PlainTCP  bool           // it was opened with MPTCP, and is plain TCP
}

// milliseconds is a duration as reports have it: 0 if it is negative, and at most 49 days.
func milliseconds(d time.Duration) uint32 {
	return uint32(max(0, min(d.Milliseconds(), math.MaxUint32)))
}

// ReportAnswered tells the manager, in the background, that the destination has answered
// over a candidate (Endpoint.Candidate), while it did not over the candidates before it. It
// is for programs that leave a network because the network is silent: the manager then
// doubts that network, and tells others. after is the time from the first packet over the
// candidate to the first answer. For the first choice and for a plain socket ReportAnswered
// does nothing.
func (dec *Decision) ReportAnswered(c Candidate, after time.Duration) {
	p := dec.plan
	if p == nil || p.features&wire.FeatureReports == 0 || p.id == uuid.Nil || c <= FirstChoice {
		return
	}
	if p.lease != nil {
		dec.dialer.daemon().doubt(p.lease)
	}
	dec.dialer.daemon().report(false, &wire.Message{Action: wire.ActionReportRequest, DecisionID: p.id, Outcome: &wire.Outcome{
		Candidate: int32(c), Milliseconds: milliseconds(after),
	}})
}

// Report tells the manager the result of the connection, in the background. The manager
// derives the health of networks from reports, and shows the result beside the
// decision. Nothing is reported for datagrams, since to connect their socket proves
// nothing, nor to a manager that takes no reports.
func (dec *Decision) Report(o Outcome) {
	p := dec.plan
	if p == nil || p.features&wire.FeatureReports == 0 || p.id == uuid.Nil || p.target.typ != wire.SockStream {
		return
	}
	errno := errnoOf(o.Err)
	first := o.Candidate == FirstChoice
	if p.lease != nil && (o.Err != nil || o.Candidate != dec.first().index) {
		dec.dialer.daemon().doubt(p.lease)
	}
	if o.Err != nil && errno == 0 {
		return // the attempt was given up, which says nothing about the network
	}
	multipath := first && dec.first().multipath
	if o.Err == nil && first && !o.PlainTCP && p.lease != nil && !p.reuse && !multipath {
		dec.dialer.daemon().connected(p.id, o.Duration)
		return
	}
	m := &wire.Message{Action: wire.ActionReportRequest, DecisionID: p.id, Outcome: &wire.Outcome{
		Candidate: int32(o.Candidate), Milliseconds: milliseconds(o.Duration), Errno: errno, LocalPort: o.Local.Port(),
	}}
	if o.PlainTCP {
		m.Outcome.Flags = wire.OutcomePlainTCP
	}
	dec.dialer.daemon().report(o.Err == nil && !multipath, m)
}
