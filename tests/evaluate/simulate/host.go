package simulate

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/policy"
)

// The limits of browsers.
const (
	maxPerHost = 6
	maxConns   = 17
)

// start is when a Host begins to live.
func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// Config describes a Host.
type Config struct {
	Paths  []Path // the first one is the default
	Scheme Scheme
	Seed   uint64
	// TLS makes connections take two more round trips, and requests name
	// service 443.
	TLS bool
	// Cold leaves out the measuring: nothing is known until something was loaded.
	Cold bool
	// Tell gives the intents with which an object of a size is asked for; nil states the size.
	Tell func(size int64) intent.Set
	// Keep leaves connections open after a page.
	Keep bool
	// Readings is the time between two readings of connections, which the daemon makes
	// longer on hosts with many of them; 0: each measurement reads them.
	Readings time.Duration
	// Others is what other programs and hosts load from the start, beside the warm-up.
	Others []Traffic
}

// Host is a host with several paths, a daemon, and programs.
type Host struct {
	engine
	tls      bool
	scheme   Scheme
	policy   policy.Policy
	observer policy.Observer // nil: the policy is none
	measures []*measure
	tell     func(size int64) intent.Set
	readings time.Duration // Config.Readings
	keep     bool

	conns  []*conn
	nextID int32
	// Decisions counts those made, by path; reused connections count on their own.
	Decisions []int
	Reused    int
}

// measure is what the daemon measures of a path.
type measure struct {
	path    *path
	prefix  *policy.Prefix // as published at the last pass
	flows   map[*flow]bool
	rtt     pathstat.PathEstimator
	link    *pathstat.LinkEstimator
	samples []pathstat.Sample
	read    time.Duration // when connections were read last
}

// interval is the time between two passes of the measurements.
const interval = pathstat.DefaultInterval

// Warm-up of a path (doc/original/evaluation.md, "Common rules").
const (
	warmup      = 10 * time.Second
	warmupPause = 2 * time.Second
)

// NewHost makes a host and, unless Cold, measures its paths.
func NewHost(c Config) (*Host, error) {
	h := &Host{tls: c.TLS, scheme: c.Scheme, Decisions: make([]int, len(c.Paths)), tell: c.Tell, keep: c.Keep, readings: c.Readings}
	if h.tell == nil {
		h.tell = func(size int64) intent.Set { return intent.Set{}.WithFileSize(size) }
	}
	var prefixes []*policy.Prefix
	for i, p := range c.Paths {
		path := newPath(&h.engine, p, c.Seed)
		h.paths = append(h.paths, path)
		addr := netip.AddrFrom4([4]byte{10, byte(i + 1), 0, 2})
		prefix := netip.PrefixFrom(addr, 24)
		name := "net" + strconv.Itoa(i+1)
		q := &policy.Prefix{
			ID: policy.PrefixID{Interface: name, Prefix: prefix.Masked()}, Interface: name, Index: i + 2,
			CIDR: prefix.Masked(), Addrs: []netip.Addr{addr}, Default: i == 0,
		}
		prefixes = append(prefixes, q)
		h.measures = append(h.measures, &measure{path: path, prefix: q, flows: map[*flow]bool{}, link: pathstat.NewLinkEstimator(0)})
	}
	var err error
	if h.policy, err = c.Scheme.new(c.Seed, prefixes); err != nil {
		return nil, fmt.Errorf("scheme %s: %w", c.Scheme.Name, err)
	}
	h.observer, _ = h.policy.(policy.Observer)
	h.now = time.Hour // nothing happens at time 0, which stands for never
	h.tick()
	for _, t := range c.Others {
		h.Start(t)
	}
	if !c.Cold {
		h.warmUp()
	}
	return h, nil
}

// Set changes a path; the first is 0. The round-trip time stays.
func (h *Host) Set(path int, p Path) { h.paths[path].set(p) }

// Idle lets time pass.
func (h *Host) Idle(d time.Duration) { h.idle(d) }

// Now is the time since the host began to live.
func (h *Host) Now() time.Duration { return h.now - time.Hour }

// Received returns how many bytes came by each path so far, headers included.
func (h *Host) Received() []uint64 {
	var n []uint64
	for _, p := range h.paths {
		n = append(n, p.received)
	}
	return n
}

