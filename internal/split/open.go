package split

import (
	"slices"
	"time"
)

// Verdict says what to do with a response.
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
	// An open response continues if nobody else was asked for what follows, or if no
	// other network has shown that it works. It also reads a short stretch of others'
	// bytes again, because another request would take longer.
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
			n.idle(now, n.latency) // the wait says nothing about the network's rate
		}
		return 0, Wait // it is kept, because other networks may become slow
	}
	n := p.networks[w.Network]
	if n.limit >= 0 { // bytes that come again count, too
		if next.To = min(next.To, w.To+n.limit); next.Len() <= 0 {
			return 0, Stop
		}
	}
	if p.window > 0 {
		next.To = min(next.To, p.taken+p.window)
	}
	if next.Len() <= 0 {
		return 0, Wait
	}
	p.todo.remove(next)
	if n.limit > 0 {
		n.limit -= next.To - w.To
	}
	w.To = next.To
	return w.rest().Len(), Read
}

// again tells whether to end a response that has come to bytes which are there already.
// That is so if a new request brings the bytes from from on sooner, or if many bytes
// are saved that were there before the download.
func (p *Plan) again(now time.Duration, w *work, from int64) bool {
	if p.given.within(Span{w.To, from}).bytes() > firstPiece {
		return true
	}
	n := p.networks[w.Network]
	return seconds(float64(from-w.To)*float64(n.active)/max(1, n.rate(now, n.latency))) > reopen*n.latency
}

// sooner tells whether a response that continues brings the bytes that others were
// asked for sooner than they do.
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

// alike returns how long a request needs if it continues at its present rate.
func (p *Plan) alike(now time.Duration, w *work) time.Duration {
	if !w.begun {
		n := p.networks[w.Network]
		return max(0, w.asked+n.latency-now) + p.rest(now, w)
	}
	return seconds(float64(w.rest().Len()) * (now - w.first).Seconds() / float64(max(1, w.pos-w.From)))
}

// opened tells whether an open response is running.
func (p *Plan) opened(now time.Duration) bool {
	return slices.ContainsFunc(p.works, func(w *work) bool { return w.open && !w.stopped && !p.stalled(now, w) })
}

// back returns the last range of that size that the window has room for.
func (p *Plan) back(size int64) (Span, bool) {
	bound := p.all
	if p.window > 0 {
		bound.To = min(bound.To, p.taken+p.window)
	}
	for _, part := range slices.Backward(p.todo) {
		part = part.overlap(bound)
		if part.Len() < size && part.To == bound.To && bound.To < p.all.To {
			continue // later there will be room for a longer part
		}
		if part.Len() > 0 {
			return Span{max(part.From, part.To-size), part.To}, true
		}
	}
	return Span{}, false
}

// comes tells whether an open response of a network brings s sooner than another
// request would.
func (p *Plan) comes(now time.Duration, number int, s Span) bool {
	n := p.networks[number]
	rate := max(1, n.rate(now, n.latency))
	return slices.ContainsFunc(p.works, func(w *work) bool {
		return w.open && !w.stopped && w.Network == number && !p.stalled(now, w) && w.pos <= s.From &&
			seconds(float64(s.To-w.pos)/rate) < 2*n.latency+seconds(float64(s.Len())/rate)
	})
}
