package httpintent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/split"
)

const (
	defaultMinSize = 1 << 20
	// defaultMemory leaves what the connections need of 16 MB.
	defaultMemory = 12 << 20
	minMemory     = 1 << 20

	// firstRange is what the first request asks for where a large response is
	// expected: a few round trips of the slow start.
	firstRange = 256 << 10
	// firstStretch is how much of a response to an ordinary request is left to it
	// before other networks begin.
	firstStretch = 1 << 20
)

// Split is how a Transport fetches one representation over several networks at once:
// by ranges (RFC 9110 section 14), each over the network that has the time for it, put
// together in order. The zero value has usual settings. It must not be changed after
// first use.
//
// What is split is the response to a GET without conditions, whose complete length is
// known, whose content is not encoded, and whose validator is strong: an entity tag,
// or a date of modification where there is no tag, a minute or more before the
// response. Each further range is asked for on the condition that the representation
// is still that one (If-Range), and each answer is compared. What does not fit ends
// the use of its network. Where no network is left, an ordinary request is made, of
// which what is there already is skipped; if that gives another representation, reading
// fails with ErrChanged.
//
// The networks are those that the manager names in its decision, one an interface: the
// first choice, and the alternates that cost no more. One that costs more takes part
// only if it is metered and the request's timeliness is streaming or interactive, or if
// the SelectionProperties prefer or require its interface or its cost; and with no more bytes than
// its budget has left. Without a manager, and where the policy wants Multipath TCP,
// nothing is split.
//
// A response that is expected to be large, because the intents say so (a file size, or
// the category bulktransfer) or earlier responses were, is asked for by ranges from the
// start, without compression. Another one is split when its header shows that it is
// large; its connection is closed when the part of the others begins (HTTP/1.1).
type Split struct {
	// MinSize is how many bytes a response must have to be split; 0 means 1 MiB.
	MinSize int64
	// Memory bounds, in bytes, what is kept of a response whose turn to be read has
	// not come; 0 means 12 MiB, less than 1 MiB means that. Save needs none.
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

// ErrChanged is found by errors.Is in the error of reading a split response whose
// representation has changed meanwhile, so that no server gives the rest any more.
var ErrChanged = errors.New("the representation has changed during the download")

// divisible tells whether the response to req may be split, by what it asks for.
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

// offsetOf is where the bytes begin that a request asks for. It is not ok if these do
// not go on to the end, or if the rest of another representation could come.
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

// roundTripSplit makes the first request, and goes on over all networks if its response
// can be split.
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

// expectsLarge tells whether a response is worth splitting before its header is there.
func (t *Transport) expectsLarge(q question) bool {
	if size, ok := q.intents.FileSize(); ok {
		return size >= t.Split.minSize()
	}
	c, ok := q.intents.Category()
	return ok && c == intent.CategoryBulkTransfer
}

// firstOfMany asks for the first range. It returns nothing where an ordinary request is
// to be made in its place.
func (t *Transport) firstOfMany(req *http.Request, q question, pattern string, offset int64, routes []route) (*http.Response, error) {
	asked := split.Span{From: offset, To: offset + firstRange}
	first := t.rangeRequest(req.Context(), req, asked, req.Header.Get("If-Range"))
	resp, x, err := t.roundTrip(first, false)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && offset == 0:
		_ = resp.Body.Close()
		return nil, nil // it may be empty
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
		_ = resp.Body.Close()
		return nil, nil
	}
	t.sizes.learn(pattern, r.size)
	if to == r.size {
		complete(resp, r.size, offset)
		return resp, nil
	}
	d := t.newDownload(req, q, r, routes, offset)
	d.begin(resp, x, split.Span{From: offset, To: to}, false)
	complete(resp, r.size, offset)
	resp.Body = d.body
	return resp, nil
}

// complete makes the header of the first part that of the whole.
func complete(resp *http.Response, size, offset int64) {
	resp.ContentLength = size - offset
	resp.Header.Set("Content-Length", fmt.Sprint(size-offset))
	for _, name := range []string{"Content-Digest", "Content-MD5"} { // of this part only
		resp.Header.Del(name)
	}
	if offset > 0 {
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, size-1, size))
		return
	}
	resp.Header.Del("Content-Range")
	resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
}

// rangeRequest is req for one range.
func (t *Transport) rangeRequest(ctx context.Context, req *http.Request, s split.Span, validator string) *http.Request {
	part := req.Clone(ctx)
	part.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", s.From, s.To-1))
	part.Header.Del("If-Range")
	if validator != "" {
		part.Header.Set("If-Range", validator)
	}
	if len(part.Header.Values("Accept-Encoding")) == 0 {
		part.Header.Set("Accept-Encoding", "identity")
	}
	return part
}

// route is a network that takes part.
type route struct {
	decision *client.Decision
	key      networkKey
	name     string // its interface, or its address
	limit    int64  // of bytes; negative: none
}

// routes asks the manager which networks there are, and picks those that may take part,
// the manager's first choice first.
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

// nameOf is what a network is told apart by: its interface, as one of IPv4 and one of
// IPv6 share it. On loopback, addresses stand for networks.
func nameOf(c *client.Decision) string {
	if name := c.Interface(); name != "" && !c.Source().IsLoopback() {
		return name
	}
	return c.Source().String()
}

// affordable tells whether a network may take part beside the manager's first choice.
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

// Range is the bytes of a representation from From up to, but not including, To.
type Range struct{ From, To int64 }

// Progress is how far a split response has come.
type Progress struct {
	Size     int64   // complete length of the representation
	Received int64   // bytes of it that are there, those that Save was told of included
	Ranges   []Range // which these are, in order
	Networks []NetworkProgress
}

// NetworkProgress is what one network has to do with it.
type NetworkProgress struct {
	Name     string // of its interface, or its address
	Source   netip.Addr
	Cost     client.Cost // free where the manager does not tell
	Bytes    int64       // that came over it, those that came over another one too included
	Rate     float64     // bytes per second, of late
	Requests int         // under way
	Failures int         // in a row
	Ended    bool        // it is not used any more
	Err      error       // the latest failure; nil if there was none
}

// ProgressOf tells how far resp has come. It is not ok if resp is not split. It may be
// called at any time, by several goroutines.
func ProgressOf(resp *http.Response) (p Progress, ok bool) {
	b, ok := resp.Body.(*splitBody)
	if !ok {
		return p, false
	}
	return b.download.progress(), true
}

// Save writes what resp brings to w, each byte at its offset in the representation, and
// closes resp.Body. A split response is written in the order in which it comes, by
// several goroutines; none is left when Save returns. Any other one is written in order,
// from its offset on. Nothing must have been read of resp before.
//
// The ranges are what w has already of this representation, by the caller's word; they
// are not fetched again as far as that is possible.
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

// tick is how often networks that wait look whether there is something to do, as time
// alone may bring it.
const tick = 50 * time.Millisecond
