package control

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// lookInterval is the time between two looks for changes, and the least time
	// between two looks at new decisions. Under load, decisions are so sent in batches.
	lookInterval = 250 * time.Millisecond
	batchPause   = 20 * time.Millisecond
	// maxPending bounds the decisions whose outcome a stream waits for.
	maxPending = 64
	// eventTimeout is the time that a client has to read a batch.
	eventTimeout = 10 * time.Second
)

// events streams events until the client leaves. Nothing is queued for a client, so
// that a slow one costs no memory. Instead, a stream has a position in the ring of
// decisions, and remembers the state of the prefixes that it sent last. Decisions that
// leave the ring unsent are counted as dropped.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	ring := s.opts.Manager.Decisions()
	since, err := parameter(r, "since", ring.Count())
	if err != nil {
		writeFailure(w, err)
		return
	}
	wanted, err := filterOf(r)
	if err != nil {
		writeFailure(w, err)
		return
	}
	changed, stop := ring.Watch()
	defer stop()

	rc := http.NewResponseController(w)
	// A stream lives longer than the deadlines of ordinary requests.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Now().Add(eventTimeout))
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if rc.Flush() != nil {
		return
	}
	st := stream{s: s, peer: peerFrom(r.Context()), ring: ring, since: since, wanted: wanted, out: json.NewEncoder(w)}
	st.look()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		// Batches are at least batchPause apart.
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(eventTimeout))
		if st.decisions() != nil || st.send() != nil || rc.Flush() != nil {
			return
		}
		if wanted.NoDecisions {
			changed = nil
		}
		select {
		case <-changed:
		case <-tick.C:
			if wanted.Any() { // with a filter, only decisions are sent
				st.changes()
			}
		case <-r.Context().Done():
			return
		}
		pause.Reset(batchPause)
	}
}

// stream is the event stream of one client.
type stream struct {
	s     *Server
	peer  peer
	ring  *mam.Ring
	out   *json.Encoder
	queue []Event // changes found by the latest look

	wanted  Filter
	since   uint64      // number of the latest decision that was looked at
	pending []uuid.UUID // decisions without an outcome, oldest first

	runner *mam.Runner
	state  State
	view   *mam.View
}

// decisions sends the new decisions in the ring.
func (st *stream) decisions() error {
	if st.wanted.NoDecisions {
		return nil
	}
	now := st.s.opts.now()
	for rec := range remembered(st.ring, st.since) {
		if lost := rec.Seq - st.since - 1; lost > 0 {
			if err := st.out.Encode(Event{Type: EventDropped, Time: now, Dropped: &lost}); err != nil {
				return err
			}
		}
		st.since = rec.Seq
		if !st.s.guard.sees(st.peer, rec) {
			continue
		}
		d := decision(rec)
		matches := st.wanted.Matches(&d)
		if matches {
			if err := st.out.Encode(Event{Type: EventDecision, Time: d.Time, Decision: &d}); err != nil {
				return err
			}
		}
		// The outcome may show that the connection was made over the wanted network
		// after all.
		if rec.Outcome == nil && (matches || st.wanted.Network != "") {
			if len(st.pending) == maxPending {
				st.pending = append(st.pending[:0], st.pending[1:]...)
			}
			st.pending = append(st.pending, rec.ID)
		}
	}
	kept := st.pending[:0]
	for _, id := range st.pending {
		rec, ok := st.ring.Get(id)
		switch {
		case !ok:
		case rec.Outcome == nil:
			kept = append(kept, id)
		default:
			d := decision(&rec)
			if !st.wanted.Matches(&d) {
				continue
			}
			if err := st.out.Encode(Event{Type: EventOutcome, Time: now, Decision: &d}); err != nil {
				return err
			}
		}
	}
	st.pending = kept
	return nil
}

// send sends the queued changes.
func (st *stream) send() error {
	for _, e := range st.queue {
		if err := st.out.Encode(e); err != nil {
			return err
		}
	}
	st.queue = st.queue[:0]
	return nil
}

// look stores the present state, with which the next one is compared.
func (st *stream) look() {
	st.view = st.s.opts.Manager.View()
	st.runner = st.view.Runner
	st.state = st.s.opts.State()
}

