package mam

import (
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// pathAge is the age up to which round-trip times are passed on to clients. It is the
// time for which the minimum is kept (doc/original/measurement.md 2).
const pathAge = 10 * time.Minute

// paths returns what is known about the paths over p and over each alternate. The
// result is empty if there is no prefix at all.
func (rq *request) paths(list []wire.Path, p *policy.Prefix, alternates []*policy.Prefix) []wire.Path {
	if p == nil && len(alternates) == 0 {
		return list
	}
	list = append(list, rq.path(p))
	for _, a := range alternates {
		list = append(list, rq.path(a))
	}
	return list
}

// path returns the round-trip time towards the destination if it is known, else that of
// the whole prefix.
func (rq *request) path(p *policy.Prefix) wire.Path {
	if p == nil {
		return wire.Path{}
	}
	path := wire.Path{Health: uint32(rq.view.healthTo(p, rq.asked.App.UID))}
	for i, q := range rq.asked.Prefixes {
		if q == p && i < len(rq.asked.DestStats) {
			path.Microseconds = microseconds(&rq.asked.DestStats[i], rq.asked.Now)
		}
	}
	if path.Microseconds == 0 {
		path.Microseconds = microseconds(&p.Stats, rq.asked.Now)
	}
	return path
}

// healthTo returns the state of p as a user sees it. A prefix counts as suspect for a user
// whose own connects fail on it.
func (v *View) healthTo(p *policy.Prefix, uid uint32) policy.HealthState {
	if p.Health.State == policy.Up && slices.Contains(v.Avoid[uid], p.ID) {
		return policy.Suspect
	}
	return p.Health.State
}

// costs returns what traffic over p and over each alternate costs. The result is empty
// if the kernel chooses the network, because the cost is then unknown.
func costs(list []wire.Cost, p *policy.Prefix, alternates []*policy.Prefix) []wire.Cost {
	if p == nil {
		return list
	}
	list = append(list, cost(p))
	for _, a := range alternates {
		list = append(list, cost(a))
	}
	return list
}

func cost(p *policy.Prefix) wire.Cost {
	c := wire.Cost{Cost: uint32(p.Cost), Left: wire.NoBudget}
	if b := p.Budget; b.Limit > 0 {
		c.Left = b.Limit - min(b.Limit, b.Used)
	}
	return c
}

// microseconds returns the median of the round-trip times, or the minimum if there is
// no median. It returns 0 if neither is known or both are too old.
func microseconds(s *policy.PathStats, now time.Time) uint32 {
	rtt := s.SRTTMedian
	if rtt <= 0 {
		rtt = s.SRTTMin
	}
	if rtt <= 0 || !s.SampleTime.IsZero() && now.Sub(s.SampleTime) > pathAge {
		return 0
	}
	return uint32(max(1, min(rtt.Microseconds(), math.MaxUint32)))
}
