package socks

import "net/netip"

// turn lets the clients of one address have their passwords checked one after the
// other.
type turn struct {
	taken chan struct{}
	n     int // number of clients that have the turn or wait for it
}

// authenticate checks a password. A check takes long on purpose. For each address there
// is one check at a time, so a client that tries many passwords delays others by one
// check at most.
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

// turnOf returns the key by which clients share a turn. That is the address for IPv4.
// For IPv6 it is the network of a link, in which a host can have as many addresses as
// it wants (RFC 4291 section 2.5.4).
func turnOf(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64) // an IPv6 address always has 64 bits
		return p.Addr()
	}
	return ip
}
