package pathstat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/sockdiag"
)

const (
	// maxListed bounds the connections that the roster keeps. Each takes some 200 bytes. If a dump
	// has more, the list is read in each pass that the watcher needs.
	maxListed = 16384
	// maxAsked bounds the questions of a pass. So many take half as long as the cheapest dump
	// (BenchmarkFollow).
	maxAsked = 256
)

// A roster has the connections of managed prefixes as the latest dump had them, for passes in which
// the watcher needs them. These passes make no dump: the kernel tells by itself which connections
// have begun and ended, and is asked about those that are new or that the watcher follows, one by
// one. The zero value is an empty roster.
type roster struct {
	at    map[uint64]int // by cookie: place in list
	list  []entry
	full  bool   // the latest dump had more connections
	round uint64 // of the latest pass without a dump
	ask   []question
	found []bool // which of them have an answer
	who   []int  // the place in list of each; -1: it is new
}

// entry is a connection of a roster.
type entry struct {
	sock   tcpSocket
	read   time.Duration // Instant.Up at which sock was read
	follow bool          // the watcher wants its figures
	seen   uint64        // the latest round in which it was observed; 0: it never was
}

// question names a connection that the kernel is asked about.
type question = sockdiag.Query

// begin makes the roster empty.
func (r *roster) begin() {
	if r.at == nil {
		r.at = map[uint64]int{}
	}
	clear(r.at)
	r.list, r.full = r.list[:0], false
	r.round = max(r.round, 1)
}

// add adds a connection that was read at a time, or renews it.
func (r *roster) add(s *tcpSocket, read time.Duration, follow, observed bool) {
	e := entry{sock: *s, read: read, follow: follow}
	if observed {
		e.seen = r.round
	}
	if at, ok := r.at[s.Cookie]; ok { // a dump that was interrupted may list it twice
		r.list[at] = e
		return
	}
	if len(r.list) == maxListed {
		r.full = true
		return
	}
	r.at[s.Cookie] = len(r.list)
	r.list = append(r.list, e)
}

// drop removes a connection, if it is there.
func (r *roster) drop(cookie uint64) {
	i, ok := r.at[cookie]
	if !ok {
		return
	}
	last := len(r.list) - 1
	delete(r.at, cookie)
	if i != last {
		r.list[i] = r.list[last]
		r.at[r.list[i].sock.Cookie] = i
	}
	r.list = r.list[:last]
}

// prepare compares the roster with what is observed, and makes the questions. It returns false if
// there are too many.
func (r *roster) prepare(st *state, flows []Observed) bool {
	r.round++
	r.ask, r.who = r.ask[:0], r.who[:0]
	for i := range flows {
		f := &flows[i]
		if at, ok := r.at[f.Cookie]; ok {
			r.list[at].seen = r.round
		} else if len(st.byAddr[f.Local]) > 0 {
			if len(r.ask) == maxAsked {
				return false
			}
			r.ask, r.who = append(r.ask, f.question()), append(r.who, -1)
		}
	}
	for i := 0; i < len(r.list); {
		e := &r.list[i]
		if e.seen > 0 && e.seen < r.round {
			r.drop(e.sock.Cookie) // it was observed, and has ended; another one has its place now
			continue
		}
		if e.follow {
			if len(r.ask) == maxAsked {
				return false
			}
			r.ask, r.who = append(r.ask, e.sock.question()), append(r.who, i)
		}
		i++
	}
	return true
}

func (f *Observed) question() question {
	return question{Local: netip.AddrPortFrom(netip.AddrFrom16(f.Local).Unmap(), f.LocalPort), Remote: netip.AddrPortFrom(netip.AddrFrom16(f.Remote).Unmap(), f.RemotePort), Cookie: f.Cookie, Device: f.Device}
}

func (s *tcpSocket) question() question {
	return question{Local: netip.AddrPortFrom(netip.AddrFrom16(s.Local).Unmap(), s.LocalPort), Remote: netip.AddrPortFrom(netip.AddrFrom16(s.Remote).Unmap(), s.RemotePort), Cookie: s.Cookie, Device: s.Device}
}

// take takes the answers. Connections without one have ended.
func (r *roster) take(now time.Duration, read func([]question, func(int, *tcpSocket)) error) error {
	r.found = slices.Grow(r.found[:0], len(r.ask))[:len(r.ask)]
	clear(r.found)
	err := read(r.ask, func(i int, s *tcpSocket) {
		r.found[i] = true
		if at := r.who[i]; at >= 0 {
			r.list[at].sock, r.list[at].read = *s, now
			return
		}
		r.add(s, now, false, true)
	})
	if err != nil {
		return err
	}
	var gone []uint64
	for i, at := range r.who {
		if at >= 0 && !r.found[i] {
			gone = append(gone, r.list[at].sock.Cookie)
		}
	}
	for _, cookie := range gone {
		r.drop(cookie)
	}
	return nil
}

// follow tells the watcher of the connections without a dump. It returns false if that takes one.
func (s *Sampler) follow(now Instant) bool {
	st, r := &s.state, &s.observed.roster
	if r.full || r.at == nil || now.Up < s.observed.outside {
		return false
	}
	s.readEnded(now) // a connection that ends later is told of in the next pass
	if !r.prepare(st, s.observed.flows) {
		return false
	}
	if err := r.take(now.Up, s.single.Read); err != nil || r.full {
		return false
	}
	st.watcher.Begin()
	for i := range r.list {
		r.list[i].follow = st.tell(&r.list[i].sock, now.Up-r.list[i].read)
	}
	st.watcher.End(now.Wall, true)
	return true
}

// singleSockets asks about connections by sock_diag.
type singleSockets struct {
	batch *sockdiag.Batch // nil: not open
	sock  tcpSocket
}

// Read implements singleSource.
func (r *singleSockets) Read(list []question, visit func(i int, s *tcpSocket)) error {
	if len(list) == 0 {
		return nil
	}
	if r.batch == nil {
		b, err := sockdiag.NewBatch()
		if err != nil {
			return err
		}
		r.batch = b
	}
	for i, a := range r.batch.Look(list, func(i int, message []byte) {
		if parseSocket(message, &r.sock) && r.sock.Cookie == list[i].Cookie {
			visit(i, &r.sock)
		}
	}) {
		if a.Err != nil && !errors.Is(a.Err, sockdiag.ErrNotFound) {
			return fmt.Errorf("ask about connection %d of %d: %w", i, len(list), a.Err)
		}
	}
	return nil
}

// Close implements singleSource.
func (r *singleSockets) Close() error {
	if r.batch == nil {
		return nil
	}
	err := r.batch.Close()
	r.batch = nil
	return err
}
