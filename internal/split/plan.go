package split

import (
	"cmp"
	"slices"
	"time"
)

const (
	// lanes is how many requests are under way on a network: the pause of a round
	// trip between two responses of one connection is filled by the other's.
	lanes = 2
	// pieceTime is how long the bytes of a request take where nothing else bounds
	// it. Longer requests waste less, shorter ones follow changes sooner.
	pieceTime = time.Second
	// reopen is how many round trips it takes another connection until it brings as
	// much as the one that was given up.
	reopen = 12
	// firstPiece is asked for where no rate is known.
	firstPiece = 128 << 10
	// minPiece is asked for at least, but at the end.
	minPiece = 64 << 10
	// minHelp is the least that is asked for a second time.
	minHelp = 8 << 10
	// minGain is how much sooner the end must come to ask for something twice.
	minGain = 30 * time.Millisecond

	// A request that brought nothing for stallFactor times its latency, and at
	// least for minStall, is not counted on any more. After stopAfter it is given up,
	// if another network works.
	stallFactor = 4
	minStall    = time.Second
	stopAfter   = 10 * time.Second

	// A network that failed is left alone for minBackoff, doubled with each failure
	// in a row up to maxBackoff. When each has failed for maxFailures times in a row,
	// the download has.
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 5 * time.Second
	maxFailures = 6
)

// Plan shares out one download. The caller sees to it that one call is made at a
// time. Times are since some moment of the caller's, and never go back.
type Plan struct {
	all    Span
	window int64 // 0: none
	taken  int64 // what comes before was taken by the reader
	have   spans
	given  spans // of these, what Have told of
	todo   spans // neither there nor asked for
	proved bool  // a range was answered with that range

	networks []*network
	works    []*work // under way, in the order of their beginning
	ids      int
	stops    []int
}

type network struct {
	meter
	latency   time.Duration // until a response begins; 0: unknown
	limit     int64         // bytes that may still be asked for; negative: no limit
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
	pos         int64 // of the next byte that comes
	open        bool  // the response goes on beyond To
	asked, last time.Duration
	first       time.Duration // when its response began
	begun       bool
	stopped     bool
}

func (w *work) rest() Span { return Span{w.pos, w.To} }

// New plans the bytes of all. No range is asked for that begins more than window
// bytes after what the reader has taken; 0: there is no such bound.
func New(all Span, window int64) *Plan {
	p := &Plan{all: all, window: window, taken: all.From}
	p.todo.add(all)
	return p
}

// Add adds a network and returns its number, which counts from 0. latency is how
// long a response is expected to take to begin, 0 if that is not known; limit how
// many bytes may be asked for, negative for any number.
func (p *Plan) Add(latency time.Duration, limit int64) int {
	p.networks = append(p.networks, &network{latency: latency, limit: limit})
	return len(p.networks) - 1
}

// Have notes bytes that are there already. What is under way is not stopped.
func (p *Plan) Have(s Span) {
	s = s.overlap(p.all)
	p.have.add(s)
	p.given.add(s)
	p.todo.remove(s)
}

// Begin notes a request that was made without being asked for, for the span. An open
// one's response goes on beyond its end.
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

// Lanes is how many requests may be under way on a network.
func (p *Plan) Lanes() int { return lanes }

// Done tells whether all bytes are there.
func (p *Plan) Done() bool { return p.have.bytes() == p.all.Len() }

// Ready returns up to where the bytes from offset on are there.
func (p *Plan) Ready(offset int64) int64 {
	if end, ok := p.have.at(offset); ok {
		return end
	}
	return offset
}

// Received is all that is there, in order. The caller must not change it.
func (p *Plan) Received() []Span { return p.have }

// Take notes that the reader has everything before offset.
func (p *Plan) Take(offset int64) { p.taken = max(p.taken, offset) }

// Unbound removes the bound of New.
func (p *Plan) Unbound() { p.window = 0 }

// Stuck tells that nothing is under way and that no network is left to try.
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

// Share is what a network does.
type Share struct {
	Received int64   // bytes, those that came over another network too included
	Rate     float64 // bytes per second, measured of late
	Active   int     // requests under way
	Failures int     // in a row
	Gone     bool    // it is not asked any more
}

// Shares tells of all networks, by their number.
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

// Next hands out a request for a network, if there is one for it now. It is to be
// called again after each other call, and several times a second.
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

