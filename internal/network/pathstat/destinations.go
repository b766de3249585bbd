package pathstat

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// DefaultMaxDestinations is the number of destinations that are remembered. With about
// 700 bytes each they take less than 3 MiB.
const DefaultMaxDestinations = 4096

// destGrain is how early the minimum of a destination over 10 minutes may expire. It
// bounds the memory for a destination. The minimum of a prefix is exact.
const destGrain = int64(30 * time.Second)

// Destinations holds figures for each prefix and destination network, which is a /24
// for IPv4 and a /48 for IPv6. A network is remembered from the first connection with a
// round-trip time until History after the last one. The number of networks is bounded.
// At the bound a new network replaces the one that has been without a connection for
// longest. If all have connections, the new one is left out.
//
// Lookups are safe for concurrent use. The table has several parts with a lock each,
// which is held only to copy one entry, so a lookup never waits for a pass.
type Destinations struct {
	parts [64]destPart
}

type destPart struct {
	mu    sync.RWMutex
	stats map[destKey]policy.PathStats
}

// destKey is the tag of a prefix and a network: 15 bits tag, 1 bit family, 48 bits
// address.
type destKey uint64

// maxTags bounds the prefixes that can have destinations.
const maxTags = 1 << 15

func keyOf(tag int, remote [16]byte) destKey {
	key := destKey(tag) << 49
	if a := netip.AddrFrom16(remote); a.Is4In6() {
		return key | destKey(binary.BigEndian.Uint32(remote[12:])>>8)
	}
	return key | 1<<48 | destKey(binary.BigEndian.Uint64(remote[:])>>16)
}

// network is the network that a key is about.
func (k destKey) network() netip.Prefix {
	if k>>48&1 == 0 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(k)<<8)
		return netip.PrefixFrom(netip.AddrFrom4(a), 24)
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], uint64(k)<<16)
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

func (d *Destinations) part(k destKey) *destPart {
	// Neighbouring networks differ in their low bits. The multiplication spreads these
	// over the high bits.
	return &d.parts[uint64(k)*0x9E3779B97F4A7C15>>58]
}

func (d *Destinations) get(k destKey) (policy.PathStats, bool) {
	p := d.part(k)
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, ok := p.stats[k]
	return s, ok
}

