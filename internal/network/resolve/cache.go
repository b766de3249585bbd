package resolve

import (
	"container/list"
	"net/netip"
	"time"
)

// question asks for the addresses of one family of one name.
type question struct {
	name  string // checked
	qtype uint16 // dns.TypeA or dns.TypeAAAA
}

// record is the answer to a question: addresses or an error.
type record struct {
	addrs   []netip.Addr
	name    string // canonical
	server  netip.AddrPort
	expires time.Time // zero: do not remember it
	cached  bool
	err     *Error // shared; NotFound if the server said so
}

// cache holds the most recently used records, including negative ones (RFC 2308). It is
// not safe for concurrent use.
type cache struct {
	size    int
	gen     uint64 // number of flushes
	entries map[question]*list.Element
	recent  *list.List // of *cacheEntry, most recently used first
}

type cacheEntry struct {
	question question
	record   record
}

// newCache makes a cache for up to size records. A negative size means no cache.
func newCache(size int) *cache {
	c := &cache{size: max(size, 0)}
	c.flush()
	return c
}

func (c *cache) flush() {
	c.gen++
	c.entries = make(map[question]*list.Element)
	c.recent = list.New()
}

func (c *cache) get(q question, now time.Time) (record, bool) {
	e := c.entries[q]
	if e == nil {
		return record{}, false
	}
	rec := e.Value.(*cacheEntry).record
	if !now.Before(rec.expires) {
		c.remove(e)
		return record{}, false
	}
	c.recent.MoveToFront(e)
	rec.cached = true
	return rec, true
}

// put remembers a record, if the cache was not flushed since its question was asked in
// generation gen.
func (c *cache) put(q question, rec record, gen uint64, now time.Time) {
	if c.size == 0 || gen != c.gen || !now.Before(rec.expires) {
		return
	}
	if e := c.entries[q]; e != nil {
		e.Value.(*cacheEntry).record = rec
		c.recent.MoveToFront(e)
		return
	}
	if len(c.entries) >= c.size {
		c.remove(c.recent.Back())
	}
	c.entries[q] = c.recent.PushFront(&cacheEntry{question: q, record: rec})
}

func (c *cache) remove(e *list.Element) {
	c.recent.Remove(e)
	delete(c.entries, e.Value.(*cacheEntry).question)
}