// fresh is a range that nobody has asked for. While an open response goes on from the
// front, others take theirs from the back: the two meet once, so the connection that
// brings the most makes no pause of a round trip between two requests.
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
		// A reader that takes little at a time would make many small requests.
		if full := s.Len(); p.taken+p.window-s.From < full/2 {
			return Span{}, false
		}
		s.To = p.taken + p.window
	}
	return s, s.Len() > 0
}

// opened tells whether an open response goes on.
func (p *Plan) opened(now time.Duration) bool {
	return slices.ContainsFunc(p.works, func(w *work) bool { return w.open && !w.stopped && !p.stalled(now, w) })
}

// back is the last range of that size, of those that the window has room for.
func (p *Plan) back(size int64) (Span, bool) {
	bound := p.all
	if p.window > 0 {
		bound.To = min(bound.To, p.taken+p.window)
	}
	for _, part := range slices.Backward(p.todo) {
		part = part.overlap(bound)
		if part.Len() < size && part.To == bound.To && bound.To < p.all.To {
			continue // there will be room for more of it
		}
		if part.Len() > 0 {
			return Span{max(part.From, part.To-size), part.To}, true
		}
	}
	return Span{}, false
}

// size is how much a network is to ask for now; 0 leaves it to others.
func (p *Plan) size(now time.Duration, number int) int64 {
	n := p.networks[number]
	rate := n.rate(now, n.latency)
	sum := p.rate(now)
	if rate == 0 {
		return firstPiece
	}
	most := pieceTime
	if p.window > 0 {
		// Two ranges on each network, of which one has come by half: the window has
		// room for twice that.
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
	// The end is near. What is left is for whom it takes the least time.
	own := p.until(now, number, min(minPiece, float64(p.todo.bytes())))
	for i, other := range p.networks {
		if i != number && p.usable(now, other) && other.rate(now, other.latency) > 0 && p.until(now, i, float64(p.todo.bytes())) < own {
			return 0
		}
	}
	return max(int64(min(size, left)), minPiece)
}

// until is how long a network takes for all it was asked for and so much more.
func (p *Plan) until(now time.Duration, number int, more float64) time.Duration {
	n := p.networks[number]
	return n.latency + seconds((p.underWay(number)+more)/n.rate(now, n.latency))
}

func (p *Plan) usable(now time.Duration, n *network) bool {
	return !n.gone && n.limit != 0 && n.failures == 0 && now >= n.notBefore
}

// underWay is how many bytes a network was asked for that have not come.
func (p *Plan) underWay(number int) (bytes float64) {
	for _, w := range p.works {
		if w.Network == number && !w.stopped {
			bytes += float64(w.rest().Len())
		}
	}
	return bytes
}

// rate is what all networks bring together.
func (p *Plan) rate(now time.Duration) (sum float64) {
	for _, n := range p.networks {
		if p.usable(now, n) {
			sum += n.rate(now, n.latency)
		}
	}
	return max(sum, 1)
}

// help is a range that another network was asked for, and that this one is expected
// to have sooner.
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

// comes tells whether an open response of a network brings s sooner than another request.
func (p *Plan) comes(now time.Duration, number int, s Span) bool {
	n := p.networks[number]
	rate := max(1, n.rate(now, n.latency))
	return slices.ContainsFunc(p.works, func(w *work) bool {
		return w.open && !w.stopped && w.Network == number && !p.stalled(now, w) && w.pos <= s.From &&
			seconds(float64(s.To-w.pos)/rate) < 2*n.latency+seconds(float64(s.Len())/rate)
	})
}

// share is how much of the end of own a network of that rate is to ask for, so that it
// and the one that w is under way on finish at the same time, and how much sooner
// that is.
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

// alone is the last stretch of w that has not come and that nobody else was asked
// for, but for what is not counted on.
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

// stalled tells that a request brings nothing.
func (p *Plan) stalled(now time.Duration, w *work) bool {
	wait := minStall
	if n := p.networks[w.Network]; !w.begun && n.latency == 0 {
		wait = 3 * minStall // connecting takes several round trips, and nothing is known of them
	} else {
		wait = max(wait, stallFactor*n.latency)
	}
	return now-w.last > wait
}

// giveUp stops requests that have stalled for long, if another network works.
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

// Stops returns the requests whose responses are not needed any more, each once. The
// caller ends them, and calls Ended.
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

// Verdict is what is to be done with a response.
type Verdict int

// The verdicts.
const (
	Read Verdict = iota // read on
	Wait                // ask again later: the reader has not taken enough
	Stop                // its end is reached, or it is not needed any more
)

// Room tells how many bytes of a response may be read now.
func (p *Plan) Room(now time.Duration, id int) (bytes int64, do Verdict) {
	w := p.work(id)
	if w == nil || w.stopped || p.Done() {
		return 0, Stop
	}
	if left := w.rest().Len(); left > 0 {
		return left, Read
	}
	if !w.open || w.To == p.all.To {
		return 0, Stop
	}
	// An open response goes on as long as nobody else was asked for what follows,
	// or nobody else has shown that it can be. A short stretch of others is read again:
	// another request would take longer.
	next := Span{w.To, w.To}
	if len(p.todo) > 0 && p.proved {
		if next.From = max(w.To, p.todo.next(w.To)); next.From > w.To && p.again(now, w, next.From) {
			return 0, Stop
		}
	}
	next.To = min(p.all.To, next.From+max(minPiece, p.size(now, w.Network)))
	if end, ok := p.todo.at(next.From); ok {
		next.To = min(next.To, end)
	} else if p.proved && !p.sooner(now, w) {
		if n := p.networks[w.Network]; n.active == 1 {
			n.idle(now, n.latency) // that it waits says nothing about its rate
		}
		return 0, Wait // it is kept: others may become slow yet
	}
	if p.window > 0 {
		next.To = min(next.To, p.taken+p.window)
	}
	if next.Len() <= 0 {
		return 0, Wait
	}
	p.todo.remove(next)
	w.To = next.To
	return w.rest().Len(), Read
}

// again tells whether another request brings what begins at from sooner than a response
// that goes on until there, or saves many bytes that were there before the download.
func (p *Plan) again(now time.Duration, w *work, from int64) bool {
	if p.given.within(Span{w.To, from}).bytes() > firstPiece {
		return true
	}
	n := p.networks[w.Network]
	return seconds(float64(from-w.To)*float64(n.active)/max(1, n.rate(now, n.latency))) > reopen*n.latency
}

// sooner tells whether a response that goes on brings what others were asked for sooner
// than they do.
func (p *Plan) sooner(now time.Duration, w *work) bool {
	var end, own time.Duration
	n := p.networks[w.Network]
	for _, o := range p.works {
		if o != w && !o.stopped && o.To > w.To {
			end = max(end, p.rest(now, o), p.alike(now, o))
			own = max(own, seconds(float64(o.To-w.To)*float64(n.active)/max(1, n.rate(now, n.latency))))
		}
	}
	return own+minGain < end
}

// alike is how long a request goes on if it brings as much as so far.
func (p *Plan) alike(now time.Duration, w *work) time.Duration {
	if !w.begun {
		n := p.networks[w.Network]
		return max(0, w.asked+n.latency-now) + p.rest(now, w)
	}
	return seconds(float64(w.rest().Len()) * (now - w.first).Seconds() / float64(max(1, w.pos-w.From)))
}

// Arrived counts bytes of a response. The new ones among them are those of the spans.
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

// spare stops the requests of which all is there, or will be by others' sooner.
func (p *Plan) spare(now time.Duration) {
	for _, w := range p.works {
		rest := w.rest()
		if w.stopped || rest.Len() == 0 {
			continue
		}
		missing := p.have.without(rest)
		if len(missing) == 0 {
			if !w.open { // which may go on to what others were asked for
				p.stop(w)
			}
			continue
		}
		// What comes next is there already: it is read only in case that the other one,
		// which brings the rest, dies, or is slower.
		if end, there := p.have.at(w.pos); there && slices.ContainsFunc(p.works, func(o *work) bool {
			return o != w && !o.stopped && !p.stalled(now, o) && o.pos == end && o.To >= w.To && p.rest(now, o) <= p.rest(now, w)
		}) {
			p.stop(w)
		}
	}
}

// Retire has a network asked no more. What is under way on it goes on.
func (p *Plan) Retire(network int) { p.networks[network].gone = true }

// rest is how long a request goes on at the rate of its network.
func (p *Plan) rest(now time.Duration, w *work) time.Duration {
	n := p.networks[w.Network]
	t := seconds(float64(w.rest().Len()) * float64(max(1, n.active)) / max(n.rate(now, n.latency), 1))
	if w.begun && w.rest().Len() > 0 {
		t = max(t, now-w.last-n.latency) // what has been silent for long will be silent for long
	}
	return t
}

// Outcome is how a request ended.
type Outcome int

// The outcomes.
const (
	Complete Outcome = iota // all that was asked for has come, or it was stopped
	Failed                  // it broke, or could not be made
	Odd                     // the answer does not fit the download: its network is not asked again
)

// Ended notes the end of a request. What has not come is handed out again.
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

// Order lists the networks by what they bring, the best first, so that the best is
// asked first what it wants.
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
