package live

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

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
	GaveUp int // how often it was begun on a higher rung
}

// Watch shows a film: one segment after the other as the buffer allows, and sound
// at even intervals beside them.
func Watch(ctx context.Context, job VideoJob) (w Watched, err error) {
	choose := player.Named(job.Algorithm)
	if choose == nil {
		return w, fmt.Errorf("no player %q", job.Algorithm)
	}
	ctx, cancel := context.WithTimeout(ctx, 4*job.Video.Length+time.Minute)
	f := &fetcher{opener: newOpener(job.Way, maxPerHost, maxConns), server: job.Server}
	soundOver := make(chan struct{})
	defer func() {
		cancel()
		<-soundOver
		f.opener.close()
	}()
	go f.sound(ctx, &job.Video, soundOver)

	v := &job.Video
	begun := time.Now()
	// The manifest.
	if _, err := f.get(ctx, 2000, intent.Set{}.WithCategory(intent.CategoryQuery), nil); err != nil {
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
		rung, gaveUp := choose(v, buffer), 0
		var net int
		for {
			intents := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithBitrateBitsPerSecond(v.Ladder[rung]).WithPlayoutBuffer(max(0, time.Until(playedUntil)))
			if i == 0 {
				intents = intents.WithCategory(intent.CategoryQuery)
			}
			over, next, err := f.segment(ctx, v, rung, playedUntil, intents)
			if err != nil {
				return w, err
			}
			net = over
			if next == rung {
				break
			}
			rung = next
			gaveUp++
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
			At: now.Sub(begun).Seconds(), Took: came.Sub(now).Seconds(), Rung: rung, Buffer: buffer.Seconds(), Stall: stall.Seconds(), Net: net, GaveUp: gaveUp,
		})
	}
	w.Judgement = player.Judge(v, shown)
	return w, nil
}

// fetcher loads what a player asks for.
type fetcher struct {
	opener *opener
	server string
}

// sound loads the sound until ctx is done. Segments that fail are left out.
func (f *fetcher) sound(ctx context.Context, v *workload.Video, over chan<- struct{}) {
	defer close(over)
	tick := time.NewTicker(v.AudioEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = f.get(ctx, v.Audio, intent.Set{}.WithCategory(intent.CategoryControlTraffic), nil)
		}
	}
}

// segment loads a segment and tells over which network, and its rung; or that of
// the lower one on which it is to be loaded again, when it takes too long. The
// buffer lasts until playedUntil.
func (f *fetcher) segment(ctx context.Context, v *workload.Video, rung int, playedUntil time.Time, intents intent.Set) (net, lower int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loaded atomic.Int64
	better := make(chan int, 1)
	go func() {
		begun := time.Now()
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				close(better)
				return
			case now := <-tick.C:
				if lower, ok := player.GiveUp(v, rung, loaded.Load(), now.Sub(begun), playedUntil.Sub(now)); ok {
					better <- lower
					cancel()
					return
				}
			}
		}
	}()
	net, err = f.get(ctx, v.Size(rung), intents, &loaded)
	cancel()
	if lower, gaveUp := <-better; gaveUp && err != nil {
		return net, lower, nil
	}
	return net, rung, err
}

// lookEvery is how often a player looks whether a segment takes too long.
const lookEvery = 100 * time.Millisecond

// get loads an object and tells over which network. It counts the bytes in
// loaded as they come.
func (f *fetcher) get(ctx context.Context, size int64, intents intent.Set, loaded *atomic.Int64) (int, error) {
	l, err := f.opener.start(ctx, f.server, intents)()
	if err != nil {
		return -1, err
	}
	if err := l.get(ctx, size, loaded); err != nil {
		_ = l.Close()
		return -1, err
	}
	over := f.opener.network(l)
	return over, l.release()
}
