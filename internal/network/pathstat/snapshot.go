package pathstat

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Prefix names a prefix that is to be measured.
type Prefix struct {
	ID    policy.PrefixID
	Index int // of the interface ID.Interface in the kernel
	// Addrs are the host's addresses in the prefix: a connection from any of
	// them counts. The prefix log shows the first.
	Addrs []netip.Addr
	// Loopback interfaces are not measured but for their error counters, and
	// not logged (M16).
	Loopback bool
}

// Snapshot is everything known after a pass. It and what it points to must not
// be modified; it stays as it is when newer ones are published, Destinations apart.
type Snapshot struct {
	Time     time.Time
	Prefixes []Prefix // as given to Sampler.Set
	// Paths has each of the prefixes, Links each of their interfaces, from the
	// first pass that found something of them.
	Paths map[policy.PrefixID]policy.PathStats
	Links map[string]policy.LinkStats
	// Flows has each of the prefixes with connections.
	Flows map[policy.PrefixID]Flow
	// Bytes has what each interface has carried in both directions, by its index:
	// another interface may get the name, and begins at zero.
	Bytes map[int]uint64
	// Wifi has the interfaces that are wireless and associated.
	Wifi map[string]*policy.WifiStats

	// Indexes has the index of each interface by its name, as it was measured.
	Indexes map[string]int

	tags  map[policy.PrefixID]int
	dests *Destinations
}

// Flow tells whether the connections of a prefix get through.
type Flow struct {
	// Stalled counts those that have retransmitted at least twice in a row and
	// get no acknowledgement.
	Stalled int
	// Heard is how long ago any of them received something.
	Heard time.Duration
}

// Measured tells whether what the snapshot says of an interface by its name is about
// the interface that has this index. One that was made anew begins without figures.
func (s *Snapshot) Measured(name string, index int) bool {
	known, ok := s.Indexes[name]
	return ok && known == index
}

// Destination returns the figures of the connections from a prefix to the
// network that remote lies in (/24 for IPv4, /48 for IPv6). The minimum expires
// up to 30 s early. The zero PathStats means that nothing is known.
//
// Unlike the rest of a snapshot the answer is of the latest pass. Destination is
// safe for concurrent use and does not wait for a pass.
func (s *Snapshot) Destination(id policy.PrefixID, remote netip.Addr) policy.PathStats {
	tag, ok := s.tags[id]
	if !ok || !remote.IsValid() {
		return policy.PathStats{}
	}
	stats, _ := s.dests.get(keyOf(tag, remote.As16()))
	return stats
}
