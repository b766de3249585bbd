package httpintent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/split"
)

const (
	defaultMinSize = 1 << 20
	// A split may take 16 MB. defaultMemory leaves some of that to its connections and
	// to the garbage collector.
	defaultMemory = 12 << 20
	minMemory     = 1 << 20

	// firstRange is how much of a response that was expected to be large is left to that
	// response before other networks begin: a few round trips of slow start. A response
	// of this size or less is not split.
	firstRange = 256 << 10
	// toTheEnd ends a range that goes on to the end of the representation.
	toTheEnd = math.MaxInt64
	// firstStretch is how much of a response to an ordinary request is left to that
	// request before other networks begin.
	firstStretch = 1 << 20
)

// Split lets a Transport fetch one representation over several networks at once: in
// byte ranges (RFC 9110 section 14), each over the network that has the time for it,
// put together in order. The zero value has usual settings. A Split must not be changed
// after first use.
//
// A response is split if all of this holds: it answers a GET without conditions, its
// complete length is known, its content is not encoded, and its validator is strong. A
// strong validator is an entity tag or, without a tag, a date of modification that is
// at least a minute before the response. Each further range is requested on the
// condition that the representation is still the same (If-Range), and each answer is
// compared. A network whose answer does not fit is not used any more. If no network is
// left, an ordinary request is made, and the bytes that are already there are skipped.
// If that request gives another representation, reading fails with ErrChanged.
//
// The networks are those that the manager names in its decision, one per interface: the
// first choice, and the alternates that cost no more. A network that costs more takes
// part in two cases only. It is metered, and the request's timeliness is streaming or
// interactive. Or the SelectionProperties prefer or require its interface or its cost.
// Even then it brings no more bytes than its budget has left. Nothing is split without
// a manager, or if the policy wants Multipath TCP.
//
// Some responses are expected to be large: the intents say so by a file size or the
// category bulktransfer, or earlier responses were large. They are requested by ranges
// from the start, without compression. Any other response is split once its header
// shows that it is large. With HTTP/1.1 its connection is then closed where the parts
// of the other networks begin.
type Split struct {
	// MinSize is the smallest response that is split, in bytes; 0 means 1 MiB.
	MinSize int64
	// Memory bounds, in bytes, the parts that have arrived but cannot be read yet. 0
	// means 12 MiB; the least is 1 MiB. Save needs no memory for them.
	Memory int64
}

func (s *Split) minSize() int64 {
	if s.MinSize <= 0 {
		return defaultMinSize
	}
	return s.MinSize
}

func (s *Split) memory() int64 {
	if s.Memory == 0 {
		return defaultMemory
	}
	return max(s.Memory, minMemory)
}

// ErrChanged is found by errors.Is in the error of reading a split response if the
// representation has changed during the download. No server then has the rest of the
// old one any more.
var ErrChanged = errors.New("the representation has changed during the download")

// divisible tells whether req is one whose response may be split.
func divisible(req *http.Request) bool {
	if req.Method != "" && req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody || req.URL == nil || req.Header == nil {
		return false
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Upgrade", "TE"} {
		if len(req.Header.Values(name)) > 0 {
			return false
		}
	}
	if _, ok := offsetOf(req.Header); !ok {
		return false
	}
	return true
}

// offsetOf returns the first byte that a request asks for. ok is false unless the
// request asks for everything from there on, and for one representation only.
func offsetOf(h http.Header) (offset int64, ok bool) {
	ranges, conditions := h.Values("Range"), h.Values("If-Range")
	if len(ranges) == 0 {
		return 0, len(conditions) == 0
	}
	from, found := strings.CutPrefix(ranges[0], "bytes=")
	from, open := strings.CutSuffix(from, "-")
	offset, err := digits(from)
	return offset, found && open && err == nil && len(ranges) == 1 && len(conditions) == 1 && !strings.HasPrefix(conditions[0], "W/")
}

