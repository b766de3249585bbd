package httpintent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/split"
)

const (
	readSize = 32 << 10
	// refreshEvery is the minimum time between two questions to the manager about the
	// present networks. Such a question follows a failed request.
	refreshEvery = time.Second
	// maxWhole is how often a download may request the whole representation, after no
	// network is left for requests for ranges.
	maxWhole = 2
)

// download is one representation that is fetched over several networks.
type download struct {
	transport *Transport
	req       *http.Request
	question  question
	repr      representation
	end       int64
	begun     time.Time
	body      *splitBody

	ctx    context.Context // of all requests of the download
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	changed   sync.Cond // signalled when a field guarded by mu has changed
	plan      *split.Plan
	routes    []route // indexed by the number that plan gave the network
	errs      []error // the latest error of each network, indexed like routes
	cancels   map[int]context.CancelFunc
	refreshed time.Time
	wholes    int

	buffers []*[readSize]byte // not in use

	store store
	sink  io.WriterAt // set by Save; then store is not used
	pos   int64       // next byte that the reader gets
	err   error       // why the download ended
}

func (t *Transport) newDownload(req *http.Request, q question, r representation, routes []route, offset int64) *download {
	d := &download{
		transport: t, req: req, question: q, repr: r, end: r.size, begun: time.Now(),
		plan: split.New(split.Span{From: offset, To: r.size}, t.Split.memory()), pos: offset,
		cancels: make(map[int]context.CancelFunc),
	}
	d.changed.L = &d.mu
	d.body = &splitBody{d}
	d.ctx, d.cancel = context.WithCancel(req.Context())
	for _, r := range routes {
		d.addLocked(r)
	}
	return d
}

func (d *download) addLocked(r route) int {
	d.routes = append(d.routes, r)
	d.errs = append(d.errs, nil)
	rtt := time.Duration(0)
	if r.decision != nil {
		rtt = r.decision.RTT()
	}
	return d.plan.Add(rtt, r.limit)
}

func (d *download) now() time.Duration { return time.Since(d.begun) }

// begin takes over the first response, which contains the bytes of s, and starts requests
// over the other networks. open tells whether the response continues beyond s.
func (d *download) begin(resp *http.Response, x *exchange, s split.Span, open bool) {
	d.mu.Lock()
	n := d.numberOf(x)
	w := d.plan.Begin(d.now(), n, s, open)
	if resp.StatusCode == http.StatusPartialContent {
		d.plan.Proved(w.ID)
	}
	body := resp.Body
	d.cancels[w.ID] = func() { _ = body.Close() }
	for i := range d.routes {
		d.startLocked(i)
	}
	d.mu.Unlock()
	d.tasks.Go(func() { d.finish(w, d.copy(w, body, s.To)) })
	d.tasks.Go(d.watch)
}

// numberOf returns the number of the network that a request went over. If that network is
// none of the routes, numberOf adds a route for it. This can happen when none of the
// networks that the manager suggested could be used.
func (d *download) numberOf(x *exchange) int {
	key := x.network.key
	if info, ok := x.info(); ok { // an alternate may have connected first
		key = networkKey{info.Source, info.Device, false, key.selection}
	}
	for i, r := range d.routes {
		if r.key.source == key.source && r.key.device == key.device {
			return i
		}
	}
	name := key.source.String()
	if !key.source.IsValid() {
		name = "other"
	}
	return d.addLocked(route{key: key, name: name, limit: -1})
}

// startLocked starts the lanes of a network. Each lane is a goroutine that makes one
// request after another over this network.
func (d *download) startLocked(number int) {
	if d.routes[number].decision == nil {
		return
	}
	for range d.plan.Lanes() {
		d.tasks.Go(func() { d.lane(number) })
	}
}

// watch wakes the waiting lanes at each tick, because the plan may have work for a lane
// just because time has passed. watch also starts the last resort, and ends the download
// when the request's context ends.
func (d *download) watch() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.mu.Lock()
			over := d.overLocked()
			if !over && d.plan.Stuck() {
				d.lastResortLocked()
			}
			d.changed.Broadcast()
			d.mu.Unlock()
			if over {
				return
			}
		case <-d.ctx.Done():
			d.stop(context.Cause(d.ctx))
			return
		}
	}
}

func (d *download) overLocked() bool { return d.err != nil || d.plan.Done() }

// stop ends the download with err, unless the download has ended already.
func (d *download) stop(err error) {
	d.mu.Lock()
	if d.err == nil {
		d.err = err
	}
	d.changed.Broadcast()
	d.mu.Unlock()
	d.cancel()
}

// lane makes requests over one network, one after another.
func (d *download) lane(number int) {
	for {
		w, ok := d.next(number)
		if !ok {
			return
		}
		d.fetch(w)
	}
}

// next waits until there is a range to ask for. ok is false at the end of the download.
func (d *download) next(number int) (w split.Work, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.overLocked() {
		if w, ok = d.plan.Next(d.now(), number); ok {
			return w, true
		}
		d.stopsLocked()
		d.changed.Wait()
	}
	return w, false
}

