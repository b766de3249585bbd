package socks

import "net/netip"

// turn is of the clients of one address that have their passwords checked, one after
// the other.
type turn struct {
	taken chan struct{}
	n     int // who has it or waits for it
}

// authenticate checks a password. A check takes its time, and those of one address are
// made one at a time: whoever tries many keeps nobody else waiting for more than one.
func (s *Server) authenticate(c *conn, user, password string) bool {
	key := turnOf(c.client.Addr())
	s.mu.Lock()
	if s.turns == nil {
		s.turns = map[netip.Addr]*turn{}
	}
	t := s.turns[key]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		s.turns[key] = t
	}
	t.n++
	s.mu.Unlock()
	t.taken <- struct{}{}
	defer func() {
		<-t.taken
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.n--; t.n == 0 {
			delete(s.turns, key)
		}
	}()
	return c.cfg.Auth.Authenticate(user, password)
}

// turnOf is what clients share a turn by: an address, of IPv6 the network of a link,
// in which a host can have as many addresses as it wants (RFC 4291 section 2.5.4).
func turnOf(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64) // 64 bits are there
		return p.Addr()
	}
	return ip
}
