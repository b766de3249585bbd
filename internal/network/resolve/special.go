package resolve

import (
	"slices"
	"strings"
)

// SpecialName is a domain whose names are not asked of name servers.
type SpecialName struct {
	Domain   string
	Loopback bool   // its names are those of this host; else they do not exist
	Unless   string // what makes its names ordinary ones, after "Ordinary: "
	Source   string
}

// SpecialNames lists them. A name in the hosts file counts before all of these,
// and names that other documents reserve, as "test", "example", "internal" and
// "home.arpa", are ordinary: the RFCs want resolvers to ask for them.
func SpecialNames() []SpecialName { return slices.Clone(specialNames) }

// inSearch is how configuration wins over each special domain but localhost.
const inSearch = "if the search list of resolv.conf has it, or a domain below it"

// specialNames is immutable.
var specialNames = []SpecialName{
	{Domain: "localhost", Loopback: true, Unless: "never", Source: "RFC 6761 section 6.3"},
	{Domain: "local", Unless: "if the network's nameserver or resolvconf is configured, or " + inSearch, Source: "RFC 6762 section 3, multicast DNS"},
	{Domain: "invalid", Unless: inSearch, Source: "RFC 6761 section 6.4"},
	{Domain: "onion", Unless: inSearch, Source: "RFC 7686 section 2"},
	{Domain: "alt", Unless: inSearch, Source: "RFC 9476 section 2"},
}

// specialDomain returns the special domain that a checked name is in, or nil.
func specialDomain(name string) *SpecialName {
	top := name[strings.LastIndexByte(name, '.')+1:]
	for i := range specialNames {
		if specialNames[i].Domain == top {
			return &specialNames[i]
		}
	}
	return nil
}

// asks tells whether names in a special domain are asked of servers all the same,
// because somebody configured so.
func (r *Resolver) asks(s *SpecialName, st *settings) bool {
	switch {
	case s.Loopback:
		return false
	case s.Domain == "local" && r.cfg.Configured:
		return true
	}
	return slices.ContainsFunc(st.search, func(domain string) bool { return specialDomain(domain) == s })
}