// changes queues the differences from the latest look.
func (st *stream) changes() {
	now := st.s.opts.now()
	old, oldView := st.state, st.view
	oldRunner := st.runner
	st.look()
	if st.view == oldView && st.state.Loaded.Equal(old.Loaded) && st.state.LoadErrorTime.Equal(old.LoadErrorTime) {
		return
	}
	failed := st.state.LoadError != "" && !st.state.LoadErrorTime.Equal(old.LoadErrorTime)
	if failed || st.runner != oldRunner || !st.state.Loaded.Equal(old.Loaded) {
		e := Reload{File: text(st.state.ConfigFile)}
		if failed {
			e.Error = text(st.state.LoadError)
		}
		if st.runner != nil {
			e.Policy = text(st.runner.Name)
		}
		st.queue = append(st.queue, Event{Type: EventReload, Time: now, Reload: &e})
	}
	for _, d := range differences(st.view, oldView) {
		st.queue = append(st.queue, Event{Type: EventPrefix, Time: now, Prefix: &PrefixChange{Change: d.change, Differs: d.differs, Prefix: prefix(d.in, d.prefix, now)}})
	}
}

// The kinds of changes of a prefix.
const (
	changeAdded    = "added"
	changeRemoved  = "removed"
	changeHealth   = "health"
	changeSettings = "changed"
)

// difference is how a prefix changed from one View to a later one.
type difference struct {
	change  string
	differs []string  // what has changed, with changeSettings
	in      *mam.View // the earlier View if the prefix was removed, otherwise the later one
	prefix  *policy.Prefix
}

// differences lists how prefixes changed from the View o to v, except for measurements.
// Prefixes that were removed come last.
func differences(v, o *mam.View) (out []difference) {
	removed := make(map[policy.PrefixID]*policy.Prefix, len(o.Prefixes))
	for _, q := range o.Prefixes {
		removed[q.ID] = q
	}
	for _, p := range v.Prefixes {
		q := removed[p.ID]
		delete(removed, p.ID)
		if q == nil {
			out = append(out, difference{changeAdded, nil, v, p})
		} else if p.Health.State != q.Health.State || p.Health.Reason != q.Health.Reason {
			out = append(out, difference{changeHealth, nil, v, p})
		} else if differs := differsIn(v, o, p, q); len(differs) > 0 {
			out = append(out, difference{changeSettings, differs, v, p})
		}
	}
	for _, q := range o.Prefixes {
		if removed[q.ID] != nil {
			out = append(out, difference{changeRemoved, nil, o, q})
		}
	}
	return out
}

// SameNetworks tells whether two Views show the same networks, apart from measurements.
func SameNetworks(v, o *mam.View) bool {
	return v == o || slices.EqualFunc(v.Prefixes, o.Prefixes, func(p, q *policy.Prefix) bool {
		return p.ID == q.ID && p.Health == q.Health && sameIn(v, o, p, q)
	})
}

// sameIn compares everything about a prefix in two Views except measurements and
// health.
func sameIn(v, o *mam.View, p, q *policy.Prefix) bool { return len(differsIn(v, o, p, q)) == 0 }

// differsIn names what differs about a prefix in two Views, in the words of
// PrefixChange.Differs.
func differsIn(v, o *mam.View, p, q *policy.Prefix) []string {
	out := differs(p, q)
	if v.Devices[p.ID] != o.Devices[p.ID] && !slices.Contains(out, DiffersDevice) {
		out = append(out, DiffersDevice)
	}
	told, before := v.Told[p.ID], o.Told[p.ID]
	if told.Cost != before.Cost && p.Cost == q.Cost {
		out = append(out, DiffersCost) // who says it
	}
	if told.Resolvers != before.Resolvers {
		out = append(out, DiffersResolvers)
	}
	if !sameFacts(told, before) {
		out = append(out, DiffersFacts)
	}
	return out
}

// differs names what differs between two states of a prefix, except measurements and health.
func differs(p, q *policy.Prefix) (out []string) {
	for _, x := range []struct {
		what string
		same bool
	}{
		{DiffersCost, p.Cost == q.Cost}, {DiffersDefault, p.Default == q.Default}, {DiffersName, p.Name == q.Name},
		{DiffersAddresses, slices.Equal(p.Addrs, q.Addrs)}, {DiffersDevice, p.Index == q.Index}, {DiffersOptions, maps.Equal(p.Options, q.Options)},
	} {
		if !x.same {
			out = append(out, x.what)
		}
	}
	return out
}

// sameFacts compares what services say, except for what they measure.
func sameFacts(a, b mam.Told) bool {
	if slices.Equal(a.Facts, b.Facts) {
		return true
	}
	measured := func(f mam.Fact) bool { return f.Measured }
	return slices.Equal(slices.DeleteFunc(slices.Clone(a.Facts), measured), slices.DeleteFunc(slices.Clone(b.Facts), measured))
}
