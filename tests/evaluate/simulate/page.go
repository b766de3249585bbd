package simulate

import (
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// giveUp is when a page that does not load is given up.
const giveUp = 10 * time.Minute

// Load loads a page as a browser does and returns how long it takes. The connections
// are closed at the end, unless the host keeps them.
func (h *Host) Load(p *workload.Page) time.Duration {
	begun := h.now
	waiting := make([]int, 0, len(p.Objects)) // may start, in order
	left := len(p.Objects)
	var pump func()
	release := func(i int) {
		for j := range p.Objects {
			if p.Objects[j].After == i {
				waiting = append(waiting, j)
			}
		}
	}
	pump = func() {
		for k := 0; k < len(waiting); {
			i := waiting[k]
			o := &p.Objects[i]
			c := h.request(o.Host, o.Size, h.tell(o.Size), func() {
				left--
				release(i)
				pump()
			})
			if c == nil {
				k++
				continue
			}
			waiting = append(waiting[:k], waiting[k+1:]...)
		}
	}
	release(workload.None)
	pump()
	h.run(begun+giveUp, func() bool { return left == 0 })
	took := h.now - begun
	if !h.keep || left > 0 {
		h.closeAll()
	}
	return took
}

// Fetch loads a single file on a new connection.
func (h *Host) Fetch(size int64) time.Duration {
	p := workload.Page{Objects: []workload.Object{{Size: size, After: workload.None}}}
	return h.Load(&p)
}

// Abandon begins to load a single file on a new connection and closes it after a
// while, as one does who goes elsewhere.
func (h *Host) Abandon(size int64, after time.Duration) {
	c := h.request(0, size, h.tell(size), func() {})
	h.Idle(after)
	if c != nil && !c.idle {
		h.abandon(c)
	}
	h.closeAll()
}
