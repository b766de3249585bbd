package httpintent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/internal/lateness"
)

// Hedge lets a Transport send a request a second time, over another network, when its
// answer is far behind what was to be expected. The first answer counts, and the other
// request is ended. This helps if a network becomes much worse after the decision, or
// if a single request loses packets. The zero value has usual settings. A Hedge must
// not be changed after first use.
//
// The expected time comes from earlier requests of the same URL pattern. It is the mean time
// until their answers began, plus four times the mean deviation (as in RFC 6298 for a
// packet). It is 3 s for a pattern that is not known yet.
//
// A request is sent twice only if all of this holds:
//
//   - It is a GET or HEAD without a body. These methods promise that a repetition changes
//     nothing on the server (RFC 9110 section 9.2.1). Do not use Hedge with servers that
//     break this promise.
//   - The manager knows another network for it, and says that this costs nothing and has no
//     limit. Networks that the SelectionProperties do not permit are never used.
//   - Share allows it.
//
// A request is repeated once at most. If the repetition gets status 429, or one from 500 on,
// its answer counts only if the first request brings no answer. Hooks of httptrace are called
// for both requests, perhaps at once. Requests that Split may divide are not hedged, because
// they ask other networks anyway.
type Hedge struct {
	// Share bounds the part of requests that are sent twice: after n requests there were
	// at most 1 + Share*n. 0 means 0.05. With a negative value no request is sent twice.
	Share float64
	// Least is the least time after which a request is sent again, even if earlier answers
	// took less. 0 means 250 ms.
	Least time.Duration
}

func (h *Hedge) share() float64 {
	if h.Share == 0 {
		return lateness.DefaultShare
	}
	return h.Share
}

func (h *Hedge) least() time.Duration {
	if h.Least == 0 {
		return lateness.DefaultLeast
	}
	return h.Least
}

// repeatable tells whether req may be sent twice.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead:
	default:
		return false
	}
	return (req.Body == nil || req.Body == http.NoBody) && req.Header != nil && len(req.Header.Values("Upgrade")) == 0
}

// errNoOther says that a request was not sent again: no other network fits, or Share does not
// allow it.
var errNoOther = errors.New("no other network may be used for the request")

// roundTripHedged makes a request over the network that the manager chooses, and again over
// another one if no answer begins for too long.
func (t *Transport) roundTripHedged(req *http.Request) (*http.Response, error) {
	address, direct := t.address(req)
	if address == "" {
		resp, _, err := t.roundTrip(req, true)
		return resp, err
	}
	pattern := t.sizes.pattern(req, t.MaxPatterns)
	q := t.question(req, address, pattern)
	decision, key, err := t.decide(req.Context(), q, direct)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	t.hedged.Ask()
	h := &hedging{transport: t, req: req, answers: make(chan answer, 2), begun: time.Now()}
	h.ask(func(first *http.Request) (*http.Response, *exchange, error) {
		return t.exchange(first, decision, key, pattern)
	})
	timer := time.NewTimer(t.hedgePatience(pattern))
	defer timer.Stop()
	for {
		select {
		case a := <-h.answers:
			h.running--
			if resp, err, over := h.take(a); over {
				t.sizes.took(pattern, time.Since(h.begun), err)
				return resp, err
			}
		case <-timer.C:
			h.ask(func(again *http.Request) (*http.Response, *exchange, error) {
				r, ok := t.another(again.Context(), q, decision, key)
				if !ok || !t.hedged.Spend(t.Hedge.share()) {
					return nil, nil, errNoOther
				}
				return t.exchange(again, r.decision, r.key, pattern)
			})
		}
	}
}

// hedgePatience is how long to wait for the answer to a request of the pattern.
func (t *Transport) hedgePatience(pattern string) time.Duration {
	if expected, ok := t.sizes.patience(pattern); ok {
		return max(expected, t.Hedge.least())
	}
	return max(t.answerPatience(), t.Hedge.least())
}

// another asks the manager for a network over which a request may be repeated: it is not the
// decision's, costs nothing, and has no limit.
func (t *Transport) another(ctx context.Context, q question, decision *client.Decision, key networkKey) (route, bool) {
	routes, err := t.routes(ctx, q)
	if err != nil {
		return route{}, false
	}
	used := map[string]bool{nameOf(decision): true}
	if c, ok := decision.Existing().(*conn); ok {
		used = map[string]bool{key.source.String(): true}
		if info, ok := client.InfoOf(c.Conn); ok && info.Device != "" {
			used[info.Device] = true
		}
	}
	for _, r := range routes {
		cost, known := r.decision.Cost()
		_, limited := r.decision.Budget()
		if !used[r.name] && r.key.source != key.source && known && cost == client.CostFree && !limited && r.decision.Existing() == nil {
			return r, true
		}
	}
	return route{}, false
}

// hedging is a request with its repetition.
type hedging struct {
	transport *Transport
	req       *http.Request
	answers   chan answer
	begun     time.Time
	running   int
	cancels   []context.CancelFunc
	spare     *answer // an answer that counts only if there is no other
	failed    error   // of the first request
}

// ask makes one of the requests, in a goroutine.
func (h *hedging) ask(over func(*http.Request) (*http.Response, *exchange, error)) {
	ctx, cancel := context.WithCancel(h.req.Context())
	number := len(h.cancels)
	h.cancels = append(h.cancels, cancel)
	h.running++
	part := h.req.Clone(ctx) // a transport may still read the header after RoundTrip has returned, when the caller may change it
	go func() {
		resp, x, err := over(part)
		h.answers <- answer{resp, x, err, number}
	}()
}

// take processes an answer. over is true if the result is known.
func (h *hedging) take(a answer) (resp *http.Response, err error, over bool) { //nolint:revive // the result comes first
	switch {
	case a.err == nil && a.of > 0 && h.running > 0 && unwilling(a.resp.StatusCode):
		h.spare = &a
		return nil, nil, false
	case a.err == nil:
		return h.finish(&a), nil, true
	}
	if a.of == 0 {
		h.failed = a.err
	}
	switch {
	case h.running > 0:
		return nil, nil, false
	case h.spare != nil:
		return h.finish(h.spare), nil, true
	}
	h.end()
	return nil, h.failed, true
}

// unwilling tells whether a status may mean that the server rejects a repeated request.
func unwilling(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// finish returns the response of a, and ends the other request.
func (h *hedging) finish(a *answer) *http.Response {
	end := h.cancels[a.of]
	h.cancels[a.of] = func() {}
	if h.spare != nil && h.spare != a {
		_ = h.spare.resp.Body.Close()
	}
	h.end()
	a.resp.Request = h.req
	if a.resp.Body == nil || a.resp.Body == http.NoBody {
		end()
		return a.resp
	}
	a.resp.Body = &endedBody{a.resp.Body, end}
	return a.resp
}

func (h *hedging) end() { endAll(h.cancels, h.answers, h.running) }
