package client

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/client/internal/lateness"
)

// maxAnswers bounds the destinations of which a Pool knows how long answers take.
const maxAnswers = 256

// Ask gets a connection as Get does, and calls ask with it. The function ask must send a
// request, and return nil when its answer begins. If that is far later than was to be
// expected, Ask makes a connection over another network, and calls ask with that one, too.
// The first connection for which ask returns nil is returned, and the other one is closed.
// This helps if a network becomes much worse after the decision, or if a single connection
// loses packets. Conn.Value can hold what ask has read of the answer.
//
// The expected time comes from earlier Asks of the same set. It is the mean time until ask
// returned nil, plus four times the mean deviation (as in RFC 6298 for a packet), but at
// least HedgeLeast. It is 3 s for a set that is not known yet.
//
// A second connection is made only if the manager knows another network for it, and says
// that this one costs nothing and has no limit. HedgeShare must allow it, and it must have
// room in the Pool's limits. So use Ask only for requests that may come to the server twice
// (RFC 9110 section 9.2.2 calls them idempotent).
//
// If ask returns an error, its connection is closed. If no connection gets an answer, Ask
// returns the error of the first one. The context of ask ends when Ask returns. A call of ask
// whose connection is closed may return later than Ask, so the calls must not write to the
// same variable.
func (p *Pool) Ask(ctx context.Context, network, address string, ask func(ctx context.Context, c *Conn) error) (*Conn, error) {
	first, err := p.Get(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.hedged.Ask()
	used := first.info // first may be used again while a second connection is still being made
	ctx, cancel := context.WithCancel(ctx)
	a := &asking{ask: ask, first: first, answers: make(chan answered, 2)}
	defer a.end(cancel)
	begun := time.Now()
	a.begin(ctx, first)
	timer := time.NewTimer(p.answerPatience(first.key))
	defer timer.Stop()
	var second chan *Conn // while a second connection is being made
	for {
		select {
		case <-timer.C:
			second = make(chan *Conn)
			go p.second(ctx, network, address, &used, second)
		case c := <-second:
			if second = nil; c != nil {
				a.begin(ctx, c)
			}
		case got := <-a.answers:
			if a.take(got) {
				p.answered(first.key, time.Since(begun))
				return got.conn, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if len(a.running) == 0 && second == nil {
			return nil, a.err
		}
	}
}

// asking is an Ask under way.
type asking struct {
	ask     func(context.Context, *Conn) error
	first   *Conn
	answers chan answered // has room for all, because nobody may be left to read them
	running []*Conn
	err     error // that of the first connection, if it has failed
}

// answered is what came of a call of ask.
type answered struct {
	conn *Conn
	err  error
}

// begin calls ask for c, in a goroutine.
func (a *asking) begin(ctx context.Context, c *Conn) {
	a.running = append(a.running, c)
	go func() { a.answers <- answered{c, a.ask(ctx, c)} }()
}

// take processes what came of a call, and tells whether that is the answer.
func (a *asking) take(got answered) bool {
	a.running = slices.DeleteFunc(a.running, func(c *Conn) bool { return c == got.conn })
	if got.err == nil {
		return true
	}
	_ = got.conn.Close()
	if a.err == nil || got.conn == a.first {
		a.err = got.err
	}
	return false
}

// end closes the connections whose answers nobody waits for any more.
func (a *asking) end(cancel context.CancelFunc) {
	cancel()
	for _, c := range a.running {
		_ = c.Close()
	}
}

// second hands over a connection of elsewhere, or nil if there is none.
func (p *Pool) second(ctx context.Context, network, address string, used *Info, to chan<- *Conn) {
	other := p.elsewhere(ctx, network, address, used)
	select {
	case to <- other:
	case <-ctx.Done():
		if other != nil {
			_ = other.Close()
		}
	}
}

// elsewhere makes a connection over another network than that of the connection with the
// Info used. It returns nil if none may be made.
func (p *Pool) elsewhere(ctx context.Context, network, address string, used *Info) *Conn {
	w, err := p.newPlace(ctx, network, address, false)
	if err != nil || !p.enterAtOnce(w) || p.wait(ctx, w) != nil {
		return nil
	}
	s := p.fillElsewhere(ctx, w, used)
	if s == nil {
		p.leave(w)
	}
	return s
}

// enterAtOnce takes a place if one is free, and tells whether it was.
func (p *Pool) enterAtOnce(w *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fitsLocked(w) {
		return false
	}
	p.letInLocked(w)
	return true
}

// fillElsewhere makes the connection of elsewhere.
func (p *Pool) fillElsewhere(ctx context.Context, w *place, used *Info) *Conn {
	begun := time.Now()
	d := p.dialer()
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	pl, err := d.daemon().decide(ctx, w.target, false, nil)
	if err != nil {
		return nil
	}
	other := pl.besides(used)
	if other == nil || !p.hedged.Spend(cmp.Or(p.HedgeShare, lateness.DefaultShare)) {
		return nil
	}
	p.makeRoom(ctx, w)
	conn, err := d.dialPlan(ctx, other, begun)
	if err != nil {
		return nil
	}
	s := p.add(w, pl.linkID, conn)
	p.begin(s, other, begun)
	return s
}

// besides returns a plan that takes the best network that the connection of info does not
// use, of those that cost nothing and have no limit; nil if there is none. Multipath TCP uses
// all networks already.
func (p *plan) besides(info *Info) *plan {
	if info.Multipath && !info.PlainTCP {
		return nil
	}
	used := p.target.networkOf(&candidate{local: info.Local.Addr().Unmap(), device: info.Device})
	for _, c := range p.candidates {
		named := c.local.IsValid() || c.device != ""
		if named && c.priced && c.cost == CostFree && !c.limited && p.target.networkOf(c) != used {
			return p.with(c)
		}
	}
	return nil
}

// networkOf names the network of a candidate: its interface, because the IPv4 and the IPv6
// prefix of an interface share one network. On loopback it is the address, because addresses
// stand for networks there.
func (t *target) networkOf(c *candidate) string {
	if name := t.siteOf(c, netip.Addr{}).device; name != "" && !c.local.IsLoopback() {
		return name
	}
	return c.local.String()
}

// answerPatience returns how long to wait for an answer before asking a second time.
func (p *Pool) answerPatience(key setKey) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := cmp.Or(p.HedgeLeast, lateness.DefaultLeast)
	if a := p.answers[key]; a != nil {
		if d, ok := a.Patience(); ok {
			return max(d, least)
		}
	}
	return max(lateness.DefaultPatience, least)
}

// answered notes how long an answer took.
func (p *Pool) answered(key setKey, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.answers[key]
	if a == nil {
		if p.answers == nil {
			p.answers = map[setKey]*lateness.Answers{}
		}
		for old := range p.answers {
			if len(p.answers) < maxAnswers {
				break
			}
			delete(p.answers, old)
		}
		a = &lateness.Answers{}
		p.answers[key] = a
	}
	a.Took(took)
}