func (h *Host) tick() {
	for _, m := range h.measures {
		m.pass(h.now, h.readings)
	}
	if h.observer != nil {
		h.observer.Measured(h.prefixes(), start().Add(h.now))
	}
	h.after(interval, h.tick)
}

func (h *Host) prefixes() []*policy.Prefix {
	list := make([]*policy.Prefix, len(h.measures))
	for i, m := range h.measures {
		list[i] = m.prefix
	}
	return list
}

// pass is a pass of the daemon's sampler. It reads connections if the last time was so long
// ago.
func (m *measure) pass(now, readings time.Duration) {
	at := pathstat.Instant{Wall: start().Add(now), Up: now}
	if now-m.read >= readings {
		m.read = now
		m.readFlows(at)
	}
	// Interfaces have carried something before the daemon looks at them.
	m.link.Add(at, pathstat.LinkCounters{RxBytes: m.path.received + 1000, TxBytes: 1000}, interval)
	next := *m.prefix
	next.Stats, next.Link = m.rtt.Stats(), m.link.Stats()
	m.prefix = &next
}

func (m *measure) readFlows(at pathstat.Instant) {
	m.samples = m.samples[:0]
	for f := range m.flows {
		if f.gone {
			delete(m.flows, f)
			continue
		}
		m.samples = append(m.samples, pathstat.Sample{RTT: micros(f.client.srtt), RTTVar: micros(f.client.variation)})
	}
	slices.SortFunc(m.samples, func(a, b pathstat.Sample) int { return int(a.RTT) - int(b.RTT) })
	m.rtt.Add(at, m.samples)
}

func micros(d time.Duration) uint32 { return uint32(d / time.Microsecond) }

// warmUp loads each path for a while, one after the other.
func (h *Host) warmUp() {
	for i := range h.paths {
		c := h.dial(0, i, false)
		over := false
		c.get(1<<40, func() {})
		h.after(warmup, func() { over = true })
		h.run(never, func() bool { return over })
		c.close()
		h.idle(warmupPause)
	}
}

// dial opens a connection over one path, or over all of them.
func (h *Host) dial(host, path int, multipath bool) *conn {
	c := h.newConn(host)
	c.flows = []*flow{{conn: c, path: h.paths[path]}}
	if multipath {
		for i, p := range h.paths {
			if i != path {
				c.flows = append(c.flows, &flow{conn: c, path: p})
			}
		}
	}
	for _, f := range c.flows {
		h.watch(f)
	}
	c.flows[0].connect(h.rounds())
	if c.eager {
		for _, f := range c.flows[1:] {
			f.connect(h.rounds())
		}
	}
	return c
}

func (h *Host) newConn(host int) *conn {
	h.nextID++
	return &conn{host: host, id: h.nextID, since: h.now, eager: h.scheme.eager}
}

func (h *Host) rounds() int {
	if h.tls {
		return 3
	}
	return 1
}

// watch has a flow measured.
func (h *Host) watch(f *flow) {
	for _, m := range h.measures {
		if m.path == f.path {
			m.flows[f] = true
		}
	}
}

// request asks for an object of a host name and calls done when it is there. It
// is nil, and does nothing, if the program has to wait for a free connection.
func (h *Host) request(host int, size int64, intents intent.Set, done func()) *conn {
	var idle []*conn
	open, spare := 0, (*conn)(nil)
	for _, c := range h.conns {
		if c.host == host {
			open++
			if c.idle {
				idle = append(idle, c)
			}
		} else if c.idle && (spare == nil || c.since < spare.since) {
			spare = c
		}
	}
	room := open < maxPerHost && (len(h.conns) < maxConns || spare != nil)
	if len(idle) == 0 && !room {
		return nil
	}
	var chosen *conn
	u := use{begun: h.now, intents: intents, host: host}
	if !h.scheme.reuses && len(idle) > 0 {
		chosen = idle[0]
	}
	if chosen == nil {
		d := h.decide(&u, idle)
		if d.Socket != nil {
			chosen = idle[d.Socket.FD]
			chosen.reused = true
		} else {
			chosen = h.open(host, d, idle, spare, room)
		}
	} else {
		chosen.reused = true
		h.Reused++
	}
	chosen.idle, chosen.use = false, u
	chosen.get(size, func() {
		chosen.idle, chosen.since = true, h.now
		h.ended(chosen, false)
		done()
	})
	return chosen
}

