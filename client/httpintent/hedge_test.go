package httpintent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/client/internal/lateness"
)

// freeNetworks is a manager that chooses 127.0.0.2. 127.0.0.3 is the other network.
func freeNetworks(r clienttest.Request) clienttest.Answer {
	a := clienttest.From("127.0.0.2", "127.0.0.3")(r)
	a.Cost.Level, a.Alternates[0].Cost.Level = clienttest.Free, clienttest.Free
	return a
}

// hedge returns a Transport that sends requests again at once, and a client of it.
func hedge(t *testing.T, script clienttest.Script) (*Transport, *http.Client) {
	t.Helper()
	tr, _ := start(t, script)
	tr.Hedge = &Hedge{Least: time.Nanosecond}
	tr.patience = time.Millisecond
	return tr, &http.Client{Transport: tr}
}

// serve starts a server whose handler is told whether a request came over the chosen
// network.
func serve(t *testing.T, handler func(w http.ResponseWriter, r *http.Request, chosen bool)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		handler(w, r, host == "127.0.0.2")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// read returns status and body of a response.
func read(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

// If the chosen network brings no answer, that of the other one counts, and the first
// request is ended.
func TestHedge(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request, chosen bool) {
		if !chosen {
			<-arrived // else the first request may be ended before it is sent
			_, _ = io.WriteString(w, "from the other network")
			return
		}
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	_, web := hedge(t, freeNetworks)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Transport.RoundTrip(req)
	if err == nil && resp.Request != req {
		t.Error("the response names another request")
	}
	if got := read(t, resp, err); got != "200 from the other network" {
		t.Error(got)
	}
	<-ended
}

// The first answer counts. If it is that of the first request, its body can be read to the
// end although the other request is ended.
func TestHedgeIsLate(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request, chosen bool) {
		if !chosen {
			close(asked)
			<-r.Context().Done()
			close(ended)
			return
		}
		<-asked
		_ = http.NewResponseController(w).Flush()
		<-ended
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	})
	_, web := hedge(t, freeNetworks)
	resp, err := web.Get(url)
	if got := read(t, resp, err); got != "200 "+strings.Repeat("x", 100_000) {
		t.Errorf("%.100s", got)
	}
}

// A server that does not want the request again is not believed before the first request
// has failed.
func TestHedgeUnwilling(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		for _, fails := range []bool{false, true} {
			refused := make(chan struct{})
			url := serve(t, func(w http.ResponseWriter, _ *http.Request, chosen bool) {
				if !chosen {
					w.WriteHeader(status)
					close(refused)
					return
				}
				<-refused
				if fails {
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, "fine")
			})
			_, web := hedge(t, freeNetworks)
			want := "200 fine"
			if fails {
				want = fmt.Sprint(status, " ")
			}
			resp, err := web.Get(url)
			if got := read(t, resp, err); got != want {
				t.Errorf("status %d, the first request fails %t: %q, want %q", status, fails, got, want)
			}
		}
	}
}

// An error of the first request is returned if there is no other answer.
func TestHedgeFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url := serve(t, func(_ http.ResponseWriter, r *http.Request, chosen bool) {
		if !chosen {
			cancel() // both are under way
		}
		<-r.Context().Done()
	})
	_, web := hedge(t, freeNetworks)
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := web.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", resp, err)
	}
}

// A request is never sent over a network that may cost something.
func TestHedgeOverFreeNetworksOnly(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(a *clienttest.Answer)
		want bool
	}{
		{"free", func(*clienttest.Answer) {}, true},
		{"the chosen one is metered", func(a *clienttest.Answer) { a.Cost.Level = clienttest.Metered }, true},
		{"metered", func(a *clienttest.Answer) { a.Alternates[0].Cost.Level = clienttest.Metered }, false},
		{"both metered", func(a *clienttest.Answer) {
			a.Cost.Level, a.Alternates[0].Cost.Level = clienttest.Metered, clienttest.Metered
		}, false},
		{"expensive", func(a *clienttest.Answer) { a.Alternates[0].Cost.Level = clienttest.Expensive }, false},
		{"free up to a budget", func(a *clienttest.Answer) { a.Alternates[0].Cost.Budget = 1e9 }, false},
		{"costs are not known", func(a *clienttest.Answer) { a.Cost, a.Alternates[0].Cost = clienttest.Cost{}, clienttest.Cost{} }, false},
		{"there is no other", func(a *clienttest.Answer) { a.Alternates = nil }, false},
		{"the other one is the same", func(a *clienttest.Answer) { a.Alternates[0].Source = a.Source }, false},
		{"several networks at once", func(a *clienttest.Answer) { a.Multipath = true }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, _ := hedge(t, func(r clienttest.Request) clienttest.Answer {
				a := freeNetworks(r)
				tt.edit(&a)
				return a
			})
			q := question{address: "127.0.0.1:80"}
			decision, key, err := tr.decide(t.Context(), q, true)
			if err != nil {
				t.Fatal(err)
			}
			r, ok := tr.another(t.Context(), q, decision, key)
			if ok != tt.want || ok && r.key.source.String() != "127.0.0.3" {
				t.Errorf("%t, %v", ok, r.key)
			}
		})
	}
}

