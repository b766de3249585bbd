package client

import (
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// poolUse is one use of a connection of a Pool, which is reported to the manager when
// the use ends. The zero value is not reported.
type poolUse struct {
	id       uuid.UUID // the decision that led to the use
	begun    time.Time
	received uint64 // bytes that the connection had received before
	reused   bool
}

// tcpFigures are the kernel's figures of a connection. Times of 0 are unknown.
type tcpFigures struct {
	received    uint64        // bytes of data
	silent      time.Duration // since the last byte of data came
	rtt, minRTT time.Duration
}

// begin notes that s is used from now on, as plan pl says.
func (p *Pool) begin(s *Conn, pl *plan, begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.use = poolUse{}
	if pl.features&wire.FeatureReports == 0 || pl.id == uuid.Nil || s.info.Multipath || s.key.typ != wire.SockStream {
		return
	}
	s.use = poolUse{id: pl.id, begun: begun, reused: s.info.Reused}
	if s.info.Reused {
		f, _ := figuresOf(s.Conn)
		s.use.received = f.received
	}
}

// tell reports what the connection has received in the use that ends. The caller holds
// p.mu.
func (p *Pool) tell(s *Conn, partial bool) {
	u := s.use
	s.use = poolUse{}
	if u.id == uuid.Nil {
		return
	}
	f, ok := figuresOf(s.Conn)
	if !ok || f.received < u.received {
		return
	}
	t := &wire.Transfer{
		Candidate: int32(s.info.Candidate), Bytes: f.received - u.received,
		Microseconds: inMicroseconds(time.Since(u.begun) - f.silent), RTT: inMicroseconds(f.rtt), MinRTT: inMicroseconds(f.minRTT),
	}
	if u.reused {
		t.Candidate = 0 // the decision chose this very connection
		t.Flags |= wire.TransferReused
	}
	if partial {
		t.Flags |= wire.TransferPartial
	}
	p.dialer().daemon().report(true, &wire.Message{Action: wire.ActionReportRequest, DecisionID: u.id, Transfer: t})
}

func inMicroseconds(d time.Duration) uint32 {
	const most = 1<<32 - 1
	return uint32(max(0, min(d.Microseconds(), most)))
}
