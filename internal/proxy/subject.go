package proxy

import (
	"net/netip"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// newSubject makes the subject of rules for a request whose address is not known, or is
// addr. dest is how the client asked for addr.
func newSubject(r *socks.Request, addr netip.AddrPort, dest socks.Addr, who func() rules.Caller) rules.Subject {
	associate := r.Command == socks.CommandUDPAssociate
	if !addr.IsValid() && !associate {
		return towards(r, r.Dest, who)
	}
	s := subjectOf(r, addr, who)
	if addr.IsValid() {
		if dest.Host == "" && !associate {
			dest = r.Dest
		}
		if !dest.IP().IsValid() {
			s.Name = rules.NormalName(dest.Host)
		}
	}
	// An association has no destination of its own, so neither port nor address.
	s.Later = associate && !addr.IsValid() && s.Name == ""
	return s
}

// towards makes the subject of one destination of a request. An association has
// destinations that the request does not name.
func towards(r *socks.Request, dest socks.Addr, who func() rules.Caller) rules.Subject {
	ip := dest.IP()
	s := subjectOf(r, netip.AddrPortFrom(ip, dest.Port), who)
	if !ip.IsValid() {
		s.Name = rules.NormalName(dest.Host)
	}
	s.Later = r.Command == socks.CommandUDPAssociate && !ip.IsValid() && s.Name == ""
	return s
}

// subjectOf is a subject without a name. Without a password file nobody has checked the
// user's name that the client gives.
func subjectOf(r *socks.Request, addr netip.AddrPort, who func() rules.Caller) rules.Subject {
	name, _ := splitUser(r.User)
	return rules.Subject{Client: r.Client.Addr(), User: name, Addr: addr, Caller: who}
}