// roundTripSplit makes the first request. If its response can be split, all networks go
// on from there.
func (t *Transport) roundTripSplit(req *http.Request) (*http.Response, error) {
	address, _ := t.address(req)
	if address == "" {
		resp, _, err := t.roundTrip(req, true)
		return resp, err
	}
	pattern := t.sizes.pattern(req, t.MaxPatterns)
	q := t.question(req, address, pattern)
	offset, _ := offsetOf(req.Header)
	if t.expectsLarge(q) {
		if routes, _ := t.routes(req.Context(), q); len(routes) > 1 {
			resp, err := t.firstOfMany(req, q, pattern, offset, routes)
			if resp != nil || err != nil {
				return resp, err
			}
		}
	}
	resp, x, err := t.roundTrip(req, true)
	if err != nil || x == nil || resp.ContentLength < t.Split.minSize() {
		return resp, err
	}
	r, err := represented(resp, offset)
	if err != nil {
		return resp, nil //nolint:nilerr // it stays an ordinary response
	}
	q.intents = q.intents.WithFileSize(resp.ContentLength)
	routes, err := t.routes(req.Context(), q)
	if err != nil || len(routes) < 2 {
		return resp, nil //nolint:nilerr // the same
	}
	d := t.newDownload(req, q, r, routes, offset)
	d.begin(resp, x, split.Span{From: offset, To: min(r.size, offset+firstStretch)}, true)
	resp.Body = d.body
	return resp, nil
}

// expectsLarge tells whether a response is expected to be large enough to split, before
// its header has arrived.
func (t *Transport) expectsLarge(q question) bool {
	if size, ok := q.intents.FileSize(); ok {
		return size >= t.Split.minSize()
	}
	c, ok := q.intents.Category()
	return ok && c == intent.CategoryBulkTransfer
}

// firstOfMany requests a range that goes on to the end. The answer shows whether the
// server has ranges, and its connection goes on while other networks help. It returns nil
// if an ordinary request should be made instead.
func (t *Transport) firstOfMany(req *http.Request, q question, pattern string, offset int64, routes []route) (*http.Response, error) {
	asked := split.Span{From: offset, To: toTheEnd}
	resp, x, err := t.firstAnswer(req, asked, routes)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	switch {
	case offset == 0 && refusesRange(resp.StatusCode):
		_ = resp.Body.Close()
		return nil, nil // the caller has asked for no range
	case resp.StatusCode != http.StatusPartialContent:
		if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 {
			t.sizes.learn(pattern, resp.ContentLength)
		}
		return resp, nil
	}
	r, err := represented(resp, offset)
	var to int64
	if err == nil {
		to, err = r.part(resp, asked)
	}
	if err != nil || x == nil {
		if s, size, err := contentRange(resp); err == nil && s == (split.Span{From: offset, To: size}) {
			// All of it comes, so that another request would bring the same.
			complete(resp, size, offset)
			return resp, nil
		}
		_ = resp.Body.Close()
		return nil, nil
	}
	t.sizes.learn(pattern, r.size)
	open := to == r.size
	if open && to-offset <= firstRange {
		complete(resp, r.size, offset)
		return resp, nil
	}
	if open {
		to = offset + firstRange
	}
	d := t.newDownload(req, q, r, routes, offset)
	d.begin(resp, x, split.Span{From: offset, To: to}, open)
	complete(resp, r.size, offset)
	resp.Body = d.body
	return resp, nil
}

// answer is what came of a request: a response and its exchange, or an error.
type answer struct {
	resp *http.Response
	x    *exchange
	err  error
	of   int // number of the request
}

