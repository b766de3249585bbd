package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// ErrForeign is what a Host finds where others behind the same link are to load: only
// the host itself is at an emulated one.
var ErrForeign = errors.New("what other hosts load is not emulated")

// The warm-up of a Host, and when a page that does not load is given up, as with a
// simulated one.
const (
	warmup      = 10 * time.Second
	warmupPause = 2 * time.Second
	giveUp      = 10 * time.Minute
)

// Host is a host over emulated links that is told what to do as a simulated one is. The
// first error ends what it does, and Err returns it.
type Host struct {
	ctx    context.Context
	cancel context.CancelFunc
	rig    *Rig
	way    Way
	paths  []simulate.Path
	tell   func(size int64) intent.Set
	keep   bool
	others sync.WaitGroup

	mu  sync.Mutex
	err error
}

// NewHost makes a host whose programs ask a daemon, by the given program, with that
// policy; or, if there is no policy, load over that network alone, the first is 0. A
// policy's daemon has seen nothing but the warm-up. Files are put below dir.
func NewHost(ctx context.Context, program, dir string, c simulate.Config, policy string, network int) (_ *Host, err error) {
	h := &Host{paths: c.Paths, tell: c.Tell, keep: c.Keep}
	if h.tell == nil {
		h.tell = func(size int64) intent.Set { return intent.Set{}.WithFileSize(size) }
	}
	if len(c.Others) > 0 {
		return nil, errors.New("traffic from the start is not emulated")
	}
	var list []Path
	for _, p := range c.Paths {
		if p.Behind > 0 {
			return nil, errors.New("links that are shared are not emulated")
		}
		list = append(list, Path{p.Mbps, p.RTT, p.Queue, p.Loss})
	}
	var policies []Policy
	if policy != "" {
		policies = []Policy{{Name: policy, Policy: policy}}
	}
	if h.rig, err = NewRig(ctx, program, dir, list, policies); err != nil {
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	h.way = h.rig.One(network)
	if policy != "" {
		h.way = h.rig.Asked(policy, Asked)
	}
	if !c.Cold {
		h.warmUp()
	}
	return h, nil
}

// warmUp loads each path for a while, one after the other.
func (h *Host) warmUp() {
	for i := range h.paths {
		if h.Err() != nil {
			return
		}
		var bytes int64
		h.fail(h.rig.Actor.Do("warm", WarmJob{h.rig.One(i), h.rig.Server.Address, warmup.Seconds()}, &bytes))
		h.Idle(warmupPause)
	}
}

// Close ends everything.
func (h *Host) Close() error {
	h.cancel()
	h.others.Wait()
	return h.rig.Close()
}

// Err returns the first error.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		return h.ctx.Err()
	}
	return h.err
}

func (h *Host) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
}

// Set changes a path. Its round-trip time stays.
func (h *Host) Set(path int, p simulate.Path) {
	h.fail(h.rig.Set(path, Path{p.Mbps, h.paths[path].RTT, p.Queue, p.Loss}))
}

// Follow gives a path the rates of a trace in Mbit/s, each for a second, from now on
// and again from its beginning.
func (h *Host) Follow(path int, p simulate.Path, trace []float64) {
	h.others.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := 0; ; i++ {
			p.Mbps = max(trace[i%len(trace)], 1e-3)
			h.Set(path, p)
			select {
			case <-tick.C:
			case <-h.ctx.Done():
				return
			}
		}
	})
}

// Idle lets time pass.
func (h *Host) Idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.ctx.Done():
	}
}

// Start has other programs of the host load, and returns what ends that.
func (h *Host) Start(t simulate.Traffic) (stop func()) {
	if !t.Own || t.Mbps > 0 {
		h.fail(ErrForeign)
		return func() {}
	}
	ctx, cancel := context.WithCancel(h.ctx)
	for range t.Flows {
		h.others.Go(func() {
			timer := time.NewTimer(t.After)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			if err := h.loadForEver(ctx, t.Path); err != nil && ctx.Err() == nil {
				h.fail(err)
			}
		})
	}
	return cancel
}

// loadForEver loads over a path until ctx is done.
func (h *Host) loadForEver(ctx context.Context, path int) error {
	d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.way.Locals[path], 0))}
	conn, err := h.rig.bed.Client.Dial(ctx, d, "tcp", h.rig.Server.Address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET /bytes/%d HTTP/1.1\r\nHost: server\r\n\r\n", int64(1)<<40); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

// Load loads a page and returns how long that took.
func (h *Host) Load(p *workload.Page) time.Duration {
	if h.Err() != nil {
		return 0
	}
	job := PageJob{Way: h.way, Server: h.rig.Server, Page: *p, Keep: h.keep, Patience: giveUp.Seconds()}
	for _, o := range p.Objects {
		job.Intents = append(job.Intents, h.tell(o.Size))
	}
	var got Loaded
	h.fail(h.rig.Actor.Do("page", job, &got))
	return seconds(got.Seconds)
}

// Fetch loads a single file on a new connection.
func (h *Host) Fetch(size int64) time.Duration {
	return h.Load(&workload.Page{Name: fmt.Sprintf("%d bytes", size), Objects: []workload.Object{{Size: size, After: workload.None}}})
}