// stopsLocked cancels the requests that the plan no longer needs.
func (d *download) stopsLocked() {
	for _, id := range d.plan.Stops() {
		if cancel := d.cancels[id]; cancel != nil {
			go cancel() // in a goroutine: closing a body may block
		}
	}
}

// fetch makes one request and reads its response to the end.
func (d *download) fetch(w split.Work) {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	d.mu.Lock()
	r := d.routes[w.Network]
	d.cancels[w.ID] = cancel
	d.mu.Unlock()
	d.finish(w, d.ask(ctx, w, r))
}

func (d *download) ask(ctx context.Context, w split.Work, r route) error {
	req := d.transport.rangeRequest(ctx, d.req, w.Span, d.repr.validator)
	resp, _, err := d.transport.exchange(req, r.decision, r.key, "")
	if err != nil {
		return err
	}
	to, err := d.repr.part(resp, w.Span)
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	d.mu.Lock()
	d.plan.Proved(w.ID)
	d.mu.Unlock()
	return d.copy(w, resp.Body, to)
}

// finish notes the result of a request.
func (d *download) finish(w split.Work, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.cancels, w.ID)
	outcome := split.Complete
	switch {
	case errors.Is(err, errOdd):
		outcome = split.Odd
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, http.ErrBodyReadAfterClose):
		outcome = split.Failed
	}
	if outcome != split.Complete {
		d.errs[w.Network] = err
	}
	if d.routes[w.Network].decision == nil {
		d.plan.Retire(w.Network) // no range can be requested over this network: it stands for one response
	}
	d.plan.Ended(d.now(), w.ID, outcome)
	if outcome == split.Failed && !d.overLocked() && time.Since(d.refreshed) > refreshEvery {
		d.refreshed = time.Now()
		d.tasks.Go(d.refresh)
	}
	if d.plan.Done() {
		d.cancel()
	}
	d.stopsLocked()
	d.changed.Broadcast()
}

// refresh asks the manager which networks there are now. An address may have changed,
// or a network may have been added.
func (d *download) refresh() {
	routes, err := d.transport.routes(d.ctx, d.question)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.overLocked() {
		return
	}
	for _, r := range routes {
		known := false
		for i := range d.routes {
			if d.routes[i].key == r.key {
				known = true
				if d.routes[i].decision != nil {
					d.routes[i].decision = r.decision
				}
			}
		}
		if !known && len(d.routes) < maxNetworks {
			d.startLocked(d.addLocked(r))
		}
	}
}

// copy reads a response until the plan needs no more of it, or the response ends. It is an
// error if the response ends before the offset to. That offset may be less than the end of
// the requested range, because a server may send less than was requested.
func (d *download) copy(w split.Work, body io.ReadCloser, to int64) error {
	defer func() { _ = body.Close() }()
	buf := d.buffer()
	defer d.putBuffer(buf)
	pos := w.From
	for {
		room, err := d.room(w)
		if room == 0 || err != nil {
			return err
		}
		n, err := body.Read(buf[:min(room, readSize)])
		if n > 0 {
			if err := d.arrived(w, pos, buf[:n]); err != nil {
				return err
			}
			pos += int64(n)
		}
		if err != nil {
			d.mu.Lock()
			_, do := d.plan.Room(d.now(), w.ID)
			d.mu.Unlock()
			switch {
			case do == split.Stop, errors.Is(err, io.EOF) && pos >= to:
				return nil
			case errors.Is(err, io.EOF):
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// buffer returns a buffer for reading a response. A request gives its buffer back with
// putBuffer, and a later request reuses it. Otherwise unused buffers would occupy memory
// until the next garbage collection.
func (d *download) buffer() *[readSize]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.buffers)
	if n == 0 {
		return new([readSize]byte)
	}
	buf := d.buffers[n-1]
	d.buffers = d.buffers[:n-1]
	return buf
}

func (d *download) putBuffer(buf *[readSize]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buffers = append(d.buffers, buf)
}

// room waits until the download may read more of a response, and says how much. 0 means
// that no more of this response is needed.
func (d *download) room(w split.Work) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.err == nil {
		switch n, do := d.plan.Room(d.now(), w.ID); do {
		case split.Read:
			return n, nil
		case split.Stop:
			return 0, nil
		case split.Wait:
			d.changed.Wait()
		}
	}
	return 0, context.Canceled
}

// arrived stores bytes of the representation that begin at offset.
func (d *download) arrived(w split.Work, offset int64, b []byte) error {
	d.mu.Lock()
	sink := d.sink
	d.mu.Unlock()
	if sink != nil {
		if err := d.writeTo(sink, offset, b); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return context.Canceled
	}
	again := d.sink != nil && sink == nil // Save began after sink was read
	for _, s := range d.plan.Arrived(d.now(), w.ID, int64(len(b))) {
		part := b[s.From-offset : s.To-offset]
		switch {
		case again:
			// The lock is held during the write, which happens at most once per
			// request.
			if _, err := d.sink.WriteAt(part, s.From); err != nil {
				d.err = err
				return err
			}
		case d.sink == nil:
			d.store.write(s.From, part)
		}
	}
	d.stopsLocked()
	d.changed.Broadcast()
	return nil
}

// writeTo writes to the writer of Save. An error ends the download.
func (d *download) writeTo(sink io.WriterAt, offset int64, b []byte) error {
	_, err := sink.WriteAt(b, offset)
	if err != nil {
		d.stop(err)
	}
	return err
}

// read implements Read of the body.
func (d *download) read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if d.sink != nil || errors.Is(d.err, http.ErrBodyReadAfterClose) {
			return 0, http.ErrBodyReadAfterClose
		}
		if d.pos == d.end {
			return 0, io.EOF
		}
		if to := d.plan.Ready(d.pos); to > d.pos {
			n := d.store.read(split.Span{From: d.pos, To: to}, p)
			d.store.drop(d.pos, d.pos+int64(n))
			d.pos += int64(n)
			d.plan.Take(d.pos)
			d.changed.Broadcast()
			return n, nil
		}
		if d.err != nil {
			return 0, d.err
		}
		d.changed.Wait()
	}
}

