package simulate

import "time"

// conn is a connection that a program has: one flow, or with MPTCP several.
type conn struct {
	host  int
	id    int32
	flows []*flow
	eager bool // all flows open at once
	idle  bool
	since time.Duration // idle or opened

	// Attempts to connect that go on, of which the first to succeed becomes flows,
	// and the paths that are left to try. Only with one flow.
	attempts []*flow
	untried  []int
	try      func(path int)
	order    func(*flow) int // the number of its path
	raced    bool
	shaken   func(*flow) // told of the first answer of each flow
	closed   bool

	unsent  int   // segments of the response that the server did not send yet
	last    int32 // size of the last of them
	missing int   // segments that the client did not get yet
	asked   time.Duration
	begun   bool // the response's first segment was seen
	request func()
	done    func()
	// came is told of each segment of the response; nil: nobody is.
	came func()

	total  int // segments of the response
	use    use // what goes on, or went on last
	reused bool
}

// take hands out a segment to send, with its size; 0 if there is none.
func (c *conn) take() int32 {
	switch c.unsent {
	case 0:
		return 0
	case 1:
		c.unsent = 0
		return c.last
	}
	c.unsent--
	return mtu
}

// opened is told when a flow's handshake is over.
func (c *conn) opened(f *flow) {
	if c.attempts != nil {
		for _, other := range c.attempts {
			// A raced handshake goes on until it has told the round-trip time.
			if other != f && !c.raced {
				other.gone = true
			}
			other.loser = other != f
		}
		c.flows, c.attempts, c.untried = []*flow{f}, nil, nil
	}
	if f == c.flows[0] && !c.eager {
		// Further subflows join when the first is there.
		for _, other := range c.flows[1:] {
			other.connect(1)
		}
	}
	if request := c.request; request != nil {
		c.request = nil
		request()
		return
	}
	f.path.engine.after(f.path.delay, f.fill) // with what other flows left
}

// failed is told that a flow will not be there.
func (c *conn) failed(f *flow) {
	if len(c.untried) > 0 || c.attempts == nil {
		c.next()
		return
	}
	for _, other := range c.attempts {
		if !other.gone {
			return
		}
	}
	c.try(c.order(f)) // a program tries again
}

// next tries to connect over the next path, if one is left and none is connected.
func (c *conn) next() {
	if len(c.untried) > 0 && c.attempts != nil && !c.closed {
		path := c.untried[0]
		c.untried = c.untried[1:]
		c.try(path)
	}
}

// get asks for a response of the given size; done is called when it is there.
func (c *conn) get(size int64, done func()) {
	var f *flow
	for _, g := range c.flows {
		if g.open && !g.gone && (f == nil || g.client.srtt < f.client.srtt) {
			f = g
		}
	}
	if f == nil {
		c.request = func() { c.get(size, done) }
		return
	}
	segments := int((size + header + segment - 1) / segment)
	c.missing, c.total, c.done, c.begun = segments, segments, done, false
	c.last = int32(size+header-int64(segments-1)*segment) + overhead
	c.asked = f.path.engine.now
	f.path.engine.after(f.path.delay, func() {
		c.unsent = segments
		// The scheduler of MPTCP fills the subflow with the lowest round-trip time first.
		f.fill()
		for _, g := range c.flows {
			g.fill()
		}
	})
}

// received is told of every segment that the client gets.
func (c *conn) received(f *flow) {
	if !c.begun {
		c.begun = true
		f.client.add(f.path.engine.now - c.asked)
	}
	c.missing--
	if c.came != nil {
		c.came()
	}
	if c.missing == 0 {
		c.done()
	}
}

func (c *conn) close() {
	c.closed = true
	for _, f := range c.attempts {
		f.gone = true
	}
	for _, f := range c.flows {
		f.gone = true
	}
}
