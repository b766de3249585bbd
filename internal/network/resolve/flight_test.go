package resolve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

// gated answers as h does, but answers each query only after one receive from gate. reached
// gets a value when a query has arrived.
func gated(h handler) (gated handler, reached, gate chan struct{}) {
	reached, gate = make(chan struct{}, 1000), make(chan struct{})
	return func(w dns.ResponseWriter, q *dns.Msg) {
		reached <- struct{}{}
		<-gate
		h(w, q)
	}, reached, gate
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	h, reached, gate := gated(zone(t, "www.example.com. 0 IN A 192.0.2.1"))
	s := serve(t, "127.0.0.2", h)
	r := resolver(t, Config{}, s)
	q := question{"www.example.com", dns.TypeA}
	_, first := r.begin(r.settings(r.now()), q, r.now())
	<-reached
	var wg sync.WaitGroup
	for range 20 {
		_, f := r.begin(r.settings(r.now()), q, r.now())
		if f != first {
			t.Fatal("second flight for the same question")
		}
		wg.Go(func() {
			<-f.done
			if f.record.err != nil {
				t.Errorf("%v", f.record.err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if n := len(s.asked()); n != 1 {
		t.Errorf("server was asked %d times", n)
	}
}

// A caller who leaves does not disturb the others. The last one who leaves ends the query.
func TestCancel(t *testing.T) {
	h, reached, gate := gated(zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	defer close(gate)
	r := resolver(t, Config{}, serve(t, "127.0.0.2", h))
	st := r.settings(r.now())
	_, f := r.begin(st, question{"www.example.com", dns.TypeA}, r.now())
	<-reached

	for _, family := range []policy.Family{policy.IPv4, policy.Unspecified} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("client is gone")
		cancel(why)
		_, err := r.Lookup(ctx, "www.example.com", family)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, why) || e.Timeout || e.NotFound {
			t.Errorf("%v: %#v", family, err)
		}
	}
	select {
	case <-f.done:
		t.Fatalf("flight has ended with others: %+v", f.record)
	default:
	}

	r.leave(f, true)
	<-f.done
	if f.record.err == nil {
		t.Errorf("abandoned flight has brought %+v", f.record)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.flights) > 0 {
		t.Errorf("flights left: %v", r.flights)
	}
}

func TestDeadlineOfCaller(t *testing.T) {
	r := resolver(t, Config{}, serve(t, "127.0.0.2", mute))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := r.Lookup(ctx, "www.example.com", policy.Unspecified)
	var e *Error
	if !errors.As(err, &e) || !e.Timeout || !e.Temporary || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%#v", err)
	}
}

// A slow address family is not waited for (RFC 8305 section 3), but its addresses are not
// lost.
func TestResolutionDelay(t *testing.T) {
	both := zone(t, "www.example.com. 300 IN A 192.0.2.1", "www.example.com. 300 IN AAAA 2001:db8::1")
	for _, slow := range []uint16{dns.TypeA, dns.TypeAAAA} {
		t.Run(dns.TypeToString[slow], func(t *testing.T) {
			held, _, gate := gated(both)
			s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == slow {
					held(w, q)
					return
				}
				both(w, q)
			})
			r := resolver(t, Config{ResolutionDelay: time.Millisecond}, s)
			fast, slowFamily := policy.IPv4, policy.IPv6
			if slow == dns.TypeA {
				fast, slowFamily = slowFamily, fast
			}
			a := lookup(t, r, "www.example.com", policy.Unspecified)
			if !a.Partial || len(a.Addrs) != 1 || policy.FamilyOf(a.Addrs[0]) != fast {
				t.Errorf("got %+v, want the %v address only", a, fast)
			}
			close(gate)
			lookup(t, r, "www.example.com", slowFamily)
			a = lookup(t, r, "www.example.com", policy.Unspecified)
			if a.Partial || !a.Cached {
				t.Errorf("later: %+v", a)
			}
			if diff := cmp.Diff(addrs("192.0.2.1", "2001:db8::1"), a.Addrs, addrEqual); diff != "" {
				t.Errorf("later (-want +got):\n%s", diff)
			}
			if n := len(s.asked()); n != 2 {
				t.Errorf("server was asked %d times, want 2", n)
			}
		})
	}
}

// If the first family has no addresses, there is no delay: the other family is waited for.
func TestNoDelayAfterNothing(t *testing.T) {
	h, reached, gate := gated(zone(t, soa, "www.example.com. 300 IN AAAA 2001:db8::1"))
	empty := zone(t, soa, "www.example.com. 300 IN AAAA 2001:db8::1")
	s := serve(t, "127.0.0.2", func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			empty(w, q)
			return
		}
		h(w, q)
	})
	r := resolver(t, Config{ResolutionDelay: time.Nanosecond}, s)
	if e := lookupError(t, r, "www.example.com", policy.IPv4); !e.NotFound { // cached from here on
		t.Fatal(e)
	}
	done := make(chan error)
	go func() {
		_, err := r.Lookup(t.Context(), "www.example.com", policy.Unspecified)
		done <- err
	}()
	<-reached
	select {
	case err := <-done:
		t.Errorf("did not wait: %v", err)
		close(gate)
	default:
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestMaxQueries(t *testing.T) {
	const limit, total = 3, 12
	h, reached, gate := gated(zone(t, soa))
	s := serve(t, "127.0.0.2", h)
	r := resolver(t, Config{MaxQueries: limit}, s)
	var wg sync.WaitGroup
	for i := range total {
		wg.Go(func() { _, _ = r.Lookup(t.Context(), fmt.Sprintf("n%d.example.com", i), policy.IPv4) })
	}
	for i := range total {
		if i < limit {
			<-reached
			continue
		}
		if n := len(s.asked()); n > i {
			t.Errorf("%d queries under way", n-i+limit)
		}
		gate <- struct{}{}
		<-reached
	}
	close(gate)
	wg.Wait()
}

func TestFlush(t *testing.T) {
	h, reached, gate := gated(zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	s := serve(t, "127.0.0.2", h)
	r := resolver(t, Config{}, s)
	q := question{"www.example.com", dns.TypeA}
	_, f := r.begin(r.settings(r.now()), q, r.now())
	<-reached
	r.Flush()
	close(gate)
	<-f.done
	if f.record.err != nil {
		t.Error(f.record.err)
	}
	if a := lookup(t, r, "www.example.com", policy.IPv4); a.Cached {
		t.Error("answer from before the flush is still there")
	}
	if a := lookup(t, r, "www.example.com", policy.IPv4); !a.Cached {
		t.Error("answer after the flush is not remembered")
	}
}
