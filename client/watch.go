package client

import (
	"context"
	"iter"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// A manager that is gone is looked for soon, as a restart is over soon, and then less
	// and less often.
	firstLook = 50 * time.Millisecond
	rareLook  = 5 * time.Second
	// Networks may stay as they are for as long as they like.
	forEver = 100 * 365 * 24 * time.Hour
)

// Watch yields the networks now and each time that they have changed, as Networks returns
// them: when one appears or goes, fails or recovers, becomes metered or free, has other
// addresses, or becomes better than another one for the intents. New figures alone are no
// reason. If every is above zero, the networks also come with new figures, at least that
// often; less than 100 ms counts as 100 ms.
//
// The loop's body may take its time. What comes next is then the latest state; states that
// have passed meanwhile are left out.
//
// Watch yields an error once when the manager is not there or goes away, and the networks
// again when it is back. It ends when ctx does. If network is not one that the manager
// decides about, it ends with an error at once.
func (d *Dialer) Watch(ctx context.Context, network string, every time.Duration) iter.Seq2[[]Network, error] {
	return d.watch(ctx, network, every, destination{})
}

// watch is Watch for connections to a destination: the networks come in the order for
// these.
func (d *Dialer) watch(ctx context.Context, network string, every time.Duration, to destination) iter.Seq2[[]Network, error] {
	return func(yield func([]Network, error) bool) {
		w, err := d.newWatcher(ctx, network, every)
		if err != nil {
			yield(nil, err)
			return
		}
		w.to = to
		defer w.close()
		pause := time.Duration(0) // > 0: the manager is not there
		for {
			list, err := w.next(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				pause = 0
				if !yield(list, nil) {
					return
				}
				continue
			case pause == 0:
				if !yield(nil, err) {
					return
				}
				pause = firstLook
			}
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, rareLook)
		}
	}
}

// Watch yields the host's networks with the zero Dialer, now and after each change; see
// Dialer.Watch.
func Watch(ctx context.Context) iter.Seq2[[]Network, error] {
	return func(yield func([]Network, error) bool) {
		var d Dialer
		defer func() { _ = d.Close() }()
		d.Watch(ctx, "tcp", 0)(yield)
	}
}

// sleep waits, and tells whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// next waits for networks other than those that are known. Where the manager has been
// restarted, or closed the connection, it is asked on another one.
func (w *watcher) next(ctx context.Context) ([]Network, error) {
	var err error
	for tries := 0; tries < 2; tries++ {
		reused := w.link != nil
		var list []Network
		if list, err = w.wait(ctx); err == nil || !reused || ctx.Err() != nil {
			return list, err
		}
	}
	return nil, err
}

func (w *watcher) wait(ctx context.Context) (list []Network, err error) {
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	deadline := time.Now().Add(forEver)
	if w.link == nil {
		if deadline, err = w.connect(ctx); err != nil {
			return nil, err
		}
	}
	var ans wire.Message
	if err := w.link.exchange(ctx, deadline, &ans, w.request(w.link.features)); err != nil {
		return nil, err
	}
	if list, err = networksIn(w.link.features, &ans); err == nil {
		w.known = ans.Watch.Generation
	}
	return list, err
}

// connect opens a connection to the manager for w alone. The first answer on it comes by
// the deadline.
func (w *watcher) connect(ctx context.Context) (deadline time.Time, err error) {
	d, start := w.daemon, time.Now()
	if err := d.mayAsk(start); err != nil {
		return start, err
	}
	limits := d.limits(ctx, question{intents: w.intents}, start)
	l, err := d.freshLink(ctx, limits)
	if err != nil {
		return start, d.failed(ctx, start, err)
	}
	if l.features&wire.FeatureNetworks == 0 {
		d.done(ctx, l, nil) // for others
		return start, errNoNetworks
	}
	w.link, w.known = l, 0
	return limits.soon, nil
}

func (w *watcher) close() {
	if w.link != nil {
		w.link.close()
	}
	w.link, w.known = nil, 0
}
