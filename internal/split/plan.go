package split

import (
	"cmp"
	"slices"
	"time"
)

const (
	// lanes is the number of simultaneous requests on a network. While one connection
	// pauses for a round trip between two responses, the other one loads.
	lanes = 2
	// pieceTime is the time that the bytes of a request should take, if nothing else
	// bounds it. Longer requests waste less time, shorter ones follow changes sooner.
	pieceTime = time.Second
	// reopen is the number of round trips until a new connection is as fast as the one
	// that was given up for it.
	reopen = 12
	// firstPiece is the size of a request if no rate is known.
	firstPiece = 128 << 10
	// minPiece is the least size of a request, except at the end.
	minPiece = 64 << 10
	// minHelp is the least size of a second request for the same bytes.
	minHelp = 8 << 10
	// minGain is how much sooner the end must come to justify requesting bytes twice.
	minGain = 30 * time.Millisecond

	// A request counts as stalled if it has brought nothing for stallFactor times its
	// latency, and for at least minStall. After stopAfter it is given up, if another
	// network works.
	stallFactor = 4
	minStall    = time.Second
	stopAfter   = 10 * time.Second

	// After a failure a network is left alone for minBackoff, which doubles with each
	// failure in a row, up to maxBackoff. If every network has failed maxFailures times
	// in a row, the download has failed.
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 5 * time.Second
	maxFailures = 6
)

// Plan shares out one download. Calls must not overlap. Times are relative to any fixed
// moment that the caller chooses, and must never go back.
type Plan struct {
	all    Span
	window int64 // 0: no window
	taken  int64 // the reader has taken everything before it
	have   spans
	given  spans // the bytes that Have has reported
	todo   spans // bytes neither there nor requested
	proved bool  // a request for a range was answered with that range

	networks []*network
	works    []*work // running requests, in the order of their beginning
	ids      int
	stops    []int
}

type network struct {
	meter
	latency   time.Duration // time until a response begins; 0: unknown
	limit     int64         // bytes that may still be requested; negative: no limit
	proved    bool
	active    int
	received  int64
	failures  int
	notBefore time.Duration
	gone      bool
}

// Work is a request to make over a network.
type Work struct {
	ID      int
	Network int
	Span
}

type work struct {
	Work
	pos         int64 // offset of the next byte to come
	open        bool  // the response continues beyond To
	asked, last time.Duration
	first       time.Duration // when its response began
	begun       bool
	stopped     bool
}

func (w *work) rest() Span { return Span{w.pos, w.To} }

// New plans the download of all. No range begins more than window bytes after what the
// reader has taken; 0 means no such bound.
func New(all Span, window int64) *Plan {
	p := &Plan{all: all, window: window, taken: all.From}
	p.todo.add(all)
	return p
}

// Add adds a network and returns its number, which counts from 0. latency is the
// expected time until a response begins, 0 if unknown. limit is how many bytes may be
// requested, negative for no limit.
func (p *Plan) Add(latency time.Duration, limit int64) int {
	p.networks = append(p.networks, &network{latency: latency, limit: limit})
	return len(p.networks) - 1
}

// Have notes bytes that are there already. Running requests for them are not stopped.
func (p *Plan) Have(s Span) {
	s = s.overlap(p.all)
	p.have.add(s)
	p.given.add(s)
	p.todo.remove(s)
}

// Begin notes a request for the span that the caller has made without Next. With open,
// the response continues beyond the span.
func (p *Plan) Begin(now time.Duration, network int, s Span, open bool) Work {
	p.todo.remove(s)
	return p.begin(now, network, s, open)
}

func (p *Plan) begin(now time.Duration, number int, s Span, open bool) Work {
	n := p.networks[number]
	if n.limit > 0 {
		n.limit = max(0, n.limit-s.Len())
	}
	n.active++
	p.ids++
	w := &work{Work: Work{p.ids, number, s}, pos: s.From, open: open, asked: now, last: now}
	p.works = append(p.works, w)
	return w.Work
}

// Lanes returns the number of simultaneous requests on a network.
func (p *Plan) Lanes() int { return lanes }

// Done tells whether all bytes are there.
func (p *Plan) Done() bool { return p.have.bytes() == p.all.Len() }

// Ready returns the end of the bytes that are there from offset on.
func (p *Plan) Ready(offset int64) int64 {
	if end, ok := p.have.at(offset); ok {
		return end
	}
	return offset
}

// Received returns the spans that are there, in order. The caller must not change them.
func (p *Plan) Received() []Span { return p.have }

// Take notes that the reader has everything before offset.
func (p *Plan) Take(offset int64) { p.taken = max(p.taken, offset) }

