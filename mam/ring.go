package mam

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Record is one remembered decision. The prefixes in its Decision never change.
type Record struct {
	Seq     uint64 // 1 for the first decision of this process
	ID      uuid.UUID
	Time    time.Time
	Took    time.Duration // from the request's arrival to the policy's decision
	Kind    policy.Kind
	App     policy.App
	Network policy.Network
	Host    string
	Service string
	Remote  netip.AddrPort
	Bound   netip.Addr
	Intents intent.Set
	// Selection says in words which networks the application permits and prefers; "" if
	// it said nothing.
	Selection string
	// Selected tells that the application's Selection, and not the policy, has set Only
	// in the decision, and perhaps refused it.
	Selected bool
	Policy   string
	Decider  Decider         // the policy itself
	Decision policy.Decision // its Socket is always nil; see Reused
	Refused  bool            // the client was told not to connect, because of Decision.Only
	Reused   bool            // the client uses an idle socket again
	FD       int32           // the client's descriptor of that socket
	Inode    uint64          // of the socket to connect, as the client says (its ctxino); 0: unknown
	Reports  bool            // the client said that it would report the outcome
	// Transfers tells that the client said that it would report what the connection brings.
	Transfers bool
	// Cookie is SO_COOKIE of the socket, as the kernel says; 0: unknown.
	Cookie uint64
	// BoundPrefix is the prefix that contains Bound; zero: none.
	BoundPrefix policy.PrefixID
	// Fallback says why the default decision replaced the policy's; "" if the policy's
	// was used.
	Fallback string
	// Outcome is the client's report; nil until there is one.
	Outcome *Outcome
	// Uses is the number of further connections that the client reported for this
	// decision's lease. Outcome is then that of the latest one.
	Uses uint64
	// Origin says for whom the client asked. It is the client's claim, nil if there is
	// none. Show it to people, but never decide by it what anybody may do.
	Origin *Origin
	// Transferred tells that the client has reported what the connection brought, and
	// Measured that this was found out without the client.
	Transferred, Measured bool
}

// Origin says for whom a proxy makes a connection. Its texts come from outside and can
// hold anything.
type Origin struct {
	UID     uint32 // wire.UnknownUID, 1<<32 - 1: unknown
	PID     uint32 // 0: unknown
	Command string // name of the process; "": unknown
	Source  string // where the intents come from; "": unknown
}

// Outcome is what the client reported of a decision's result.
type Outcome struct {
	Candidate int32         // 0: the first suggestion, n: the n-th alternate, -1: a plain dial
	Took      time.Duration // until the connection stood or the client gave up
	Errno     int32         // 0: connected
	LocalPort uint16
	PlainTCP  bool // MPTCP was asked for, but the connection is plain TCP
}

// Ring remembers the latest decisions. It is safe for concurrent use.
type Ring struct {
	salt [8]byte

	mu    sync.Mutex
	seq   uint64
	slots []Record
	wake  map[chan struct{}]struct{}
}

// NewRing makes a Ring that remembers n decisions, or one if n is less.
func NewRing(n int) *Ring {
	r := &Ring{slots: make([]Record, max(n, 1)), wake: map[chan struct{}]struct{}{}}
	_, _ = rand.Read(r.salt[:]) // never fails
	return r
}

// add stores rec under the next number and returns its ID.
func (r *Ring) add(rec *Record) uuid.UUID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	rec.Seq = r.seq
	copy(rec.ID[:8], r.salt[:])
	binary.BigEndian.PutUint64(rec.ID[8:], r.seq)
	r.slots[r.seq%uint64(len(r.slots))] = *rec
	r.wakeLocked()
	return rec.ID
}

func (r *Ring) wakeLocked() {
	for c := range r.wake {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// findLocked returns the slot of the decision with this ID, nil if it is not
// remembered.
func (r *Ring) findLocked(id uuid.UUID) *Record {
	seq := binary.BigEndian.Uint64(id[8:])
	if seq == 0 {
		return nil
	}
	if rec := &r.slots[seq%uint64(len(r.slots))]; rec.ID == id {
		return rec
	}
	return nil
}

// Get returns a remembered decision by its ID.
func (r *Ring) Get(id uuid.UUID) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.findLocked(id); rec != nil {
		return *rec, true
	}
	return Record{}, false
}

// of tells whether the decision was made for this user. Unknown users own no decision.
func (rec *Record) of(uid uint32) bool { return rec.App.UID == uid && userid.Known(uid) }

// report stores the outcome of a decision of user uid and returns the decision. It
// returns false if the decision is forgotten or belongs to another user.
func (r *Ring) report(id uuid.UUID, uid uint32, o Outcome) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.findLocked(id)
	if rec == nil || !rec.of(uid) {
		return Record{}, false
	}
	rec.Outcome = &o
	r.wakeLocked()
	return *rec, true
}

// transferred notes that a client of user uid reports what the connection of a decision has
// brought, and returns the decision. It returns false in the same cases as report, and if
// the same connection was measured before: it must not count twice.
func (r *Ring) transferred(id uuid.UUID, uid uint32) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.findLocked(id)
	if rec == nil || !rec.of(uid) || rec.Measured && rec.Uses == 0 {
		return Record{}, false
	}
	rec.Transferred = true
	return *rec, true
}

// measured notes that the connection of a decision was measured, and returns the decision.
// It returns false if the decision is forgotten, or if its client reports what the
// connection brings.
func (r *Ring) measured(id uuid.UUID) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.findLocked(id)
	if rec == nil || rec.Transfers || rec.Transferred || rec.Measured {
		return Record{}, false
	}
	rec.Measured = true
	return *rec, true
}

// used counts connections by the lease of a decision of user uid and returns the
// decision. It returns false in the same cases as report.
func (r *Ring) used(u *wire.LeaseUse, uid uint32) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.findLocked(u.ID)
	if rec == nil || !rec.of(uid) {
		return Record{}, false
	}
	rec.Uses += uint64(u.Uses)
	if u.Connected > 0 {
		rec.Outcome = &Outcome{Took: milliseconds(u.Milliseconds)}
	}
	r.wakeLocked()
	return *rec, true
}

// Since returns the remembered decisions with numbers above seq, oldest first. It
// copies them all; Next returns a large ring in parts.
func (r *Ring) Since(seq uint64) []Record { return r.Next(seq, len(r.slots)) }

// Next returns the n oldest of the remembered decisions with numbers above seq, oldest
// first. If the first number is not seq+1, some decisions were already forgotten. New
// decisions wait during the copy, so n should not exceed some hundreds.
func (r *Ring) Next(seq uint64, n int) []Record { return r.AppendNext(nil, seq, n) }

// AppendNext appends to recs what Next returns. A caller that goes through a large ring can
// use the memory of one part for the next one.
func (r *Ring) AppendNext(recs []Record, seq uint64, n int) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := uint64(len(r.slots))
	if seq >= r.seq || n <= 0 {
		return recs
	}
	first := seq + 1
	if r.seq >= size {
		first = max(first, r.seq-size+1)
	}
	n = int(min(uint64(n), r.seq-first+1))
	recs = slices.Grow(recs, n)
	for s := first; s < first+uint64(n); s++ {
		recs = append(recs, r.slots[s%size])
	}
	return recs
}

// Count tells how many decisions were made so far.
func (r *Ring) Count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// Watch returns a channel that receives a value after decisions were added or reported
// on, and a function that ends this. Several events may arrive as one, so call Since to
// see what is new.
func (r *Ring) Watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wake[c] = struct{}{}
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.wake, c)
	}
}
