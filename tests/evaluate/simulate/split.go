package simulate

import (
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/split"
)

const (
	// splitWindow and splitFirst are those of httpintent.Split.
	splitWindow = 12 << 20
	splitFirst  = 256 << 10
	splitTick   = 50 * time.Millisecond
)

// splitting is a file that comes over all paths.
type splitting struct {
	host  *Host
	plan  *split.Plan
	size  int64
	lead  func()
	idle  [][]*conn // by path
	works map[int]*conn
	over  bool
}

// Split loads a file over all paths at once, by ranges, as an httpintent.Transport does,
// and returns how long it takes. The first range goes over the path of the
// highest rate, which is a manager's choice for a large file once it has measured. Connections
// speak HTTP/1.1. With inOrder its bytes are read in order, with the memory of a split.
func (h *Host) Split(size int64, inOrder bool) time.Duration {
	begun := h.now
	s := &splitting{host: h, idle: make([][]*conn, len(h.paths)), works: map[int]*conn{}}
	window := int64(0)
	if inOrder {
		window = splitWindow
	}
	s.plan = split.New(split.Span{From: 0, To: size}, window)
	for _, p := range h.paths {
		s.plan.Add(2*p.delay, -1)
	}
	first := 0
	for i, p := range h.paths {
		if p.rate > h.paths[first].rate {
			first = i
		}
	}
	s.size = size
	s.ask(s.plan.Begin(h.now, first, split.Span{From: 0, To: min(size, splitFirst)}, true), true)
	h.run(begun+giveUp, func() bool { return s.plan.Ready(0) > 0 }) // the header is there, and with it the length
	var tick func()
	tick = func() {
		if !s.over {
			s.lead()
			s.pump()
			h.after(splitTick, tick)
		}
	}
	tick()
	h.run(begun+giveUp, s.plan.Done)
	s.over = true
	took := h.now - begun
	for _, c := range s.works {
		c.close()
	}
	for _, list := range s.idle {
		for _, c := range list {
			c.close()
		}
	}
	return took
}

// pump asks for what the plan hands out, and ends what it does not need.
func (s *splitting) pump() {
	for i := range s.host.paths {
		for {
			w, ok := s.plan.Next(s.host.now, i)
			if !ok {
				break
			}
			s.ask(w, false)
		}
	}
	for _, id := range s.plan.Stops() {
		s.end(id)
	}
}

// end gives up a request.
func (s *splitting) end(id int) {
	if c := s.works[id]; c != nil {
		c.close()
		delete(s.works, id)
	}
	s.plan.Ended(s.host.now, id, split.Complete)
}

// ask requests a range over a connection that is idle, or over a new one.
func (s *splitting) ask(w split.Work, open bool) {
	var c *conn
	if list := s.idle[w.Network]; len(list) > 0 {
		c, s.idle[w.Network] = list[len(list)-1], list[:len(list)-1]
	} else {
		c = s.host.dial(0, w.Network, false)
	}
	s.works[w.ID] = c
	length := w.Len()
	if open {
		length = s.size
	}
	got := int64(0)
	c.came = func() {
		if s.works[w.ID] != c || s.over {
			return
		}
		s.plan.Proved(w.ID)
		for all := min(length, max(0, int64(c.total-c.missing)*segment-header)); got < all; {
			n, do := s.plan.Room(s.host.now, w.ID)
			if do == split.Stop {
				s.end(w.ID)
				break
			}
			if do == split.Wait {
				break
			}
			n = min(n, all-got)
			s.plan.Arrived(s.host.now, w.ID, n)
			got += n
			s.plan.Take(s.plan.Ready(0)) // the reader is never late
		}
		if c.missing > 0 || got == length && open {
			s.pump()
		}
	}
	if open {
		s.lead = c.came
	}
	c.get(length, func() {
		if s.works[w.ID] != c || s.over {
			return
		}
		if open && got < length {
			return // the rest is read once it is wanted
		}
		delete(s.works, w.ID)
		s.idle[w.Network] = slices.Insert(s.idle[w.Network], 0, c)
		s.plan.Ended(s.host.now, w.ID, split.Complete)
		s.pump()
	})
}
