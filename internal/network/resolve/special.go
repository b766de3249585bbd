package resolve

import (
	"slices"
	"strings"
)

// SpecialName is a domain that name servers are not asked about, with all names in it.
type SpecialName struct {
	Domain   string
	Loopback bool   // its names mean this host; else they do not exist
	Unless   string // exception in which servers are asked, to follow "Servers are asked: "
	Source   string
}

// SpecialNames lists the special domains. A name in the hosts file has the address
// given there in any case. Other reserved domains, such as "test", "example",
// "internal" and "home.arpa", are not special ones: the RFCs want resolvers to ask
// servers about them.
func SpecialNames() []SpecialName { return slices.Clone(specialNames) }

// inSearch describes the configuration in which servers are asked about a special
// domain other than localhost.
const inSearch = "if the search list of resolv.conf contains the domain or one below it"

// specialNames is never changed.
var specialNames = []SpecialName{
	{Domain: "localhost", Loopback: true, Unless: "never", Source: "RFC 6761 section 6.3"},
	{Domain: "local", Unless: "if the network has a nameserver or resolvconf setting, or " + inSearch, Source: "RFC 6762 section 3, multicast DNS"},
	{Domain: "invalid", Unless: inSearch, Source: "RFC 6761 section 6.4"},
	{Domain: "onion", Unless: inSearch, Source: "RFC 7686 section 2"},
	{Domain: "alt", Unless: inSearch, Source: "RFC 9476 section 2"},
}

// specialDomain returns the special domain that contains a checked name, or nil.
func specialDomain(name string) *SpecialName {
	top := name[strings.LastIndexByte(name, '.')+1:]
	for i := range specialNames {
		if specialNames[i].Domain == top {
			return &specialNames[i]
		}
	}
	return nil
}

// asks tells whether the configuration makes an exception, so that servers are asked
// about a special domain.
func (r *Resolver) asks(s *SpecialName, st *settings) bool {
	switch {
	case s.Loopback:
		return false
	case s.Domain == "local" && r.cfg.Configured:
		return true
	}
	return slices.ContainsFunc(st.search, func(domain string) bool { return specialDomain(domain) == s })
}