// Unbound removes the bound of New.
func (p *Plan) Unbound() { p.window = 0 }

// Stuck tells whether no request is running and no network is left to try.
func (p *Plan) Stuck() bool {
	if len(p.works) > 0 || p.Done() {
		return false
	}
	for _, n := range p.networks {
		if !n.gone && n.failures < maxFailures && n.limit != 0 {
			return false
		}
	}
	return true
}

// Share is what one network does.
type Share struct {
	Received int64   // bytes, including those that another network brought, too
	Rate     float64 // bytes per second, recently
	Active   int     // running requests
	Failures int     // in a row
	Gone     bool    // it gets no more requests
}

// Shares returns what each network does, by its number.
func (p *Plan) Shares(now time.Duration) []Share {
	list := make([]Share, len(p.networks))
	for i, n := range p.networks {
		list[i] = Share{n.received, n.rate(now, n.latency), n.active, n.failures, n.gone || n.limit == 0}
		if n.active == 0 {
			list[i].Rate = 0
		}
	}
	return list
}

// Next hands out a request for a network, if there is one now. Call it after each other
// call, and several times a second.
func (p *Plan) Next(now time.Duration, number int) (Work, bool) {
	n := p.networks[number]
	room := lanes
	if !n.proved || n.failures > 0 {
		room = 1
	}
	if len(p.todo) > 0 && slices.ContainsFunc(p.works, func(w *work) bool { return w.open && w.Network == number && !w.stopped && !p.stalled(now, w) }) {
		room = 1
	}
	p.giveUp(now)
	if n.gone || n.limit == 0 || n.active >= room || now < n.notBefore || p.Done() {
		return Work{}, false
	}
	if s, ok := p.fresh(now, number); ok {
		p.todo.remove(s)
		return p.begin(now, number, s, false), true
	}
	if s, ok := p.help(now, number); ok {
		return p.begin(now, number, s, false), true
	}
	return Work{}, false
}

// fresh returns a range that nobody has requested. While an open response continues
// from the front, other networks get ranges from the back. The two then meet once, and
// the fastest connection needs no pause of a round trip between two requests.
func (p *Plan) fresh(now time.Duration, number int) (Span, bool) {
	if len(p.todo) == 0 {
		return Span{}, false
	}
	size := p.size(now, number)
	if size == 0 {
		return Span{}, false
	}
	if n := p.networks[number]; n.limit > 0 {
		size = min(size, n.limit)
	}
	if p.opened(now) {
		return p.back(size)
	}
	lead := p.todo[0]
	s := Span{lead.From, min(lead.To, lead.From+size)}
	if lead.To-s.To < minPiece/2 && p.networks[number].limit < 0 {
		s.To = lead.To
	}
	if p.window > 0 && s.To > p.taken+p.window {
		// Without this, a reader that takes little at a time would cause many small
		// requests.
		if full := s.Len(); p.taken+p.window-s.From < full/2 {
			return Span{}, false
		}
		s.To = p.taken + p.window
	}
	return s, s.Len() > 0
}

// size returns how much a network should request now; 0 leaves it to others.
func (p *Plan) size(now time.Duration, number int) int64 {
	n := p.networks[number]
	rate := n.rate(now, n.latency)
	sum := p.rate(now)
	if rate == 0 {
		return firstPiece
	}
	most := pieceTime
	if p.window > 0 {
		// Each network has two ranges, of which one has half come on average. The
		// window has room for twice that.
		most = min(most, seconds(float64(p.window)/sum/4))
	}
	size := rate * most.Seconds()
	left := float64(p.all.Len() - p.have.bytes())
	end := seconds(left / sum)
	last := rate*(end-n.latency).Seconds() - p.underWay(number)
	if last >= size {
		return max(int64(size), minPiece)
	}
	if last >= minPiece {
		return int64(last)
	}
	// Near the end, what is left goes to the network that needs the least time for it.
	own := p.until(now, number, min(minPiece, float64(p.todo.bytes())))
	for i, other := range p.networks {
		if i != number && p.usable(now, other) && other.rate(now, other.latency) > 0 && p.until(now, i, float64(p.todo.bytes())) < own {
			return 0
		}
	}
	return max(int64(min(size, left)), minPiece)
}

// until returns how long a network needs for everything it was asked for and for more
// bytes besides. An open response brings them without another request.
func (p *Plan) until(now time.Duration, number int, more float64) time.Duration {
	n := p.networks[number]
	latency := n.latency
	if slices.ContainsFunc(p.works, func(w *work) bool { return w.open && w.begun && !w.stopped && w.Network == number }) {
		latency = 0
	}
	return latency + seconds((p.underWay(number)+more)/n.rate(now, n.latency))
}