// firstAnswer requests a span. If no answer begins for a while, it asks the next network,
// too: the first one may have died after connecting, and nothing tells of that. The first
// answer counts, and the other requests are ended.
func (t *Transport) firstAnswer(req *http.Request, s split.Span, routes []route) (*http.Response, *exchange, error) {
	// A network with a limit is not asked, because this request has none.
	others := slices.DeleteFunc(slices.Clone(routes[1:]), func(r route) bool { return r.limit >= 0 })
	answers := make(chan answer, 1+len(others))
	var cancels []context.CancelFunc
	ask := func(over func(*http.Request) (*http.Response, *exchange, error)) {
		ctx, cancel := context.WithCancel(req.Context())
		number := len(cancels)
		cancels = append(cancels, cancel)
		go func() {
			resp, x, err := over(t.rangeRequest(ctx, req, s, req.Header.Get("If-Range")))
			answers <- answer{resp, x, err, number}
		}()
	}
	ask(func(first *http.Request) (*http.Response, *exchange, error) { return t.roundTrip(first, false) })
	timer := time.NewTimer(t.answerPatience())
	defer timer.Stop()
	var failed error
	for running := 1; ; {
		select {
		case a := <-answers:
			running--
			if a.err == nil {
				a.resp.Body = &endedBody{a.resp.Body, cancels[a.of]}
				cancels[a.of] = func() {}
				endAll(cancels, answers, running)
				return a.resp, a.x, nil
			}
			if failed = cmp.Or(failed, a.err); running == 0 {
				endAll(cancels, answers, 0)
				return nil, nil, failed
			}
		case <-timer.C:
			if len(others) == 0 {
				continue
			}
			r := others[0]
			others = others[1:]
			ask(func(again *http.Request) (*http.Response, *exchange, error) {
				return t.exchange(again, r.decision, r.key, "")
			})
			running++
			timer.Reset(t.answerPatience())
		}
	}
}

// endAll ends requests, of which so many have not been answered.
func endAll(cancels []context.CancelFunc, answers <-chan answer, running int) {
	for _, cancel := range cancels {
		cancel()
	}
	if running == 0 {
		return
	}
	go func() {
		for range running {
			if a := <-answers; a.err == nil {
				_ = a.resp.Body.Close()
			}
		}
	}()
}

// defaultAnswerPatience is longer than nearly all servers take to begin, and short beside
// a large download.
const defaultAnswerPatience = 3 * time.Second

func (t *Transport) answerPatience() time.Duration { return cmp.Or(t.patience, defaultAnswerPatience) }

// endedBody is the body of a response. When it ends or is closed, the context of its request
// ends.
type endedBody struct {
	io.ReadCloser
	end context.CancelFunc
}

func (b *endedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b *endedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// refusesRange tells whether a status may be an answer to the field Range only, so that
// a request without it may succeed. 416 is also the answer about an empty
// representation, which no range fits. Filters and signed URLs refuse unexpected fields
// with other statuses.
func refusesRange(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusPreconditionFailed,
		http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed, http.StatusUnprocessableEntity,
		http.StatusInternalServerError, http.StatusNotImplemented, http.StatusBadGateway:
		return true
	}
	return false
}

// complete turns the header of the first part into a header of the whole.
func complete(resp *http.Response, size, offset int64) {
	resp.ContentLength = size - offset
	resp.Header.Set("Content-Length", fmt.Sprint(size-offset))
	for _, name := range []string{"Content-Digest", "Content-MD5"} { // these are digests of the part only
		resp.Header.Del(name)
	}
	if offset > 0 {
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, size-1, size))
		return
	}
	resp.Header.Del("Content-Range")
	resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
}

// rangeRequest returns req, changed to ask for one range.
func (t *Transport) rangeRequest(ctx context.Context, req *http.Request, s split.Span, validator string) *http.Request {
	part := req.Clone(ctx)
	asked := fmt.Sprintf("bytes=%d-%d", s.From, s.To-1)
	if s.To == toTheEnd {
		asked = fmt.Sprintf("bytes=%d-", s.From)
	}
	part.Header.Set("Range", asked)
	part.Header.Del("If-Range")
	if validator != "" {
		part.Header.Set("If-Range", validator)
	}
	if len(part.Header.Values("Accept-Encoding")) == 0 {
		part.Header.Set("Accept-Encoding", "identity")
	}
	return part
}

// route is a network that takes part in a download.
type route struct {
	decision *client.Decision
	key      networkKey
	name     string // its interface, or its address
	limit    int64  // how many bytes it may bring; negative: no limit
}

