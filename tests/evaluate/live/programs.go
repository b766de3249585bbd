package live

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/socket-intents/mamma/client/intent"
	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// WarmJob asks for a transfer over one network for so long.
type WarmJob struct {
	Way     Way
	Server  string
	Seconds float64
}

// Warm loads as much as it can over one network, and returns the bytes.
func Warm(ctx context.Context, job WarmJob) (int64, error) {
	c := newChooser(job.Way)
	defer c.close()
	choice, err := c.choose(ctx, job.Server, intent.Set{}, nil)
	if err != nil {
		return 0, err
	}
	conn, err := choice.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(seconds(job.Seconds))); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET /bytes/%d HTTP/1.1\r\nHost: server\r\n\r\n", int64(1)<<40); err != nil {
		return 0, err
	}
	buf, sum := make([]byte, 64<<10), int64(0)
	for {
		n, err := conn.Read(buf)
		sum += int64(n)
		if err != nil { // the time is up
			return sum, nil
		}
	}
}

// MessagesJob asks for short queries at even intervals during a bulk transfer.
type MessagesJob struct {
	Way     Way
	Server  string
	Bulk    int64 // bytes
	Message int64 // bytes
	Every   float64
}

// Messages is what came of them.
type Messages struct {
	Latencies   []float64 // seconds, of each message on a connection of its own
	BulkSeconds float64
	BulkNet     int
	MessageNets []int // over which network each went
}

// RunMessages does a MessagesJob.
func RunMessages(ctx context.Context, job MessagesJob) (m Messages, err error) {
	c := newChooser(job.Way)
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// once asks for a connection; decisions are made one at a time.
	once := func(category intent.Category, size int64) (func() (int, error), error) {
		choice, err := c.choose(ctx, job.Server, intent.Set{}.WithCategory(category).WithFileSize(size), nil)
		if err != nil {
			return nil, err
		}
		return func() (int, error) {
			conn, err := choice.dial(ctx)
			if err != nil {
				return -1, err
			}
			defer func() { _ = conn.Close() }()
			return c.network(conn), newLink(conn).get(ctx, size)
		}, nil
	}
	bulk, err := once(intent.BulkTransfer, job.Bulk)
	if err != nil {
		return m, err
	}
	begun := time.Now()
	over := make(chan error, 1)
	go func() {
		net, err := bulk()
		m.BulkNet, m.BulkSeconds = net, time.Since(begun).Seconds()
		over <- err
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	tick := time.NewTicker(seconds(job.Every))
	defer tick.Stop()
	for {
		select {
		case err := <-over:
			wg.Wait()
			if err == nil {
				err = failed
			}
			return m, err
		case <-tick.C:
		}
		asked := time.Now()
		message, err := once(intent.Query, job.Message)
		if err != nil {
			return m, err
		}
		wg.Go(func() {
			net, err := message()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			m.Latencies = append(m.Latencies, time.Since(asked).Seconds())
			m.MessageNets = append(m.MessageNets, net)
		})
	}
}

// VideoJob asks for a film to be shown.
type VideoJob struct {
	Way       Way
	Server    string
	Video     workload.Video
	Algorithm string // of package player
}

// Watched is how a film was shown.
type Watched struct {
	Judgement player.Judgement
	Segments  []Segment
}

// Segment is how a segment came. Times are in seconds.
type Segment struct {
	At     float64 // when it was asked for, since the film began
	Took   float64
	Rung   int
	Buffer float64 // when it was asked for
	Stall  float64 // before it was shown
	Net    int
}

// Watch shows a film: one segment after the other as the buffer allows, and sound
// at even intervals beside them.
func Watch(ctx context.Context, job VideoJob) (w Watched, err error) {
	choose := player.Named(job.Algorithm)
	if choose == nil {
		return w, fmt.Errorf("no player %q", job.Algorithm)
	}
	ctx, cancel := context.WithTimeout(ctx, 4*job.Video.Length+time.Minute)
	f := &fetcher{chooser: newChooser(job.Way), server: job.Server}
	soundOver := make(chan struct{})
	defer func() {
		cancel()
		<-soundOver
		f.close()
	}()
	go f.sound(ctx, &job.Video, soundOver)

	v := &job.Video
	begun := time.Now()
	// The manifest.
	if _, err := f.get(ctx, 2000, intent.Set{}.WithCategory(intent.Query)); err != nil {
		return w, err
	}
	var shown []player.Shown
	var playedUntil time.Time // when the buffer runs dry
	for i := range v.Segments() {
		now := time.Now()
		buffer := max(0, playedUntil.Sub(now))
		if wait := buffer - (player.MaxBuffer - v.Segment); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return w, ctx.Err()
			}
			now = time.Now()
			buffer = playedUntil.Sub(now)
		}
		rung := choose(v, buffer)
		intents := intent.Set{}.WithCategory(intent.BulkTransfer).WithBitrateBitsPerSecond(v.Ladder[rung]).WithPlayoutBuffer(buffer.Milliseconds())
		if i == 0 {
			intents = intents.WithCategory(intent.Query)
		}
		net, err := f.get(ctx, v.Size(rung), intents)
		if err != nil {
			return w, err
		}
		came := time.Now()
		stall := time.Duration(0)
		if i == 0 || came.After(playedUntil) {
			if i > 0 {
				stall = came.Sub(playedUntil)
			}
			playedUntil = came
		}
		playedUntil = playedUntil.Add(v.Segment)
		shown = append(shown, player.Shown{Rung: rung, Stall: stall})
		w.Segments = append(w.Segments, Segment{
			At: now.Sub(begun).Seconds(), Took: came.Sub(now).Seconds(), Rung: rung, Buffer: buffer.Seconds(), Stall: stall.Seconds(), Net: net,
		})
	}
	w.Judgement = player.Judge(v, shown)
	return w, nil
}

// fetcher keeps the connections of a player.
type fetcher struct {
	server string

	mu      sync.Mutex // guards what follows
	chooser *chooser
	idle    []*link
}

func (f *fetcher) close() {
	for _, l := range f.idle {
		_ = l.Close()
	}
	f.chooser.close()
}

// sound loads the sound until ctx is done. What fails is left out.
func (f *fetcher) sound(ctx context.Context, v *workload.Video, over chan<- struct{}) {
	defer close(over)
	tick := time.NewTicker(v.AudioEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = f.get(ctx, v.Audio, intent.Set{}.WithCategory(intent.ControlTraffic))
		}
	}
}

// get loads an object and tells over which network.
func (f *fetcher) get(ctx context.Context, size int64, intents intent.Set) (int, error) {
	l, err := f.link(ctx, intents)
	if err != nil {
		return -1, err
	}
	if err := l.get(ctx, size); err != nil {
		_ = l.Close()
		return -1, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = append(f.idle, l)
	if len(f.idle) > maxPerHost {
		_ = f.idle[0].Close()
		f.idle = f.idle[1:]
	}
	return f.chooser.network(l), nil
}

// link gives a connection that nobody else uses.
func (f *fetcher) link(ctx context.Context, intents intent.Set) (*link, error) {
	f.mu.Lock()
	var idle []net.Conn
	for _, l := range f.idle {
		idle = append(idle, l.Conn)
	}
	c, err := f.chooser.choose(ctx, f.server, intents, idle)
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	for i, l := range f.idle {
		if c.existing == l.Conn {
			f.idle = append(f.idle[:i], f.idle[i+1:]...)
			f.mu.Unlock()
			return l, nil
		}
	}
	f.mu.Unlock()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newLink(conn), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
