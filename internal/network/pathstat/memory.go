package pathstat

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Memory keeps what was measured of attachments, for when they come back. Networks are
// told by interface, family and attachment, so that another prefix from the same
// gateway finds what is known about it.
type Memory interface {
	KeepPath(iface string, f policy.Family, attachment string, r PathRecord)
	RecallPath(iface string, f policy.Family, attachment string) (PathRecord, bool)
	KeepLink(iface, attachment string, r LinkRecord)
	RecallLink(iface, attachment string) (LinkRecord, bool)
	// KeepDestinations takes what is known about networks of destinations, those in use
	// most recently first. It keeps the slice.
	KeepDestinations(iface string, f policy.Family, attachment string, list []DestinationRecord)
	// RecallDestinations returns what is kept of them; nobody may modify it.
	RecallDestinations(iface string, f policy.Family, attachment string) []DestinationRecord
	// Forget drops what is kept of the attachments of an interface, "" for all, and returns
	// how many there were.
	Forget(iface string) int
}

// PathRecord is what is kept of a prefix's connections.
type PathRecord struct {
	SRTTMin time.Duration // above 0
	Time    time.Time     // of the last sample
}

// LinkRecord is what is kept of an interface: the highest rates of the last ten minutes in
// use, and the highest moving average of what it has received. 0 is unknown.
type LinkRecord struct {
	Down, Up         policy.BytesPerSecond
	DownTime, UpTime time.Time
	DownAverage      policy.BytesPerSecond
}

// DestinationRecord is what is kept of a network of destinations.
type DestinationRecord struct {
	Network netip.Prefix // a /24 for IPv4, a /48 for IPv6
	PathRecord
}

// keptDestinations is how many networks of destinations are handed to the memory for each
// prefix: those in use most recently.
const keptDestinations = 64

// keepInterval is between two times that everything is handed to the memory: what a crash
// may lose.
const keepInterval = time.Minute

// stay is the time at one attachment.
type stay struct {
	number     uint64
	attachment string        // "": not known yet
	begun      time.Duration // Instant.Up; 0: all connections count
}

// renamed takes over the name of the attachment, and tells whether it is another one. A name
// that is not known any more stays.
func (s *stay) renamed(p *Prefix) bool {
	if p.Attachment == "" || p.Attachment == s.attachment {
		return false
	}
	s.attachment = p.Attachment
	return true
}

func (st *state) keepPath(p *path) {
	stats := p.estimator.Stats()
	if st.memory == nil || p.attachment == "" || stats.SRTTMin <= 0 || stats.SampleTime.IsZero() {
		return
	}
	st.memory.KeepPath(p.id.Interface, family(p.id), p.attachment, PathRecord{stats.SRTTMin, stats.SampleTime})
	st.memory.KeepDestinations(p.id.Interface, family(p.id), p.attachment, st.dests.records(p.tag, keptDestinations))
}

func (st *state) recallPath(now Instant, p *path) {
	if st.memory == nil {
		return
	}
	if r, ok := st.memory.RecallPath(p.id.Interface, family(p.id), p.attachment); ok {
		p.estimator.Recall(now, r)
	}
	list := st.memory.RecallDestinations(p.id.Interface, family(p.id), p.attachment)
	for i := len(list) - 1; i >= 0; i-- { // the last one becomes the most recent one
		st.dests.recall(now, p.tag, &list[i])
	}
}

func family(id policy.PrefixID) policy.Family {
	if id.Prefix.Addr().Is4() {
		return policy.IPv4
	}
	return policy.IPv6
}

func (st *state) keepLink(l *link) {
	s := l.estimator.Stats()
	if st.memory == nil || l.attachment == "" || l.loopback || s.DownRateMax <= 0 && s.UpRateMax <= 0 {
		return
	}
	st.memory.KeepLink(l.name, l.attachment, LinkRecord{
		Down: s.DownRateMax, Up: s.UpRateMax, DownTime: s.DownRateMaxTime, UpTime: s.UpRateMaxTime, DownAverage: s.DownSMAMax.VeryLong,
	})
}

func (st *state) recallLink(l *link) {
	if st.memory == nil {
		return
	}
	if r, ok := st.memory.RecallLink(l.name, l.attachment); ok {
		l.estimator.Recall(r)
		l.stats = l.estimator.Stats()
	}
}

// keepAll hands everything to the memory.
func (st *state) keepAll() {
	for _, p := range st.paths {
		st.keepPath(p)
	}
	for _, l := range st.links {
		st.keepLink(l)
	}
}

// forget drops what is known about an interface's prefixes and of itself, "" for all.
func (st *state) forget(iface string) {
	for id, p := range st.paths {
		if iface == "" || id.Interface == iface {
			p.estimator = PathEstimator{}
			st.dests.forget(p.tag)
		}
	}
	for name, l := range st.links {
		if iface == "" || name == iface {
			l.estimator, l.stats, l.seen = NewLinkEstimator(st.interval), policy.LinkStats{}, false
		}
	}
	if st.memory != nil {
		st.memory.Forget(iface) // what was kept since the caller had it forget
	}
}
