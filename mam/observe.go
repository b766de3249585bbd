package mam

import (
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Measured hands the measurements of the newest View to a policy that is an Observer.
// It returns when the policy has processed them.
func (m *Manager) Measured(now time.Time) {
	v := m.View()
	observe(m, v, func(o policy.Observer) { o.Measured(v.Prefixes, now) })
}

// observe waits for the policy's turn and calls tell, if the policy implements O. An
// error is not returned. A policy that is stuck is out of service from then on, and the
// next decision says so. One that panics is logged, and asked again.
func observe[O any](m *Manager, v *View, tell func(O)) {
	if v == nil || v.Runner == nil {
		return
	}
	if _, ok := v.Runner.policy.(O); !ok {
		return
	}
	revoked := false
	_, _ = v.Runner.call(nil, func(p policy.Policy) {
		if o, ok := p.(O); ok {
			tell(o)
		}
		if r, ok := p.(policy.Revoker); ok {
			revoked = r.Revoke()
		}
	})
	if revoked {
		m.revoke()
	}
}

// ConnectionEnded tells a policy that is a ConnectionObserver that a connection has
// ended. The connection went over the prefix with the ID over, and by made the decision
// for it. ConnectionEnded fills in c.Prefix, and returns when the policy has processed the
// call.
func (m *Manager) ConnectionEnded(c policy.Connection, over policy.PrefixID, by Decider) {
	v := m.View()
	observe(m, v, func(o policy.ConnectionObserver) {
		if v.Runner.self != by {
			c.Token = 0
		}
		for _, p := range v.Prefixes {
			if p.ID == over {
				c.Prefix = p
			}
		}
		o.ConnectionEnded(&c)
	})
}

// ended passes a transfer that a client reports to the policy.
func (m *Manager) ended(rec *Record, t *wire.Transfer, now time.Time) {
	v := m.View()
	x := transferOf(rec, t, v.Prefixes)
	x.End = now
	m.learn(v, rec, x)
}

// Measurement is what was measured of a connection whose client reports nothing about it.
// Round-trip times of 0 are unknown.
type Measurement struct {
	Over     policy.PrefixID // the prefix that it uses
	Bytes    uint64          // received
	Duration time.Duration   // from the decision until the last byte
	RTT      time.Duration   // smoothed, at the end
	MinRTT   time.Duration   // the least one
	End      time.Time       // when the last byte came
}

// TransferMeasured passes what was measured of a decision's connection to a policy that is
// an Observer. It ignores the measurement if the decision is forgotten, or if the client
// reports, or has reported, by itself what the connection brings. It returns when the
// policy has processed the call.
func (m *Manager) TransferMeasured(id uuid.UUID, t *Measurement) {
	rec, ok := m.ring.measured(id)
	if !ok {
		return
	}
	v := m.View()
	x := rec.transfer(&t.Over, v.Prefixes)
	x.Measured, x.Bytes, x.Duration, x.RTT, x.MinRTT, x.End = true, t.Bytes, t.Duration, t.RTT, t.MinRTT, t.End
	m.learn(v, &rec, x)
}

// learn passes a transfer that a decision has led to on.
func (m *Manager) learn(v *View, rec *Record, x *policy.Transfer) {
	if v.Runner == nil || v.Runner.self != rec.Decider {
		x.Token = 0 // another policy may by now have given it to another decision
	}
	if m.opts.OnTransfer != nil {
		m.opts.OnTransfer(rec.Policy, x)
	}
	observe(m, v, func(o policy.Observer) { o.Ended(x) })
}

// transferOf joins a client's report with the decision that the report is about.
func transferOf(rec *Record, t *wire.Transfer, prefixes []*policy.Prefix) *policy.Transfer {
	over := rec.Decision.Prefix
	if n := int(t.Candidate) - 1; n >= 0 {
		if over = nil; n < len(rec.Decision.Alternates) {
			over = rec.Decision.Alternates[n]
		}
	}
	var id *policy.PrefixID
	if over != nil && t.Candidate >= 0 {
		id = &over.ID
	}
	x := rec.transfer(id, prefixes)
	x.Reused, x.Partial, x.Bytes = t.Flags&wire.TransferReused != 0, t.Flags&wire.TransferPartial != 0, t.Bytes
	x.Duration, x.Connect, x.RTT, x.MinRTT = ofMicroseconds(t.Microseconds), ofMicroseconds(t.Connect), roundTrip(t.RTT), roundTrip(t.MinRTT)
	return x
}

// transfer makes a transfer over one of the prefixes, nil if it is not known which, with
// what the decision that led to it says.
func (rec *Record) transfer(over *policy.PrefixID, prefixes []*policy.Prefix) *policy.Transfer {
	x := &policy.Transfer{
		Token: rec.Decision.Token, App: rec.App, Kind: rec.Kind, Intents: rec.Intents, Host: rec.Host, Remote: rec.Remote.Addr(), Port: rec.Remote.Port(),
	}
	if over == nil {
		return x
	}
	for _, p := range prefixes {
		if p.ID == *over {
			x.Prefix = p
		}
	}
	for i := range rec.Decision.Scores {
		if s := &rec.Decision.Scores[i]; s.Prefix != nil && s.Prefix.ID == *over {
			x.Predicted = s.Predicted
		}
	}
	return x
}

func ofMicroseconds(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }

// roundTrip is a round-trip time that a client reports; 0: unknown. The largest number is
// none: TCP_INFO has it as the least one until something was measured, and clients pass it on.
func roundTrip(n uint32) time.Duration {
	if n == math.MaxUint32 {
		return 0
	}
	return ofMicroseconds(n)
}
