package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// peer is both the destination of the connections and their client.
type peer struct {
	sink, echo net.Listener
	received   atomic.Int64
}

func newPeer() (*peer, error) {
	p := &peer{}
	var err error
	if p.sink, err = p.listen(func(c net.Conn) {
		b := make([]byte, 256<<10)
		for {
			n, err := c.Read(b)
			p.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}); err != nil {
		return nil, err
	}
	p.echo, err = p.listen(func(c net.Conn) { _, _ = io.CopyN(c, c, 1) })
	return p, err
}

func (p *peer) close() {
	_ = p.sink.Close()
	_ = p.echo.Close()
}

func (p *peer) listen(serve func(net.Conn)) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(c)
				_ = c.Close()
			}()
		}
	}()
	return l, nil
}

// measure measures one server with n connections at the same time.
func measure(p *peer, s *server, n int, each time.Duration) (figures, error) {
	var f figures
	if s.setUpsOnly {
		var err error
		f.setUps, err = setUps(p, s, n, each)
		return f, err
	}
	cpu, err := s.cpu()
	if err != nil {
		return f, err
	}
	bytes, took, err := bulk(p, s, n, each)
	if err != nil {
		return f, err
	}
	after, err := s.cpu()
	if err != nil {
		return f, err
	}
	const gigabit = 1e9 / 8
	f.gbits = float64(bytes) / gigabit / took.Seconds()
	f.cpu = (after - cpu) / (float64(bytes) / gigabit)
	f.setUps, err = setUps(p, s, n, each)
	return f, err
}

// bulk sends as much as possible for a while.
func bulk(p *peer, s *server, n int, each time.Duration) (int64, time.Duration, error) {
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := connect(s, p.sink)
		if err != nil {
			return 0, 0, err
		}
		defer func() { _ = c.Close() }()
		conns[i] = c
	}
	start, before := time.Now(), p.received.Load()
	var senders sync.WaitGroup
	for _, c := range conns {
		_ = c.SetDeadline(start.Add(each))
		senders.Go(func() {
			b := make([]byte, 256<<10)
			for {
				if _, err := c.Write(b); err != nil {
					return // time is up
				}
			}
		})
	}
	senders.Wait()
	return p.received.Load() - before, time.Since(start), nil
}

// setUps returns how many connections per second can be set up that carry one byte and
// its echo.
func setUps(p *peer, s *server, n int, each time.Duration) (float64, error) {
	start := time.Now()
	var done atomic.Int64
	errs := make(chan error, n)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			var b [1]byte
			for time.Since(start) < each {
				c, err := connect(s, p.echo)
				if err == nil {
					_ = c.SetDeadline(start.Add(each + 10*time.Second))
					if _, err = c.Write(b[:]); err == nil {
						_, err = io.ReadFull(c, b[:])
					}
					// A reset leaves no TIME_WAIT; otherwise the ports would run out.
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
				if err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(done.Load()) / took.Seconds(), nil
}

// connect connects to l through s.
func connect(s *server, l net.Listener) (net.Conn, error) {
	if s.command == nil {
		return net.Dial("tcp", l.Addr().String())
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	if err := handshake(c, l.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// handshake sends one message at a time, as clients do.
func handshake(c net.Conn, dest netip.AddrPort) error {
	var b [10]byte
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return err
	}
	ip := dest.Addr().Unmap().As4()
	if _, err := c.Write([]byte{5, 1, 0, 1, ip[0], ip[1], ip[2], ip[3], byte(dest.Port() >> 8), byte(dest.Port())}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if b[1] != 0 {
		return errors.New("the server refused")
	}
	return nil
}
