package resolve

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	// maxAliases bounds a chain of CNAMEs, in one message or over several. The longest
	// useful chains have four or five.
	maxAliases = 16

	// maxTTL is the longest time, in seconds, for which an answer is believed.
	maxTTL = 24 * 60 * 60

	// maxNegativeTTL is the longest time for which a negative answer is believed. It is
	// the upper value that RFC 2308 section 5 found to work well.
	maxNegativeTTL = 3 * 60 * 60
)

// chain is how far the aliases of a name have been followed.
type chain struct {
	name  string // the name reached so far, checked
	steps int
	ttl   uint32 // seconds, the least of those seen
}

// reply is the answer of a message to a question.
type reply struct {
	chain              // its ttl includes that of the addresses
	addrs []netip.Addr // if empty, see missing and err
	// missing tells that there is nothing to find. remember tells that this may be
	// remembered for the time ttl. If there are no addresses, and neither missing nor
	// err is set, the next question is for the chain's name.
	missing  error
	remember bool
	err      error // the message is useless; another server may do better
	failure  bool  // err is a failure of the server and no refusal, so it may pass
}

// readReply reads the response to a question for the name of c and for qtype. It takes
// only the aliases of this name and their addresses from the message, so that a server
// cannot slip in answers for other names.
func readReply(m *dns.Msg, c chain, qtype uint16) reply {
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return reply{err: rcodeError(m.Rcode), failure: m.Rcode == dns.RcodeServerFailure}
	}
	start := c.steps
	if err := c.follow(m.Answer); err != nil {
		return reply{err: err}
	}
	rep := reply{chain: c}
	rep.collect(m.Answer, qtype)
	if len(rep.addrs) > 0 {
		rep.ttl = min(rep.ttl, maxTTL)
		return rep
	}
	ttl, authoritative := negativeTTL(m.Ns, c.name)
	switch {
	case m.Rcode == dns.RcodeNameError:
		rep.missing = errNoHost
	case c.steps > start && !authoritative:
		return rep
	case !authoritative && !m.Authoritative && !m.RecursionAvailable:
		return reply{err: errLame}
	default:
		rep.missing = errNoData
	}
	rep.remember = authoritative
	rep.ttl = min(rep.ttl, ttl, maxNegativeTTL)
	return rep
}

// follow follows the aliases in rrs. Servers may send them in any order.
func (c *chain) follow(rrs []dns.RR) error {
	for {
		alias := aliasOf(rrs, c.name)
		if alias == nil {
			return nil
		}
		if c.steps++; c.steps > maxAliases {
			return errAliases
		}
		target, err := checkName(alias.Target)
		if err != nil {
			return errAliasName
		}
		c.name = strings.Clone(target)
		c.ttl = min(c.ttl, ttlOf(alias))
	}
}

func aliasOf(rrs []dns.RR, name string) *dns.CNAME {
	for _, rr := range rrs {
		if alias, ok := rr.(*dns.CNAME); ok && alias.Hdr.Class == dns.ClassINET && sameName(alias.Hdr.Name, name) {
			return alias
		}
	}
	return nil
}

// collect takes over the addresses of the chain's name. It leaves out IPv4-mapped ones,
// which would be IPv4 addresses although IPv6 was asked for.
func (rep *reply) collect(rrs []dns.RR, qtype uint16) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !sameName(h.Name, rep.name) {
			continue
		}
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			if addr, _ = netip.AddrFromSlice(rr.AAAA); addr.Is4In6() {
				continue
			}
		}
		if !addr.IsValid() || len(rep.addrs) >= maxAddrs || slices.Contains(rep.addrs, addr) {
			continue
		}
		rep.addrs = append(rep.addrs, addr)
		rep.ttl = min(rep.ttl, ttlOf(rr))
	}
}

// negativeTTL returns how long a negative answer about name may be remembered (RFC 2308
// section 5). ok is false without an SOA record for the name.
func negativeTTL(rrs []dns.RR, name string) (ttl uint32, ok bool) {
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok && soa.Hdr.Class == dns.ClassINET && dns.IsSubDomain(soa.Hdr.Name, dns.Fqdn(name)) {
			return min(ttlOf(soa), soa.Minttl), true
		}
	}
	return 0, false
}

// ttlOf returns the TTL of a record. A TTL with the top bit set counts as zero (RFC
// 2181 section 8).
func ttlOf(rr dns.RR) uint32 {
	ttl := rr.Header().Ttl
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}

// sameName compares the name of a record with a checked one.
func sameName(record, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(record, "."), name)
}

// rcodeError is a response code other than success (RFC 1035 section 4.1.1).
type rcodeError int

func (e rcodeError) Error() string {
	if s, ok := dns.RcodeToString[int(e)]; ok {
		return "server answers " + s
	}
	return "server answers with an unknown code"
}
