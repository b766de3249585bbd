package live

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/socket-intents/mamma/intent"
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
	// Intents are those of each object, by its number; none: its size.
	Intents []intent.Set
	// Patience is how many seconds it may take; 0: 90.
	Patience float64
	// Keep leaves the connections open for the way's next page.
	Keep bool
}

// keeper has what the ways keep open from one page to the next. An actor does one job
// after the other.
type keeper map[string]*opener

// opener returns what a page is loaded by, and what is to be called at its end.
func (k keeper) opener(job *PageJob) (o *opener, end func()) {
	if !job.Keep {
		o = newOpener(job.Way, maxPerHost, maxConns)
		return o, o.close
	}
	if o = k[job.Way.Name]; o == nil {
		o = newOpener(job.Way, maxPerHost, maxConns)
		k[job.Way.Name] = o
	}
	return o, func() {}
}

// Loaded is what came of a page.
type Loaded struct {
	Seconds float64
	Objects []Object
	// DecisionMicros is the mean time of the decisions to use a connection again,
	// as the program sees it; 0 if there were none.
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
	opener  *opener
	begun   time.Time
	events  chan event
	result  Loaded
	took    time.Duration // of all decisions that were to use a connection again
	decided int           // their number
	running int           // objects that are being loaded, or wait for a connection
}

// event is the end of an object.
type event struct {
	object int
	loaded Object
	took   time.Duration // of a decision to use a connection again; 0: none
	err    error
}

// loadPage loads a page.
func (k keeper) loadPage(ctx context.Context, job PageJob) (Loaded, error) {
	config, err := job.Server.config()
	if err != nil {
		return Loaded{}, err
	}
	o, end := k.opener(&job)
	b := &browser{job: job, tls: config, opener: o, begun: time.Now(), events: make(chan event)}
	b.result.Objects = make([]Object, len(job.Page.Objects))
	wait := patience
	if job.Patience > 0 {
		wait = seconds(job.Patience)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer func() {
		cancel()
		for ; b.running > 0; b.running-- {
			<-b.events
		}
		end()
	}()
	if err := b.load(ctx); err != nil {
		return b.result, err
	}
	b.result.Seconds = time.Since(b.begun).Seconds()
	if b.decided > 0 {
		b.result.DecisionMicros = float64(b.took.Microseconds()) / float64(b.decided)
	}
	return b.result, nil
}

func (b *browser) load(ctx context.Context) error {
	if err := b.startAfter(ctx, workload.None); err != nil {
		return err
	}
	for range b.job.Page.Objects {
		e := <-b.events
		b.running--
		if e.err != nil {
			return fmt.Errorf("object %d of %s by %s: %w", e.object, b.job.Page.Name, b.job.Way.Name, e.err)
		}
		b.result.Objects[e.object] = e.loaded
		if e.took > 0 {
			b.took += e.took
			b.decided++
		}
		if err := b.startAfter(ctx, e.object); err != nil {
			return err
		}
	}
	return nil
}

// startAfter starts the objects that waited for one, in order.
func (b *browser) startAfter(ctx context.Context, object int) error {
	for i, o := range b.job.Page.Objects {
		if o.After != object {
			continue
		}
		address, err := b.job.Server.host(o.Host)
		if err != nil {
			return err
		}
		intents := intent.Set{}.WithFileSize(o.Size)
		if i < len(b.job.Intents) {
			intents = b.job.Intents[i]
		}
		open := b.opener.start(ctx, address, intents)
		b.running++
		go func() { b.events <- b.fetch(ctx, i, open) }()
	}
	return nil
}

// fetch loads an object over the connection that open gives.
func (b *browser) fetch(ctx context.Context, object int, open func() (*link, error)) event {
	e := event{object: object}
	l, err := open()
	if err != nil {
		e.err = err
		return e
	}
	size := b.job.Page.Objects[object].Size
	e.loaded = Object{Size: size, Start: (time.Since(b.begun) - l.took).Seconds(), Net: b.opener.network(l), Reused: l.reused}
	if l.reused && l.decided {
		e.took = l.took
	}
	if b.tls != nil && !l.reused {
		err = l.secure(ctx, b.tls)
	}
	if err == nil {
		err = l.get(ctx, size, nil)
	}
	e.loaded.End = time.Since(b.begun).Seconds()
	if err != nil {
		_ = l.Close()
		e.err = err
		return e
	}
	e.err = l.release()
	return e
}