func (d *Destinations) put(k destKey, s policy.PathStats) {
	p := d.part(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stats == nil {
		p.stats = make(map[destKey]policy.PathStats)
	}
	p.stats[k] = s
}

func (d *Destinations) remove(k destKey) {
	p := d.part(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stats, k)
}

// destTracker collects the samples of a pass by destination, and keeps the estimators.
// It belongs to the sampler's goroutine.
type destTracker struct {
	table   *Destinations
	limit   int
	index   map[destKey]int32
	entries []destEntry // linked to a list by last use
	free    []int32
	newest  int32 // -1: none
	oldest  int32

	pass    uint64
	touched []int32 // entries with samples in this pass
	before  []int32 // entries with samples in the pass before
	samples []destSample
	gather  []Sample
	scratch scratch
}

type destEntry struct {
	key          destKey
	estimator    PathEstimator
	used         time.Duration // Instant.Up of the latest sample
	pass         uint64        // the latest pass with a sample
	first        int32         // head of the list of this pass's samples in destTracker.samples
	newer, older int32         // -1: none
}

type destSample struct {
	Sample
	next int32 // -1: none
}

func newDestTracker(limit int) *destTracker {
	if limit <= 0 {
		limit = DefaultMaxDestinations
	}
	return &destTracker{table: new(Destinations), limit: limit, index: map[destKey]int32{}, newest: -1, oldest: -1}
}

// begin starts a pass. It discards an unfinished one.
func (t *destTracker) begin() {
	t.pass++
	t.touched, t.samples = t.touched[:0], t.samples[:0]
}

// add adds a connection of this pass.
func (t *destTracker) add(now Instant, k destKey, s Sample) {
	i, ok := t.index[k]
	if !ok {
		if i = t.insert(k); i < 0 {
			return
		}
	}
	e := &t.entries[i]
	if e.pass != t.pass {
		e.pass, e.used, e.first = t.pass, now.Up, -1
		t.touched = append(t.touched, i)
		if t.newest != i {
			t.unlink(i)
			t.link(i)
		}
	}
	t.samples = append(t.samples, destSample{s, e.first})
	e.first = int32(len(t.samples) - 1)
}

// ended takes the round-trip time of a connection that has ended since the pass before. Call
// it before begin.
func (t *destTracker) ended(now Instant, k destKey, rtt uint32) {
	i, ok := t.index[k]
	if !ok {
		if i = t.insert(k); i < 0 {
			return
		}
	}
	e := &t.entries[i]
	e.used = now.Up
	if t.newest != i {
		t.unlink(i)
		t.link(i)
	}
	e.estimator.Ended(now, rtt)
	t.table.put(k, e.estimator.Stats())
}

// insert makes an entry, and returns its index; -1 if there is no place for it.
func (t *destTracker) insert(k destKey) int32 {
	i := t.allocate()
	if i < 0 {
		return i
	}
	t.entries[i] = destEntry{key: k, newer: -1, older: -1}
	e := &t.entries[i]
	e.estimator.minimum.grain = destGrain
	e.estimator.scratch = &t.scratch
	t.index[k] = i
	t.link(i)
	return i
}

// recall takes over what was known of a network at an earlier time, unless it is known now.
func (t *destTracker) recall(now Instant, tag int, r *DestinationRecord) {
	k := keyOf(tag, r.Network.Addr().As16())
	if _, known := t.index[k]; known || len(t.index) == t.limit || k.network() != r.Network {
		return // what is in use is worth more
	}
	i := t.insert(k)
	if i < 0 {
		return
	}
	e := &t.entries[i]
	e.used = now.Up
	e.estimator.Recall(now, r.PathRecord)
	t.table.put(k, e.estimator.Stats())
}

// records returns what is known about the networks of a prefix, those in use most
// recently first, and most of them at most.
func (t *destTracker) records(tag, most int) []DestinationRecord {
	var list []DestinationRecord
	for i := t.newest; i >= 0 && len(list) < most; i = t.entries[i].older {
		e := &t.entries[i]
		stats := e.estimator.Stats()
		if int(e.key>>49) == tag && stats.SRTTMin > 0 && !stats.SampleTime.IsZero() {
			list = append(list, DestinationRecord{e.key.network(), PathRecord{stats.SRTTMin, stats.SampleTime}})
		}
	}
	return list
}

// end computes the figures of the pass and publishes them.
func (t *destTracker) end(now Instant) {
	for _, i := range t.touched {
		e := &t.entries[i]
		t.gather = t.gather[:0]
		for s := e.first; s >= 0; s = t.samples[s].next {
			t.gather = append(t.gather, t.samples[s].Sample)
		}
		e.estimator.Add(now, t.gather)
		t.table.put(e.key, e.estimator.Stats())
	}
	for _, i := range t.before {
		// The entry may have been evicted since, and may even belong to another
		// destination.
		e := &t.entries[i]
		if j, ok := t.index[e.key]; ok && j == i && e.pass != t.pass {
			e.estimator.Add(now, nil)
			t.table.put(e.key, e.estimator.Stats())
		}
	}
	t.before = append(t.before[:0], t.touched...)
	for t.oldest >= 0 && now.Up-t.entries[t.oldest].used >= History {
		t.evict(t.oldest)
	}
}

// forget removes all destinations of a prefix.
func (t *destTracker) forget(tag int) {
	for k, i := range t.index {
		if int(k>>49) == tag {
			t.evict(i)
		}
	}
}

// allocate returns a free entry, or -1 if this pass or the one before uses all of them.
func (t *destTracker) allocate() int32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	if len(t.entries) < t.limit {
		t.entries = append(t.entries, destEntry{})
		return int32(len(t.entries) - 1)
	}
	// If there are more live destinations than entries, none is replaced. Otherwise
	// each would be replaced just before its next sample.
	if t.entries[t.oldest].pass+1 >= t.pass {
		return -1
	}
	i := t.oldest
	t.evict(i)
	t.free = t.free[:len(t.free)-1]
	return i
}

func (t *destTracker) evict(i int32) {
	t.unlink(i)
	e := &t.entries[i]
	delete(t.index, e.key)
	t.table.remove(e.key)
	t.entries[i] = destEntry{newer: -1, older: -1}
	t.free = append(t.free, i)
}

func (t *destTracker) link(i int32) {
	e := &t.entries[i]
	e.newer, e.older = -1, t.newest
	if t.newest >= 0 {
		t.entries[t.newest].newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *destTracker) unlink(i int32) {
	e := &t.entries[i]
	if e.newer >= 0 {
		t.entries[e.newer].older = e.older
	} else {
		t.newest = e.older
	}
	if e.older >= 0 {
		t.entries[e.older].newer = e.newer
	} else {
		t.oldest = e.newer
	}
}