func (p *Plan) usable(now time.Duration, n *network) bool {
	return !n.gone && n.limit != 0 && n.failures == 0 && now >= n.notBefore
}

// underWay returns how many requested bytes of a network have not come.
func (p *Plan) underWay(number int) (bytes float64) {
	for _, w := range p.works {
		if w.Network == number && !w.stopped {
			bytes += float64(w.rest().Len())
		}
	}
	return bytes
}

// rate returns the rate of all networks together.
func (p *Plan) rate(now time.Duration) (sum float64) {
	for _, n := range p.networks {
		if p.usable(now, n) {
			sum += n.rate(now, n.latency)
		}
	}
	return max(sum, 1)
}

// help returns a range that another network was asked for, and that this one is
// expected to bring sooner.
func (p *Plan) help(now time.Duration, number int) (Span, bool) {
	n := p.networks[number]
	starved := p.Ready(p.taken) == p.taken
	if p.window > 0 && !starved || p.window == 0 && len(p.todo) > 0 {
		return Span{}, false
	}
	rate := n.rate(now, n.latency)
	var best Span
	var most time.Duration
	for _, w := range p.works {
		stalled := p.stalled(now, w)
		if w.stopped || w.Network == number && !stalled {
			continue
		}
		own := p.alone(now, w)
		if own.Len() == 0 || len(p.todo) > 0 && own.From != p.taken {
			continue
		}
		s, gain := own, time.Hour
		if !stalled {
			s, gain = p.share(now, w, own, rate, n.latency)
		} else if rate == 0 {
			s.To = min(s.To, s.From+firstPiece)
		}
		if p.comes(now, number, s) {
			continue
		}
		if s.Len() >= min(minHelp, own.Len()) && gain > max(most, minGain) {
			best, most = s, gain
		}
	}
	if n.limit > 0 {
		best.From = max(best.From, best.To-n.limit)
	}
	return best, best.Len() > 0
}

// share returns the part at the end of own that a network with that rate should
// request, so that it and the network of w finish at the same time. It also returns how
// much sooner that is.
func (p *Plan) share(now time.Duration, w *work, own Span, rate float64, latency time.Duration) (Span, time.Duration) {
	if rate == 0 {
		return Span{}, 0
	}
	v := p.networks[w.Network]
	speed := v.rate(now, v.latency) / float64(v.active)
	begin := time.Duration(0)
	if !w.begun {
		begin = max(0, w.asked+v.latency-now)
	} else {
		begin = max(0, now-w.last-v.latency)
	}
	if speed == 0 {
		speed = 1
	}
	alone := begin + seconds(float64(own.To-w.pos)/speed)
	both := (begin - latency).Seconds() + float64(own.To-w.pos)/speed
	bytes := min(float64(own.Len()), both/(1/rate+1/speed))
	if bytes <= 0 {
		return Span{}, 0
	}
	then := latency + seconds(bytes/rate)
	return Span{own.To - int64(bytes), own.To}, alone - then
}

// alone returns the last stretch of w that has not come and that nobody else was asked
// for. Stalled requests do not count.
func (p *Plan) alone(now time.Duration, w *work) Span {
	rest := p.have.without(w.rest())
	for _, other := range p.works {
		if other != w && !other.stopped && !p.stalled(now, other) {
			rest.remove(other.rest())
		}
	}
	if len(rest) == 0 {
		return Span{}
	}
	if len(p.todo) > 0 || p.stalled(now, w) {
		return rest[0]
	}
	return rest[len(rest)-1]
}

// stalled tells whether a request brings nothing.
func (p *Plan) stalled(now time.Duration, w *work) bool {
	wait := minStall
	if n := p.networks[w.Network]; !w.begun && n.latency == 0 {
		wait = 3 * minStall // connecting takes several round trips of unknown length
	} else {
		wait = max(wait, stallFactor*n.latency)
	}
	return now-w.last > wait
}

// giveUp stops requests that have been stalled for long, if another network works.
func (p *Plan) giveUp(now time.Duration) {
	for _, w := range p.works {
		if now-w.last > stopAfter && !w.stopped && slices.ContainsFunc(p.works, func(o *work) bool { return o.Network != w.Network && now-o.last < minStall && o.begun }) {
			p.stop(w)
		}
	}
}

func (p *Plan) stop(w *work) {
	if !w.stopped {
		w.stopped = true
		p.stops = append(p.stops, w.ID)
	}
}

