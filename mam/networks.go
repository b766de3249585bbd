package mam

import (
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// listing is what a request for the networks is answered from: all networks, those that
// suit the request first and in the order in which the policy would use them.
type listing struct {
	networks   []wire.Network
	generation uint64 // of all but figures; never 0
}

// list makes the listing for a request as it came.
func (m *Manager) list(msg *wire.Message, app policy.App, now time.Time) listing {
	v := m.View()
	offered := m.rank(msg, app, v, now)
	l := listing{networks: make([]wire.Network, 0, len(v.Prefixes))}
	for _, p := range offered {
		l.networks = append(l.networks, v.network(p, app.UID, true, now))
	}
	for _, p := range v.Prefixes {
		if !slices.Contains(offered, p) {
			l.networks = append(l.networks, v.network(p, app.UID, false, now))
		}
	}
	l.generation = m.changes.generation(l.networks)
	return l
}

// network tells of p what a client may know.
func (v *View) network(p *policy.Prefix, uid uint32, offered bool, now time.Time) wire.Network {
	n := wire.Network{
		Index: uint32(p.Index), Health: uint32(v.healthTo(p, uid)), Cost: cost(p), Device: v.Devices[p.ID], Reason: p.Health.Reason,
		Prefix: p.CIDR, Interface: p.Interface, Name: p.Name, Addrs: p.Addrs, Utilization: wire.UnknownUtilization,
		Down: rate(p.Link.DownSMA), Up: rate(p.Link.UpRate), DownMax: rate(p.Link.DownRateMax), UpMax: rate(p.Link.UpRateMax),
	}
	if !p.Health.Since.IsZero() {
		n.Since = p.Health.Since.UnixMilli()
	}
	if p.Default {
		n.Flags |= wire.NetworkDefault
	}
	if offered {
		n.Flags |= wire.NetworkOffered
	}
	if n.RTT = microseconds(&p.Stats, now); n.RTT > 0 {
		n.MinRTT, n.RTTVar = inMicroseconds(p.Stats.SRTTMin), inMicroseconds(p.Stats.RTTVarMedian)
		n.Loss = uint32(max(0, min(p.Stats.LossUp, 1)) * 1e6)
	}
	if w := p.Wifi; w != nil {
		n.Flags |= wire.NetworkRadio
		n.Signal = int32(w.Signal)
		if w.BSSLoad {
			n.Utilization = uint32(max(0, min(w.ChannelUtilization, 100)) * 10)
		}
	}
	n.Bounds()
	return n
}

func rate(r policy.BytesPerSecond) uint64 { return uint64(max(0, min(float64(r), 1e18))) }

func inMicroseconds(d time.Duration) uint32 {
	return uint32(max(0, min(d.Microseconds(), math.MaxUint32)))
}

// rank returns the prefixes that a connection as in the request may use, the best one
// first: those that the policy names, then those that it would be offered besides. A
// fresh instance of the policy is asked, as for Explain.
func (m *Manager) rank(msg *wire.Message, app policy.App, v *View, now time.Time) []*policy.Prefix {
	rq := &request{}
	rq.fill(msg, policy.SocketConnect, app, v, now)
	if dst := addr(msg.Context.Remote).Unmap(); dst.IsValid() && !dst.IsUnspecified() {
		rq.narrow(policy.FamilyOf(dst), dst)
	}
	all := slices.Clone(rq.asked.Prefixes)
	if v.Runner == nil && rq.selection == nil {
		return all
	}
	d := m.preview(rq)
	if d.Refused {
		return nil
	}
	var list []*policy.Prefix
	add := func(prefixes ...*policy.Prefix) {
		for _, p := range prefixes {
			if p != nil && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	add(d.Decision.Prefix)
	add(d.Decision.Alternates...)
	if !d.Decision.Only || d.Selected { // the selection has narrowed all already
		add(all...)
	}
	return list
}

// preview decides about rq with a fresh instance of the policy. Where none can be asked
// or is busy for too long, the decision is the default one.
func (m *Manager) preview(rq *request) Record {
	r := rq.view.Runner
	if r == nil {
		rq.settle()
		return rq.record()
	}
	if r.Err() == nil && rq.view.Fresh != nil && m.changes.begin() {
		copied := *rq // which belongs to the policy if it does not return
		e, err := askFresh(&copied, m.changes.end)
		if err == nil {
			return e.Record
		}
	}
	rq.useDefault("")
	return rq.record()
}

// begin waits for the turn to ask a fresh policy, and tells whether it came: a policy
// may never return.
func (c *stateChanges) begin() bool {
	select {
	case c.ranking <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(callLimit)
	defer t.Stop()
	select {
	case c.ranking <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

func (c *stateChanges) end() { <-c.ranking }

// generation returns a number that changes with everything of which clients are told
// the change. It is never 0.
func (c *stateChanges) generation(list []wire.Network) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for i := range list {
		n := &list[i]
		maphash.WriteComparable(&h, n.Prefix)
		for _, s := range []string{n.Interface, n.Name, n.Device} {
			maphash.WriteComparable(&h, s)
		}
		maphash.WriteComparable(&h, [4]uint32{n.Index, n.Health, n.Cost.Cost, uint32(n.Flags)})
		for _, a := range n.Addrs {
			maphash.WriteComparable(&h, a)
		}
	}
	return max(1, h.Sum64())
}

// avoidance returns such a number for the networks that single users avoid. The order
// of the users does not matter.
func (c *stateChanges) avoidance(avoid map[uint32][]policy.PrefixID) (sum uint64) {
	for uid, ids := range avoid {
		var h maphash.Hash
		h.SetSeed(c.seed)
		maphash.WriteComparable(&h, uid)
		for _, id := range ids {
			maphash.WriteComparable(&h, id)
		}
		sum += h.Sum64()
	}
	return sum
}