// A request over a kept connection is sent again over the other network, and not over the
// same one.
func TestHedgeBesideKeptConnection(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request, chosen bool) {
		if chosen && r.URL.Path == "/late" {
			<-r.Context().Done()
			return
		}
		_, _ = fmt.Fprint(w, chosen)
	})
	tr, web := hedge(t, func(r clienttest.Request) clienttest.Answer {
		a := freeNetworks(r)
		if len(r.Idle) > 0 {
			a.Reuse = 1
		}
		return a
	})
	tr.patience = time.Hour
	resp, err := web.Get(url)
	if got := read(t, resp, err); got != "200 true" {
		t.Fatal(got)
	}
	tr.patience = time.Millisecond
	resp, err = web.Get(url + "/late")
	if got := read(t, resp, err); got != "200 false" {
		t.Error(got)
	}
}

// Only requests that may be repeated are.
func TestRepeatable(t *testing.T) {
	for _, tt := range []struct {
		method, body, header string
		want                 bool
	}{
		{"GET", "", "", true}, {"HEAD", "", "", true}, {"", "", "", true}, {"GET", "", "Range", true},
		{"GET", "x", "", false}, {"GET", "", "Upgrade", false},
		{"POST", "", "", false}, {"PUT", "", "", false}, {"DELETE", "", "", false}, {"OPTIONS", "", "", false}, {"get", "", "", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Method = tt.method
		if tt.header != "" {
			req.Header.Set(tt.header, "x")
		}
		if got := repeatable(req); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

// With a negative share no request is sent twice.
func TestHedgeNothing(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request, _ bool) { _, _ = io.WriteString(w, "ok") })
	tr, web := hedge(t, freeNetworks)
	tr.Hedge.Share = -1 // nothing at all
	for range 3 {
		resp, err := web.Get(url)
		if got := read(t, resp, err); got != "200 ok" {
			t.Error(got)
		}
	}
	if asked, twice := tr.hedged.Counts(); asked != 3 || twice != 0 {
		t.Errorf("%d requests, %d twice", asked, twice)
	}
}

// What is expected of a pattern follows its answers. The first one counts with half of its
// time as deviation.
func TestPatience(t *testing.T) {
	s := sizes{max: 2}
	const ms = time.Millisecond
	if _, ok := s.patience("a"); ok {
		t.Error("known from the start")
	}
	s.took("a", 100*ms, errors.New("failed"))
	s.took("", 100*ms, nil)
	if len(s.all) != 0 {
		t.Error("learnt from nothing")
	}
	for _, tt := range []struct {
		took, want time.Duration
	}{
		{100 * ms, 300 * ms}, {100 * ms, 250 * ms}, {100 * ms, 212500 * time.Microsecond}, {900 * ms, 1084375 * time.Microsecond},
	} {
		s.took("a", tt.took, nil)
		if got, ok := s.patience("a"); !ok || got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.took, got, tt.want)
		}
	}
	if _, ok := s.expected("a"); ok {
		t.Error("a size is known")
	}
	s.learn("b", 1000)
	if _, ok := s.patience("b"); ok {
		t.Error("a time is known")
	}
	if got, ok := s.expected("b"); !ok || got != 1024 {
		t.Errorf("expected size %d, %t", got, ok)
	}
	s.took("c", ms, nil)
	if _, ok := s.all["a"]; ok || len(s.all) != 2 {
		t.Errorf("%d patterns are known", len(s.all))
	}
	tr := &Transport{Hedge: new(Hedge)}
	if got := tr.hedgePatience("unknown"); got != defaultAnswerPatience {
		t.Errorf("an unknown pattern has %v", got)
	}
	tr.sizes.max = 1
	tr.sizes.took("quick", ms, nil)
	if got := tr.hedgePatience("quick"); got != lateness.DefaultLeast {
		t.Errorf("a quick pattern has %v", got)
	}
}
