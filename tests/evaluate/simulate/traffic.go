package simulate

import "time"

// Traffic is what others load over a path, for ever or until it is stopped.
type Traffic struct {
	Path  int     // the first is 0
	Flows int     // TCP connections, each with as much data as there is room for
	Mbps  float64 // of datagrams of full size, at even intervals
	// Own tells that it is for other programs of the host, which its counters and
	// connections show. Else it is for other hosts behind the same link.
	Own bool
	// After is when it begins, from the call of Start.
	After time.Duration
}

// Start lets others load, and returns what ends it.
func (h *Host) Start(t Traffic) (stop func()) {
	over := false
	var conns []*conn
	h.after(t.After, func() {
		if over {
			return
		}
		for range t.Flows {
			c := h.newConn(0)
			f := &flow{conn: c, path: h.paths[t.Path], foreign: !t.Own}
			c.flows = []*flow{f}
			if t.Own {
				h.watch(f)
			}
			f.connect(1)
			c.get(1<<40, func() {})
			conns = append(conns, c)
		}
		if t.Mbps > 0 {
			h.datagrams(t, &over)
		}
	})
	return func() {
		over = true
		for _, c := range conns {
			c.close()
		}
	}
}

// datagrams sends one, and the next later.
func (h *Host) datagrams(t Traffic, over *bool) {
	if *over {
		return
	}
	p := h.paths[t.Path]
	if sent, ok := p.enqueue(h.now, mtu); ok && t.Own {
		h.after(sent+p.delay-h.now, func() { p.received += mtu })
	}
	h.after(time.Duration(mtu*8/t.Mbps*1000), func() { h.datagrams(t, over) })
}

// Follow gives a path the rates of a trace in Mbit/s, each for a second, from now
// on and again from its beginning.
func (h *Host) Follow(path int, p Path, trace []float64) {
	i := 0
	var next func()
	next = func() {
		p.Mbps = trace[i%len(trace)]
		h.Set(path, p)
		i++
		h.after(time.Second, next)
	}
	next()
}

// After does something after a while, of virtual time.
func (h *Host) After(d time.Duration, do func()) { h.after(d, do) }
