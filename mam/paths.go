package mam

import (
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// pathAge is for how long a round-trip time is passed on to clients: as long as
// the minimum remembers (doc/original/measurement.md 2).
const pathAge = 10 * time.Minute

// paths tells what is known of the way by p and by each of the alternates.
// Without any prefix there is nothing to tell.
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

// path gives the round-trip time towards the destination where it is known, else
// that of the prefix as a whole. A prefix that only this user's connects fail on
// is suspect to it.
func (rq *request) path(p *policy.Prefix) wire.Path {
	if p == nil {
		return wire.Path{}
	}
	path := wire.Path{Health: uint32(p.Health.State)}
	if p.Health.State == policy.Up && slices.Contains(rq.view.Avoid[rq.asked.App.UID], p.ID) {
		path.Health = wire.PathSuspect
	}
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

// costs tells what traffic by p and by each of the alternates costs. Where the kernel
// chooses nothing is known.
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

// microseconds is the median of the round-trip times, the minimum where there is
// none, 0 if neither is known or both are old.
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
