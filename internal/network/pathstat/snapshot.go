package pathstat

import (
	"maps"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Prefix is a prefix to measure.
type Prefix struct {
	ID    policy.PrefixID
	Index int // of the interface ID.Interface in the kernel
	// Addrs are the host's addresses in the prefix. A connection from any of them
	// counts. The prefix log shows the first.
	Addrs []netip.Addr
	// Loopback tells that only the interface's error counters are measured, and that
	// nothing is logged (M16).
	Loopback bool
	// Attachment names what the interface is attached to, such as an access point; "": not
	// known. Measurements go with it: see Memory.
	Attachment string
	// Stay is another number whenever the attachment may be another one. What was measured
	// before is then not used; under the same number a new Attachment is a better name.
	Stay uint64
}

// Snapshot is everything that is known after a pass. It never changes once published,
// apart from Destinations. Nobody may modify it or what it points to.
type Snapshot struct {
	Time     time.Time
	Prefixes []Prefix // as given to Sampler.Set
	// Paths holds figures by prefix, and Links by interface. An entry appears with the
	// first pass that finds something.
	Paths map[policy.PrefixID]policy.PathStats
	Links map[string]policy.LinkStats
	// Flows holds the prefixes that have connections.
	Flows map[policy.PrefixID]Flow
	// Ended holds the prefixes whose connections have ended within a second: the median of
	// these connections' round-trip times. It is for people. What is decided depends on
	// Paths.
	Ended map[policy.PrefixID]time.Duration
	// Bytes holds what each interface has carried in both directions. The key is the
	// index, because another interface may get the same name and begins at zero.
	Bytes map[int]uint64
	// Wifi holds the interfaces that are wireless and associated.
	Wifi map[string]*policy.WifiStats

	// Indexes holds the index that each interface had when it was measured, by name.
	Indexes map[string]int

	tags  map[policy.PrefixID]int
	dests *Destinations
}

// Of returns the snapshot with only the measurements that belong to the present stays of the
// prefixes. Prefixes with a new stay are measured from the next pass on.
func (s *Snapshot) Of(prefixes []Prefix) *Snapshot {
	before := make(map[policy.PrefixID]uint64, len(s.Prefixes))
	for i := range s.Prefixes {
		before[s.Prefixes[i].ID] = s.Prefixes[i].Stay
	}
	out := s
	for i := range prefixes {
		p := &prefixes[i]
		if stay, measured := before[p.ID]; !measured || stay == p.Stay {
			continue
		}
		if out == s {
			c := *s
			out = &c
			out.Paths, out.Links, out.Flows, out.tags = maps.Clone(s.Paths), maps.Clone(s.Links), maps.Clone(s.Flows), maps.Clone(s.tags)
			out.Ended = maps.Clone(s.Ended)
		}
		delete(out.Paths, p.ID)
		delete(out.Flows, p.ID)
		delete(out.Ended, p.ID)
		delete(out.tags, p.ID)
		delete(out.Links, p.ID.Interface)
	}
	return out
}

// Flow tells whether the connections of a prefix make progress.
type Flow struct {
	// Stalled is the number of connections that have retransmitted at least twice in a
	// row without an acknowledgement.
	Stalled int
	// Heard is the time since any of the connections has received something.
	Heard time.Duration
}

// Measured tells whether the snapshot's figures for an interface name belong to the
// interface with this index. An interface that was made again begins without figures.
func (s *Snapshot) Measured(name string, index int) bool {
	known, ok := s.Indexes[name]
	return ok && known == index
}

// Destination returns the figures of the connections from a prefix to the network of
// remote (/24 for IPv4, /48 for IPv6). The minimum expires up to 30 s early. The zero
// PathStats means that nothing is known.
//
// Unlike the rest of a snapshot, the answer is from the latest pass. Destination is
// safe for concurrent use and does not wait for a pass.
func (s *Snapshot) Destination(id policy.PrefixID, remote netip.Addr) policy.PathStats {
	tag, ok := s.tags[id]
	if !ok || !remote.IsValid() {
		return policy.PathStats{}
	}
	stats, _ := s.dests.get(keyOf(tag, remote.As16()))
	return stats
}