// abandon closes a connection whose response is not wanted any more.
func (h *Host) abandon(c *conn) {
	h.ended(c, true)
	c.close()
	h.conns = slices.DeleteFunc(h.conns, func(o *conn) bool { return o == c })
}

// open opens a connection, and closes the one that was idle longest where there
// are too many.
func (h *Host) open(host int, d policy.Decision, idle []*conn, spare *conn, room bool) *conn {
	if !room {
		spare = slices.MinFunc(idle, func(a, b *conn) int { return int(a.since - b.since) })
	}
	if !room || len(h.conns) >= maxConns {
		spare.close()
		h.conns = slices.DeleteFunc(h.conns, func(c *conn) bool { return c == spare })
	}
	path := 0 // no preference: the default route
	if d.Prefix != nil {
		path = h.index(d.Prefix)
	}
	var c *conn
	if d.Multipath {
		c = h.dial(host, path, true)
	} else {
		c = h.race(host, path, d)
	}
	h.conns = append(h.conns, c)
	return c
}

// race connects over the path, and after a while over the alternates beside it,
// as the client library does.
func (h *Host) race(host, path int, d policy.Decision) *conn {
	c := h.newConn(host)
	c.raced = d.Race
	c.attempts = []*flow{}
	c.order = func(f *flow) int { return h.indexOf(f.path) }
	c.try = func(path int) {
		f := &flow{conn: c, path: h.paths[path]}
		h.watch(f)
		c.attempts = append(c.attempts, f)
		c.flows = c.attempts[:1]
		f.connect(h.rounds())
		pace := h.pace(path)
		if c.raced && len(c.attempts) == 1 {
			pace = 0
		}
		h.after(pace, c.next)
	}
	c.shaken = func(f *flow) { h.shaken(c, f) }
	for _, q := range d.Alternates {
		c.untried = append(c.untried, h.index(q))
	}
	c.try(path)
	return c
}

// The pace of a race, as in package client.
const (
	paceUnknown = 250 * time.Millisecond
	paceLeast   = 100 * time.Millisecond
	paceMost    = 2 * time.Second
)

func (h *Host) pace(path int) time.Duration {
	rtt := h.measures[path].prefix.Stats.SRTTMedian
	if rtt <= 0 {
		return paceUnknown
	}
	return max(paceLeast, min(3*rtt, paceMost))
}

// decide asks the policy.
func (h *Host) decide(u *use, idle []*conn) policy.Decision {
	r := policy.Request{
		Kind: policy.SocketConnect, Intents: u.intents, Network: policy.Network{Family: policy.IPv4},
		Host: hostName(u.host), Service: "80", Port: 80,
		App: browser(), Now: start().Add(h.now),
	}
	if h.tls {
		r.Service, r.Port = "443", 443
	}
	if !h.scheme.reuses {
		r.Kind = policy.Connect
	}
	r.Prefixes = h.prefixes()
	for i, c := range idle {
		p := h.measures[h.indexOf(c.flows[0].path)].prefix
		r.Sockets = append(r.Sockets, policy.Socket{FD: int32(i), Local: p.Addr(), Prefix: p, Multipath: len(c.flows) > 1})
		r.Kind = policy.SocketChoose
	}
	d := h.policy.Choose(&r)
	u.token, u.kind, u.port = d.Token, r.Kind, r.Port
	for _, s := range d.Scores {
		if s.Prefix == d.Prefix {
			u.predicted = s.Predicted
		}
	}
	switch {
	case d.Socket != nil:
		h.Reused++
		h.Decisions[h.indexOf(idle[d.Socket.FD].flows[0].path)]++
	case d.Prefix != nil:
		h.Decisions[h.index(d.Prefix)]++
	default:
		h.Decisions[0]++
	}
	return d
}

func (h *Host) index(p *policy.Prefix) int {
	return slices.IndexFunc(h.measures, func(m *measure) bool { return m.prefix.ID == p.ID })
}

func (h *Host) indexOf(p *path) int { return slices.Index(h.paths, p) }

// closeAll closes the connections of the program.
func (h *Host) closeAll() {
	for _, c := range h.conns {
		c.close()
	}
	h.conns = h.conns[:0]
}