// routes asks the manager for networks, and picks those that may take part. The
// manager's first choice comes first.
func (t *Transport) routes(ctx context.Context, q question) ([]route, error) {
	decision, err := t.dialer().Decide(intent.NewContext(ctx, q.intents), "tcp", q.address)
	if err != nil {
		return nil, err
	}
	if decision.Multipath() {
		return nil, nil
	}
	var list []route
	taken := map[string]bool{}
	var first *client.Decision
	for _, c := range decision.Candidates() {
		if first == nil {
			first = c
		}
		name := nameOf(c)
		if taken[name] || !affordable(c, first, q) {
			continue
		}
		taken[name] = true
		r := route{decision: c, key: networkKey{c.Source(), c.Device(), false, q.selection}, name: name, limit: -1}
		if left, ok := c.Budget(); ok && c != first {
			r.limit = left
		}
		list = append(list, r)
	}
	return list, nil
}

// nameOf returns the name by which networks are told apart. That is the interface,
// because the IPv4 and the IPv6 prefix of an interface share one network. On loopback
// it is the address, because addresses stand for networks there.
func nameOf(c *client.Decision) string {
	if name := c.Interface(); name != "" && !c.Source().IsLoopback() {
		return name
	}
	return c.Source().String()
}

// affordable tells whether network c may take part beside the manager's first choice.
func affordable(c, first *client.Decision, q question) bool {
	cost, _ := c.Cost()
	if of, _ := first.Cost(); cost <= of {
		return true
	}
	if q.selection.Interface(c.Interface()) > client.NoPreference || q.selection.Cost(cost) > client.NoPreference {
		return true
	}
	timeliness, ok := q.intents.Timeliness()
	return cost == client.CostMetered && ok && (timeliness == intent.TimelinessStreaming || timeliness == intent.TimelinessInteractive)
}

// Range is the bytes of a representation from From up to To, without the byte at To.
type Range struct{ From, To int64 }

// Progress is how far a split response has come.
type Progress struct {
	Size     int64   // complete length of the representation
	Received int64   // bytes that are there, including those that Save was told of
	Ranges   []Range // the ranges that are there, in order
	Networks []NetworkProgress
}

// NetworkProgress is what one network contributes to a split response.
type NetworkProgress struct {
	Name     string // of its interface, or its address
	Source   netip.Addr
	Cost     client.Cost // free if the manager does not tell
	Bytes    int64       // bytes that came over it, even if another network brought them too
	Rate     float64     // bytes per second, recently
	Requests int         // under way
	Failures int         // in a row
	Ended    bool        // it is not used any more
	Err      error       // the latest failure; nil if there was none
}

// ProgressOf tells how far resp has come. ok is false if resp is not split. ProgressOf
// may be called at any time and by several goroutines.
func ProgressOf(resp *http.Response) (p Progress, ok bool) {
	b, ok := resp.Body.(*splitBody)
	if !ok {
		return p, false
	}
	return b.download.progress(), true
}

// Save writes the content of resp to w, each byte at its offset in the representation,
// and closes resp.Body. Nothing of resp may have been read before. A split response is
// written in the order in which its parts arrive, by several goroutines, all of which
// have ended when Save returns. Any other response is written in order, from its offset
// on.
//
// The caller says in have which ranges w already has of this representation. These are
// not fetched again if that can be avoided.
func Save(w io.WriterAt, resp *http.Response, have ...Range) error {
	if b, ok := resp.Body.(*splitBody); ok {
		return b.download.save(w, have)
	}
	offset := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		s, _, err := contentRange(resp)
		if err != nil {
			_ = resp.Body.Close()
			return err
		}
		offset = s.From
	}
	_, err := io.Copy(io.NewOffsetWriter(w, offset), resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// splitBody is the body of a split response.
type splitBody struct{ download *download }

func (b *splitBody) Read(p []byte) (int, error) { return b.download.read(p) }

func (b *splitBody) Close() error {
	b.download.stop(http.ErrBodyReadAfterClose)
	return nil
}

// tick is how often waiting lanes look for work, because time alone may bring some.
const tick = 50 * time.Millisecond
