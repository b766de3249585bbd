package oracle

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// shards is the number of parts with a lock each, so that lookups on several
	// processors do not wait for each other.
	shards    = 1 << shardBits
	shardBits = 4
	// perShard bounds the memory: 4096 destinations in all take less than 2 MiB.
	perShard = 256
)

// cache remembers answers. When it is full, it forgets the least recently used ones.
type cache struct {
	shards [shards]shard
}

type shard struct {
	mu  sync.Mutex
	lru *simplelru.LRU[Flow, entry]
}

type entry struct {
	reach Reach
	epoch uint64        // the epoch in which the question was asked
	until time.Duration // time since the Reacher was made
}

func newCache() *cache {
	c := &cache{}
	for i := range c.shards {
		lru, err := simplelru.NewLRU[Flow, entry](perShard, nil)
		if err != nil {
			panic("oracle: " + err.Error()) // happens only for a size that is not positive
		}
		c.shards[i].lru = lru
	}
	return c
}

func (c *cache) of(f Flow) *shard {
	a := f.Dst.As16()
	h := binary.NativeEndian.Uint64(a[:8]) ^ binary.NativeEndian.Uint64(a[8:])
	h *= 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio (Knuth, TAOCP 6.4): close addresses go to different parts
	return &c.shards[h>>(64-shardBits)]
}

func (c *cache) get(f Flow, epoch uint64, now time.Duration) (Reach, bool) {
	s := c.of(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.lru.Get(f)
	return e.reach, ok && e.epoch == epoch && now < e.until
}

func (c *cache) put(f Flow, e entry) {
	s := c.of(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Add(f, e)
}
