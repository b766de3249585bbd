package shape

import (
	"strconv"

	"github.com/socket-intents/mamma/policy"
)

// On tells whether s is on p. It compares the prefix that the manager found for the
// socket's address or, if the manager found none, the address itself.
func On(s *policy.Socket, p *policy.Prefix) bool {
	if s.Prefix != nil {
		return s.Prefix == p || s.Prefix.ID == p.ID && s.Prefix.CIDR == p.CIDR
	}
	return p.Contains(s.Local)
}

// Count counts the offered sockets on p (count_on_prefix of doc/original/policies.md 3.6).
func Count(sockets []policy.Socket, p *policy.Prefix) int {
	n := 0
	for i := range sockets {
		if On(&sockets[i], p) {
			n++
		}
	}
	return n
}

// Pick returns the first offered socket on p whose use of MPTCP equals multipath, nil
// if there is none (pick_on_prefix of doc/original/policies.md 3.6). It skips sockets
// whose index is marked in inUse; nil marks none.
func Pick(r *policy.Request, p *policy.Prefix, multipath bool, inUse []bool) *policy.Socket {
	for i := range r.Sockets {
		s := &r.Sockets[i]
		if s.Multipath == multipath && On(s, p) && (inUse == nil || !inUse[i]) {
			return s
		}
	}
	return nil
}

// Reuse adds the first idle socket on the decision's prefix to the decision, if the
// request asks for a socket and one is offered (shape A of doc/original/policies.md
// 3.9). inUse has the meaning that it has in Pick.
func Reuse(r *policy.Request, d *policy.Decision, inUse []bool) {
	if r.Kind == policy.SocketChoose && d.Prefix != nil {
		d.Socket = Pick(r, d.Prefix, d.Multipath, inUse)
	}
}

// AppendSockets appends the part of a policy's log line that is about sockets
// (doc/original/policies.md 3.10). For each prefix it has the descriptors of the
// offered sockets on it, then their number.
func AppendSockets(b []byte, prefixes []*policy.Prefix, sockets []policy.Socket) []byte {
	for _, p := range prefixes {
		n := 0
		for i := range sockets {
			if On(&sockets[i], p) {
				b = append(strconv.AppendInt(b, int64(sockets[i].FD), 10), '-')
				n++
			}
		}
		b = append(strconv.AppendInt(append(b, ','), int64(n), 10), ',')
	}
	return b
}

// LogList returns the prefixes that AppendSockets should cover, for policies outside
// the earliest-arrival family. These are the IPv4 candidates, as in the original. If
// there are none, they are the IPv6 candidates, which the original leaves out.
func LogList(r *policy.Request) []*policy.Prefix {
	n := 0
	for n < len(r.Prefixes) && r.Prefixes[n].Family() == policy.IPv4 { // IPv4 comes before IPv6
		n++
	}
	if n == 0 {
		return r.Prefixes
	}
	return r.Prefixes[:n]
}
