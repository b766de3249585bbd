package mam

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Record is one decision as it is remembered. Its Decision points to immutable
// prefixes only.
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
	// Selection is which networks the application itself permits and prefers, in
	// words; "" if it does not say.
	Selection string
	// Selected tells that the decision has Only set, and perhaps is a refusal, because
	// of Selection and not because of the policy.
	Selected bool
	Policy   string
	Decision policy.Decision // Socket is nil, see Reused
	Refused  bool            // there is to be no connection, as Decision.Only says
	Reused   bool            // an idle socket is used again
	FD       int32           // the client's number of it
	Inode    uint64          // of the socket to connect, as the client says (its ctxino); 0: unknown
	Reports  bool            // the client has said that it reports the outcome
	// BoundPrefix is the prefix that Bound lies in; zero: none.
	BoundPrefix policy.PrefixID
	// Fallback says why the default was used in place of a policy's decision; "" if not.
	Fallback string
	// Outcome is the client's report; nil if there is none (yet).
	Outcome *Outcome
	// Uses is how many further connections its client has made by the lease that came
	// with it, as far as it has told. Outcome is that of the latest it told of.
	Uses uint64
	// Origin is on whose behalf the client asked, as it claims; nil if it does
	// not say. It is for people, and must not decide what anybody may do.
	Origin *Origin
}

// Origin is who a proxy's connection is for. Its texts can hold anything.
type Origin struct {
	UID     uint32 // wire.UnknownUID, 1<<32 - 1: unknown
	PID     uint32 // 0: unknown
	Command string // name of the process; "": unknown
	Source  string // where the intents are from; "": unknown
}

// Outcome is how a decision turned out, as the client reported it.
type Outcome struct {
	Candidate int32         // 0 the first suggestion, n the n-th alternate, -1 plain dialling
	Took      time.Duration // until connected or given up
	Errno     int32         // 0: connected
	LocalPort uint16
	PlainTCP  bool // MPTCP was asked for, and it became plain TCP
}

// Ring remembers the latest decisions. It is safe for concurrent use.
type Ring struct {
	salt [8]byte

	mu    sync.Mutex
	seq   uint64
	slots []Record
	wake  map[chan struct{}]struct{}
}

// NewRing makes a Ring of n decisions, at least one.
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

// find returns the slot of a decision by its ID, nil if it is not remembered.
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

// of tells whether a decision is known to be this user's.
func (rec *Record) of(uid uint32) bool { return rec.App.UID == uid && userid.Known(uid) }

// report notes the outcome of a decision that uid asked for, and returns the
// decision. It tells false for decisions that are forgotten or somebody else's.
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

// used notes connections by the lease of a decision that uid asked for, and returns the
// decision, as report does.
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

// Since returns the remembered decisions with numbers above seq, oldest first.
// Of a large ring, Next gives a part at a time.
func (r *Ring) Since(seq uint64) []Record { return r.Next(seq, len(r.slots)) }

// Next returns the n oldest of the remembered decisions with numbers above seq,
// oldest first. A first number above seq+1 tells that some were forgotten.
// Decisions wait while it copies, so n should be some hundreds.
func (r *Ring) Next(seq uint64, n int) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := uint64(len(r.slots))
	if seq >= r.seq || n <= 0 {
		return nil
	}
	first := seq + 1
	if r.seq >= size {
		first = max(first, r.seq-size+1)
	}
	recs := make([]Record, 0, min(uint64(n), r.seq-first+1))
	for s := first; s <= r.seq && len(recs) < n; s++ {
		recs = append(recs, r.slots[s%size])
	}
	return recs
}

// Count tells how many decisions there were so far.
func (r *Ring) Count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// Watch returns a channel that receives something after decisions were added or
// reported on, and a function to stop that. Events may be merged: call Since to
// see what there is.
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
