package simulate

import (
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// lookEvery is how often a player looks whether a segment takes too long.
const lookEvery = 100 * time.Millisecond

// film is a film that is shown.
type film struct {
	h      *Host
	v      *workload.Video
	choose player.Algorithm
	until  time.Duration // when the buffer runs dry
	shown  []player.Shown
	over   bool
}

// Watch shows a film as the player of package live does: one segment after the
// other as the buffer allows, and sound at even intervals beside them.
func (h *Host) Watch(v *workload.Video, choose player.Algorithm) player.Judgement {
	f := &film{h: h, v: v, choose: choose}
	deadline := h.now + 4*v.Length + time.Minute
	f.sound()
	f.get(2000, intent.Set{}.WithCategory(intent.CategoryQuery), func() { f.next() })
	h.run(deadline, func() bool { return f.over })
	if !f.over { // what is missing stands still
		f.shown = append(f.shown, player.Shown{Stall: max(0, h.now-f.until)})
	}
	f.over = true
	h.closeAll()
	return player.Judge(v, f.shown)
}

// get asks for something as soon as there is a free connection.
func (f *film) get(size int64, intents intent.Set, done func()) *conn {
	c := f.h.request(0, size, intents, done)
	if c == nil {
		f.h.after(lookEvery, func() { f.get(size, intents, done) })
	}
	return c
}

func (f *film) sound() {
	f.h.after(f.v.AudioEvery, func() {
		if f.over {
			return
		}
		_ = f.h.request(0, f.v.Audio, intent.Set{}.WithCategory(intent.CategoryControlTraffic), func() {})
		f.sound()
	})
}

// next asks for the next segment, or waits until there is room for it.
func (f *film) next() {
	if len(f.shown) == f.v.Segments() {
		f.over = true
		return
	}
	buffer := max(0, f.until-f.h.now)
	if wait := buffer - (player.MaxBuffer - f.v.Segment); wait > 0 {
		f.h.after(wait, f.next)
		return
	}
	f.segment(f.choose(f.v, buffer))
}

// segment loads a segment on a rung of the ladder.
func (f *film) segment(rung int) {
	h := f.h
	intents := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).
		WithBitrateBitsPerSecond(f.v.Ladder[rung]).WithPlayoutBuffer(max(0, f.until-h.now))
	if len(f.shown) == 0 {
		intents = intents.WithCategory(intent.CategoryQuery)
	}
	begun, done := h.now, false
	c := f.get(f.v.Size(rung), intents, func() { done = true; f.came(rung) })
	var look func()
	look = func() {
		if done || f.over {
			return
		}
		if c != nil {
			loaded := int64(max(0, c.total-c.missing) * segment)
			if lower, ok := player.GiveUp(f.v, rung, loaded, h.now-begun, f.until-h.now); ok {
				done = true
				h.abandon(c)
				f.segment(lower)
				return
			}
		}
		h.after(lookEvery, look)
	}
	h.after(lookEvery, look)
}

// came is told when a segment is there.
func (f *film) came(rung int) {
	now := f.h.now
	s := player.Shown{Rung: rung}
	if len(f.shown) == 0 || now > f.until {
		if len(f.shown) > 0 {
			s.Stall = now - f.until
		}
		f.until = now
	}
	f.until += f.v.Segment
	f.shown = append(f.shown, s)
	f.next()
}
