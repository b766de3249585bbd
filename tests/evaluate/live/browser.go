package live

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/socket-intents/mamma/client/intent"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// The limits of browsers.
const (
	maxPerHost = 6
	maxConns   = 17
)

// PageJob asks for a page to be loaded.
type PageJob struct {
	Way    Way
	Server Server
	Page   workload.Page
}

// Loaded is what came of a page.
type Loaded struct {
	Seconds float64
	Objects []Object
	// DecisionMicros is the mean time of a decision, as the program sees it; 0 if
	// none were made.
	DecisionMicros float64
}

// Object is how an object of a page was loaded. Times are in seconds since the
// page began.
type Object struct {
	Size   int64
	Start  float64
	End    float64
	Net    int // index of the network; with MPTCP that of the first subflow
	Reused bool
}

// browser loads a page: six connections to a host, seventeen in all, kept open
// until the page is complete; an object starts when what it depends on has come.
type browser struct {
	job     PageJob
	tls     *tls.Config // nil: none
	chooser *chooser
	begun   time.Time
	conns   []*tab
	waiting []int
	events  chan event
	result  Loaded
	took    time.Duration // of all decisions
	decided int
	running int // objects that are being loaded
}

// tab is a connection, or one that is being made.
type tab struct {
	link *link
	host int
	idle bool
	last time.Time
}

// event is the end of an object.
type event struct {
	object int
	tab    *tab
	err    error
}

// LoadPage loads a page.
func LoadPage(ctx context.Context, job PageJob) (Loaded, error) {
	config, err := job.Server.config()
	if err != nil {
		return Loaded{}, err
	}
	b := &browser{job: job, tls: config, chooser: newChooser(job.Way), begun: time.Now(), events: make(chan event, maxConns)}
	b.result.Objects = make([]Object, len(job.Page.Objects))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer func() {
		cancel()
		b.close()
	}()
	b.release(workload.None)
	for left := len(job.Page.Objects); left > 0; left-- {
		if err := b.pump(ctx); err != nil {
			return b.result, err
		}
		e := <-b.events
		b.running--
		if e.err != nil {
			return b.result, fmt.Errorf("object %d of %s by %s: %w", e.object, job.Page.Name, job.Way.Name, e.err)
		}
		now := time.Now()
		o := &b.result.Objects[e.object]
		o.End, o.Net = now.Sub(b.begun).Seconds(), b.chooser.network(e.tab.link)
		e.tab.idle, e.tab.last = true, now
		b.release(e.object)
	}
	b.result.Seconds = time.Since(b.begun).Seconds()
	if b.decided > 0 {
		b.result.DecisionMicros = float64(b.took.Microseconds()) / float64(b.decided)
	}
	return b.result, nil
}

// close ends what is left once the context is done.
func (b *browser) close() {
	for ; b.running > 0; b.running-- {
		<-b.events
	}
	for _, t := range b.conns {
		if t.link != nil {
			_ = t.link.Close()
		}
	}
	b.chooser.close()
}

// release notes the objects that waited for one.
func (b *browser) release(object int) {
	for i, o := range b.job.Page.Objects {
		if o.After == object {
			b.waiting = append(b.waiting, i)
		}
	}
}

// pump starts what may start, in order.
func (b *browser) pump(ctx context.Context) error {
	for k := 0; k < len(b.waiting); {
		started, err := b.start(ctx, b.waiting[k])
		if err != nil {
			return err
		}
		if !started {
			k++
			continue
		}
		b.waiting = slices.Delete(b.waiting, k, k+1)
	}
	return nil
}

func (b *browser) start(ctx context.Context, object int) (bool, error) {
	o := b.job.Page.Objects[object]
	var idle []*tab
	var links []net.Conn
	var spare *tab // of another host, idle longest
	open := 0
	for _, t := range b.conns {
		switch {
		case t.host == o.Host && t.idle:
			idle, links = append(idle, t), append(links, t.link.Conn)
			open++
		case t.host == o.Host:
			open++
		case t.idle && (spare == nil || t.last.Before(spare.last)):
			spare = t
		}
	}
	room := open < maxPerHost && (len(b.conns) < maxConns || spare != nil)
	if len(idle) == 0 && !room {
		return false, nil
	}
	c, err := b.chooser.choose(ctx, b.job.Server.Address, intent.Set{}.WithFileSize(o.Size), links)
	if err != nil {
		return false, err
	}
	if c.took > 0 {
		b.took += c.took
		b.decided++
	}
	b.running++
	shown := &b.result.Objects[object]
	shown.Size, shown.Start = o.Size, time.Since(b.begun).Seconds()
	if i := slices.Index(links, c.existing); c.existing != nil && i >= 0 {
		idle[i].idle, shown.Reused = false, true
		go b.fetch(ctx, object, idle[i], nil)
		return true, nil
	}
	if !room {
		spare = slices.MinFunc(idle, func(x, y *tab) int { return x.last.Compare(y.last) })
	}
	if !room || len(b.conns) >= maxConns {
		_ = spare.link.Close()
		b.conns = slices.DeleteFunc(b.conns, func(t *tab) bool { return t == spare })
	}
	t := &tab{host: o.Host}
	b.conns = append(b.conns, t)
	go b.fetch(ctx, object, t, c.dial)
	return true, nil
}

// fetch loads an object. The tab is its own until the event.
func (b *browser) fetch(ctx context.Context, object int, t *tab, dial func(context.Context) (net.Conn, error)) {
	err := error(nil)
	if dial != nil {
		var conn net.Conn
		if conn, err = dial(ctx); err == nil && b.tls != nil {
			t.link, err = secure(ctx, conn, b.tls)
		} else if err == nil {
			t.link = newLink(conn)
		}
	}
	if err == nil {
		err = t.link.get(ctx, b.job.Page.Objects[object].Size, nil)
	}
	b.events <- event{object, t, err}
}
