package mam

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

const (
	// rankEvery is how often the policy is asked whether another network has become
	// better for the clients that wait for that. The policy is not asked at each new
	// measurement.
	rankEvery = time.Second
	// leastWait bounds how often a client has figures: they are measured no more often.
	leastWait = 100 * time.Millisecond
)

// stateChanges tells those who wait that the networks may be in another state.
type stateChanges struct {
	seed    maphash.Seed  // of generations, which those of another run differ from
	ranking chan struct{} // has a token while a fresh policy is asked

	mu      sync.Mutex
	waiting int
	last    uint64        // generation of the latest View, where somebody waited for it
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// enter counts somebody who is going to wait, and leave counts them off again.
func (c *stateChanges) enter() { c.count(1) }
func (c *stateChanges) leave() { c.count(-1) }

func (c *stateChanges) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting += n
}

// next is closed when a View is published that may differ from what there was before the
// call.
func (c *stateChanges) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// published looks at what v changes, if somebody waits for a change.
func (c *stateChanges) published(v *View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		return
	}
	list := make([]wire.Network, len(v.Prefixes))
	for i, p := range v.Prefixes {
		list[i] = v.network(p, 0, false, v.Time)
	}
	g := c.generation(list) + c.avoidance(v.Avoid)
	if g == c.last {
		return
	}
	c.last = g
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// watch is a request for the networks that is not answered yet.
type watch struct {
	m     *Manager
	app   policy.App
	msg   wire.Message // the request
	began time.Time

	answer func(*listing)
	over   chan bool     // true: to be answered at once, false: not to be answered
	done   chan struct{} // closed when nothing more is done
}

// networks answers a request for the networks as soon as what the client knows of them is
// no longer true, which may be now. Until then the connection is read, to notice its end.
func (c *conn) networks(now time.Time) (goOn bool) {
	msg := &c.msg
	if len(msg.Context.Hostname) > maxName || len(msg.Context.Service) > maxName {
		msg.Action = wire.ActionErrorUnknownRequest
		return c.send()
	}
	w := &watch{m: c.m, app: c.app, began: now, over: make(chan bool, 1), done: make(chan struct{})}
	w.msg = wire.Message{
		HasAction: true, Context: msg.Context.Clone(), Features: msg.Features, Selection: slices.Clone(msg.Selection), WideIntents: slices.Clone(msg.WideIntents),
	}
	if msg.Watch != nil {
		w.msg.Watch = msg.Watch
	} else {
		w.msg.Watch = &wire.Watch{}
	}
	w.answer = func(l *listing) { c.tellNetworks(&w.msg, l) }
	c.watch = w
	go w.run()
	return true
}

// unwatch ends a request that waits. With answer set, a further request has come, and
// this one is answered before it. Otherwise the connection has ended.
func (c *conn) unwatch(answer bool) {
	if c.watch == nil {
		return
	}
	c.watch.over <- answer
	<-c.watch.done
	c.watch = nil
}

// run answers when there is something to tell.
func (w *watch) run() {
	defer close(w.done)
	w.m.changes.enter()
	defer w.m.changes.leave()
	again := time.NewTicker(rankEvery)
	defer again.Stop()
	var late <-chan time.Time
	if ms := w.msg.Watch.Milliseconds; ms > 0 {
		t := time.NewTimer(time.Until(w.began.Add(max(leastWait, milliseconds(ms)))))
		defer t.Stop()
		late = t.C
	}
	enough := false
	for {
		changed := w.m.changes.next()
		l := w.m.list(&w.msg, w.app, time.Now())
		if enough || l.generation != w.msg.Watch.Generation {
			w.answer(&l)
			return
		}
		select {
		case <-changed:
		case <-again.C:
		case <-late:
			enough = true
		case enough = <-w.over:
			if !enough {
				return
			}
		}
	}
}

// tellNetworks writes the answer to a request for the networks. If that cannot be done the
// connection is closed, which the goroutine that reads from it finds.
func (c *conn) tellNetworks(asked *wire.Message, l *listing) {
	ans := wire.Message{
		Action: wire.ActionNetworksResponse, Context: asked.Context, Features: c.m.features(),
		Watch: &wire.Watch{Generation: l.generation, Total: uint32(len(l.networks))}, Networks: l.networks,
	}
	ans.Context.ID = c.id
	b, _, err := ans.AppendFit(nil)
	if err == nil {
		c.trace("answer", &ans, nil)
		err = c.write(b)
	}
	if err != nil {
		c.m.log.Debug("networks not told", "pid", c.app.PID, "err", err)
		_ = c.nc.Close()
	}
}
