package resolve

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// flight is a running question. Everybody who asks the same meanwhile shares it.
type flight struct {
	key    flightKey
	done   chan struct{} // closed once record is set
	record record
	cancel context.CancelFunc

	// The fields below are guarded by Resolver.mu. A flight without waiters is
	// cancelled, unless somebody who has gone on without its answer wants it in the
	// cache.
	waiters int
	linger  bool
}

// flightKey contains the cache's generation. So nobody who asks after a flush gets an
// answer to a question from before it.
type flightKey struct {
	question
	gen uint64
}

// finished returns f.done, or a channel that blocks if f is nil.
func (f *flight) finished() <-chan struct{} {
	if f == nil {
		return nil
	}
	return f.done
}

// begin returns the remembered record, or the flight that will bring it.
func (r *Resolver) begin(st *settings, q question, now time.Time) (record, *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return record{err: &Error{Err: errClosed}}, nil
	}
	if rec, ok := r.cache.get(q, now); ok {
		return rec, nil
	}
	key := flightKey{q, r.cache.gen}
	if f := r.flights[key]; f != nil {
		f.waiters++
		return record{}, f
	}
	// The name may be part of a client's message. Cloning it lets the message be freed.
	key.name = strings.Clone(q.name)
	// The flight has a context of its own, because the first caller may leave before
	// others.
	ctx, cancel := context.WithCancel(r.ctx)
	f := &flight{key: key, done: make(chan struct{}), cancel: cancel, waiters: 1}
	r.flights[key] = f
	r.wg.Go(func() { r.fly(ctx, st, f) })
	return record{}, f
}

// leave ends the wait for an unfinished flight. With abandon the caller has gone;
// without, it goes on without the answer.
func (r *Resolver) leave(f *flight, abandon bool) {
	if f == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.waiters--
	f.linger = f.linger || !abandon
	if f.waiters == 0 && !f.linger {
		f.cancel()
		r.forgetLocked(f)
	}
}

func (r *Resolver) forgetLocked(f *flight) {
	if r.flights[f.key] == f {
		delete(r.flights, f.key)
	}
}

// fly asks the servers. It passes the record to the cache and to those who wait.
func (r *Resolver) fly(ctx context.Context, st *settings, f *flight) {
	defer f.cancel()
	var rec record
	select {
	case r.slots <- struct{}{}:
		rec = r.query(ctx, st, f.key.question)
		<-r.slots
	case <-ctx.Done():
		rec.err = ended(ctx)
	}
	r.mu.Lock()
	if r.closed && rec.err != nil {
		rec.err = &Error{Err: errClosed}
	}
	r.cache.put(f.key.question, rec, f.key.gen, r.now())
	r.forgetLocked(f)
	r.mu.Unlock()
	f.record = rec
	close(f.done)
}

// lookupName looks one name up, without the search list.
func (r *Resolver) lookupName(ctx context.Context, st *settings, name string, family policy.Family, now time.Time) (Answer, *Error) {
	switch {
	case family == policy.IPv4, family == policy.Unspecified && st.noAAAA:
		return r.lookupOne(ctx, st, question{name, dns.TypeA}, now)
	case family == policy.IPv6 && st.noAAAA:
		return Answer{}, &Error{NotFound: true, Err: errNoAAAA}
	case family == policy.IPv6:
		return r.lookupOne(ctx, st, question{name, dns.TypeAAAA}, now)
	}
	return r.lookupBoth(ctx, st, name, now)
}

func (r *Resolver) lookupOne(ctx context.Context, st *settings, q question, now time.Time) (Answer, *Error) {
	rec, f := r.begin(st, q, now)
	if f != nil {
		select {
		case <-f.done:
			rec = f.record
		case <-ctx.Done():
			r.leave(f, true)
			return Answer{}, ended(ctx)
		}
	}
	if rec.err != nil {
		return Answer{}, rec.err
	}
	return rec.answer(), nil
}

// lookupBoth asks for both families at once, or with "options single-request" for one
// after the other. Once one family has addresses, it waits for the other no longer than
// the resolution delay.
func (r *Resolver) lookupBoth(ctx context.Context, st *settings, name string, now time.Time) (Answer, *Error) {
	v4, f4 := r.begin(st, question{name, dns.TypeA}, now)
	begun := !st.single || f4 == nil
	var v6 record
	var f6 *flight
	if begun {
		v6, f6 = r.begin(st, question{name, dns.TypeAAAA}, now)
	}
	var late <-chan time.Time
	for f4 != nil || f6 != nil {
		some := f4 == nil && v4.err == nil || begun && f6 == nil && v6.err == nil
		if some && late == nil && r.cfg.ResolutionDelay >= 0 {
			timer := time.NewTimer(r.cfg.ResolutionDelay)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-f4.finished():
			v4, f4 = f4.record, nil
			if !begun {
				begun = true
				v6, f6 = r.begin(st, question{name, dns.TypeAAAA}, now)
			}
		case <-f6.finished():
			v6, f6 = f6.record, nil
		case <-late:
			r.leave(f4, false)
			r.leave(f6, false)
			first := v4
			if f4 != nil {
				first = v6
			}
			answer := first.answer()
			answer.Partial = true
			return answer, nil
		case <-ctx.Done():
			r.leave(f4, true)
			r.leave(f6, true)
			return Answer{}, ended(ctx)
		}
	}
	switch {
	case v4.err == nil && v6.err == nil:
		return join(v4, v6), nil
	case v4.err == nil:
		return v4.answer(), nil
	case v6.err == nil:
		return v6.answer(), nil
	case v4.err.NotFound:
		// If one of the two questions failed, the name may still have addresses.
		return Answer{}, v6.err
	}
	return Answer{}, v4.err
}

func (rec *record) answer() Answer {
	return Answer{Addrs: rec.addrs, Name: rec.name, Server: rec.server, Expires: rec.expires, Cached: rec.cached}
}

func join(v4, v6 record) Answer {
	answer := v4.answer()
	answer.Addrs = make([]netip.Addr, 0, len(v4.addrs)+len(v6.addrs))
	answer.Addrs = append(append(answer.Addrs, v4.addrs...), v6.addrs...)
	answer.Cached = v4.cached && v6.cached
	if v6.expires.Before(v4.expires) {
		answer.Expires = v6.expires
	}
	return answer
}
