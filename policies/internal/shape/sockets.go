package shape

import (
	"strconv"

	"github.com/socket-intents/mamma/policy"
)

// On tells whether s lies on p: by the prefix that the manager found for its
// address, and where it found none by the address itself.
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

// Pick returns the first offered socket on p that uses MPTCP exactly if
// multipath says so, nil if there is none (pick_on_prefix of doc/original/policies.md
// 3.6). Sockets whose index inUse marks are passed over; nil marks none.
func Pick(r *policy.Request, p *policy.Prefix, multipath bool, inUse []bool) *policy.Socket {
	for i := range r.Sockets {
		s := &r.Sockets[i]
		if s.Multipath == multipath && On(s, p) && (inUse == nil || !inUse[i]) {
			return s
		}
	}
	return nil
}

// Reuse completes a decision for a prefix by the first idle socket on it, if a
// socket is asked for and one is offered (shape A of doc/original/policies.md 3.9).
// inUse is as for Pick.
func Reuse(r *policy.Request, d *policy.Decision, inUse []bool) {
	if r.Kind == policy.SocketChoose && d.Prefix != nil {
		d.Socket = Pick(r, d.Prefix, d.Multipath, inUse)
	}
}

// AppendSockets appends the socket part of the policy log (doc/original/policies.md
// 3.10): per prefix the descriptors of the offered sockets on it, then their
// number.
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

// LogList returns the prefixes that the socket part covers in the policies
// outside the earliest-arrival family: the IPv4 candidates, as in the original,
// or where there are none the IPv6 ones, which the original leaves out.
func LogList(r *policy.Request) []*policy.Prefix {
	n := 0
	for n < len(r.Prefixes) && r.Prefixes[n].Family() == policy.IPv4 { // IPv4 stands before IPv6
		n++
	}
	if n == 0 {
		return r.Prefixes
	}
	return r.Prefixes[:n]
}
