package resolve

import (
	"slices"
	"strings"
)

// SpecialName is a domain about which name servers are not asked, nor about the names in
// it.
type SpecialName struct {
	Domain   string
	Loopback bool   // its names are those of this host; else they do not exist
	Unless   string // when servers are asked nevertheless, after "Servers are asked: "
	Source   string
}

// SpecialNames lists the special domains. A name in the hosts file has the address there
// in any case. Servers are asked about other reserved domains, such as "test",
// "example", "internal" and "home.arpa": the RFCs want resolvers to do so.
func SpecialNames() []SpecialName { return slices.Clone(specialNames) }

// inSearch is the configuration that has servers asked about a special domain other
// than localhost.
const inSearch = "if the search list of resolv.conf contains the domain or one below it"

// specialNames is immutable.
var specialNames = []SpecialName{
	{Domain: "localhost", Loopback: true, Unless: "never", Source: "RFC 6761 section 6.3"},
	{Domain: "local", Unless: "if the network has a nameserver or resolvconf setting, or " + inSearch, Source: "RFC 6762 section 3, multicast DNS"},
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

// asks tells whether servers are asked about a special domain nevertheless, because the
// configuration says so.
func (r *Resolver) asks(s *SpecialName, st *settings) bool {
	switch {
	case s.Loopback:
		return false
	case s.Domain == "local" && r.cfg.Configured:
		return true
	}
	return slices.ContainsFunc(st.search, func(domain string) bool { return specialDomain(domain) == s })
}