// save implements Save for a split response.
func (d *download) save(w io.WriterAt, have []Range) error {
	d.mu.Lock()
	for s := range d.kept() {
		b := make([]byte, s.Len())
		if n := d.store.read(s, b); int64(n) < s.Len() {
			b = b[:n]
		}
		if _, err := w.WriteAt(b, s.From); err != nil {
			d.mu.Unlock()
			d.stop(err)
			d.tasks.Wait()
			return err
		}
	}
	d.sink, d.store = w, store{}
	d.plan.Unbound()
	for _, r := range have {
		d.plan.Have(split.Span{From: max(r.From, d.pos), To: r.To})
	}
	d.changed.Broadcast()
	for !d.overLocked() {
		d.changed.Wait()
	}
	err := d.err
	if d.plan.Done() {
		err = nil
	}
	d.mu.Unlock()
	d.stop(http.ErrBodyReadAfterClose)
	d.tasks.Wait()
	return err
}

// kept yields the spans in the store, cut so that each lies in one chunk.
func (d *download) kept() func(func(split.Span) bool) {
	return func(yield func(split.Span) bool) {
		for _, s := range d.plan.Received() {
			for s.From = max(s.From, d.pos); s.From < s.To; {
				next := min(s.To, (s.From/chunkSize+1)*chunkSize)
				if !yield(split.Span{From: s.From, To: next}) {
					return
				}
				s.From = next
			}
		}
	}
}

// lastResortLocked requests the whole representation. It is called when no network is left
// over which ranges can be requested. After maxWhole such requests the download fails.
func (d *download) lastResortLocked() {
	last := errors.Join(d.errs...)
	if d.wholes == maxWhole {
		if d.err == nil {
			d.err = fmt.Errorf("no network delivers the rest: %w", last)
			if errors.Is(last, errOdd) {
				d.err = fmt.Errorf("%w: %w", ErrChanged, last)
			}
		}
		d.changed.Broadcast()
		d.cancel()
		return
	}
	d.wholes++
	number := d.addLocked(route{name: "other", limit: -1})
	ready := d.plan.Ready(d.pos)
	w := d.plan.Begin(d.now(), number, split.Span{From: ready, To: min(d.end, ready+firstStretch)}, true)
	d.tasks.Go(func() { d.finish(w, d.whole(w)) })
}

// whole requests the whole representation, and discards the bytes before w.
func (d *download) whole(w split.Work) error {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	req := d.req.Clone(ctx)
	for _, name := range []string{"Range", "If-Range"} {
		req.Header.Del(name)
	}
	if len(req.Header.Values("Accept-Encoding")) == 0 {
		req.Header.Set("Accept-Encoding", "identity")
	}
	resp, _, err := d.transport.roundTrip(req, false)
	if err != nil {
		return err
	}
	if err := d.repr.whole(resp); err != nil {
		_ = resp.Body.Close()
		return err
	}
	d.mu.Lock()
	d.cancels[w.ID] = cancel
	d.mu.Unlock()
	if _, err := io.CopyN(io.Discard, resp.Body, w.From); err != nil {
		_ = resp.Body.Close()
		return err
	}
	return d.copy(w, resp.Body, d.end)
}

func (d *download) progress() Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := Progress{Size: d.repr.size}
	for _, s := range d.plan.Received() {
		p.Ranges = append(p.Ranges, Range(s))
		p.Received += s.Len()
	}
	for i, s := range d.plan.Shares(d.now()) {
		r := &d.routes[i]
		n := NetworkProgress{
			Name: r.name, Source: r.key.source, Bytes: s.Received, Rate: s.Rate, Requests: s.Active, Failures: s.Failures, Ended: s.Gone, Err: d.errs[i],
		}
		if r.decision != nil {
			n.Cost, _ = r.decision.Cost()
		}
		p.Networks = append(p.Networks, n)
	}
	return p
}