// Stops returns the requests that are no longer needed, each once. The caller ends
// them, and calls Ended.
func (p *Plan) Stops() []int {
	list := p.stops
	p.stops = nil
	return list
}

func (p *Plan) work(id int) *work {
	if i := slices.IndexFunc(p.works, func(w *work) bool { return w.ID == id }); i >= 0 {
		return p.works[i]
	}
	return nil
}

// Proved notes that a request for a range was answered with that range.
func (p *Plan) Proved(id int) {
	if w := p.work(id); w != nil {
		p.proved = true
		p.networks[w.Network].proved = true
	}
}

// Arrived counts bytes of a response, and returns the spans of those that are new.
func (p *Plan) Arrived(now time.Duration, id int, bytes int64) (fresh []Span) {
	w := p.work(id)
	if w == nil || bytes <= 0 {
		return nil
	}
	n := p.networks[w.Network]
	if !w.begun {
		w.begun, w.first = true, now
		p.began(n, now-w.asked)
	}
	w.last = now
	n.add(now, bytes)
	n.received += bytes
	n.failures = 0
	s := Span{w.pos, w.pos + bytes}.overlap(p.all)
	fresh = p.have.without(s)
	p.have.add(s)
	p.todo.remove(s)
	w.pos += bytes
	p.spare(now)
	return fresh
}

// began notes how long a response took to begin.
func (p *Plan) began(n *network, took time.Duration) {
	if n.latency == 0 || took < n.latency {
		n.latency = took
		return
	}
	n.latency += (min(took, 4*n.latency) - n.latency) / 4
}

// spare stops requests whose bytes are all there, or will come sooner from others.
func (p *Plan) spare(now time.Duration) {
	for _, w := range p.works {
		rest := w.rest()
		if w.stopped || rest.Len() == 0 {
			continue
		}
		missing := p.have.without(rest)
		if len(missing) == 0 {
			if !w.open { // an open one may continue to what others were asked for
				p.stop(w)
			}
			continue
		}
		// The next bytes are there already. They are read again only in case the other
		// request, which brings the rest, dies or is slower.
		if end, there := p.have.at(w.pos); there && slices.ContainsFunc(p.works, func(o *work) bool {
			return o != w && !o.stopped && !p.stalled(now, o) && o.pos == end && o.To >= w.To && p.rest(now, o) <= p.rest(now, w)
		}) {
			p.stop(w)
		}
	}
}

// Retire gives a network no more requests. Running ones continue.
func (p *Plan) Retire(network int) { p.networks[network].gone = true }

// rest returns how long a request needs at the rate of its network.
func (p *Plan) rest(now time.Duration, w *work) time.Duration {
	n := p.networks[w.Network]
	t := seconds(float64(w.rest().Len()) * float64(max(1, n.active)) / max(n.rate(now, n.latency), 1))
	if w.begun && w.rest().Len() > 0 {
		t = max(t, now-w.last-n.latency) // what has been silent for long will probably stay so as long
	}
	return t
}

// Outcome says how a request has ended.
type Outcome int

// The outcomes.
const (
	Complete Outcome = iota // everything requested has come, or the request was stopped
	Failed                  // it broke, or could not be made
	Odd                     // the answer does not fit the download; the network is not used again
)

// Ended notes the end of a request. The ranges that have not come are handed out again.
func (p *Plan) Ended(now time.Duration, id int, o Outcome) {
	w := p.work(id)
	if w == nil {
		return
	}
	p.works = slices.DeleteFunc(p.works, func(x *work) bool { return x == w })
	n := p.networks[w.Network]
	if n.active--; n.active == 0 {
		n.idle(now, n.latency)
	}
	left := p.have.without(w.rest())
	for _, s := range left {
		if n.limit >= 0 {
			n.limit += s.Len()
		}
		p.todo.add(s)
	}
	for _, other := range p.works {
		if !other.stopped {
			p.todo.remove(other.rest())
		}
	}
	switch {
	case o == Odd:
		n.gone = true
	case o == Failed && !w.stopped || w.stopped && len(left) > 0 && now-w.last > stopAfter:
		n.failures++
		n.notBefore = now + min(maxBackoff, minBackoff<<min(n.failures-1, 10))
		n.known = 0
	}
}

// Order lists the networks by rate, the fastest first, so that the fastest is asked
// first what it wants.
func (p *Plan) Order(now time.Duration) []int {
	list := make([]int, len(p.networks))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int {
		x, y := p.networks[a], p.networks[b]
		return cmp.Compare(y.rate(now, y.latency), x.rate(now, x.latency))
	})
	return list
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, 1e6) * float64(time.Second))
}
