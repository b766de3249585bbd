package resolve

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the largest UDP response that queries ask for. It passes every link
	// without being fragmented (DNS Flag Day 2020, RFC 9715).
	ednsSize = 1232

	// minEDNSHold is how long a server that lacks EDNS is asked without it. Each time
	// that this shows again, the time doubles, as in systemd-resolved.
	minEDNSHold = 5 * time.Minute
	maxEDNSHold = 6 * time.Hour
)

// ednsState is what is remembered about a server that was asked with EDNS.
type ednsState struct {
	spoke   bool          // its last answer had an OPT record
	suspect bool          // it was silent; the next try shows whether it is also silent without EDNS
	until   time.Time     // until then it is asked without EDNS
	hold    time.Duration // the length of that time
}

// usesEDNS tells whether to ask a server with EDNS.
func (r *Resolver) usesEDNS(server netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.edns[server]
	return !s.suspect && !r.now().Before(s.until)
}

// speaksEDNS notes that a server answered with an OPT record.
func (r *Resolver) speaksEDNS(server netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rememberLocked(server, ednsState{spoke: true})
}

// suspectEDNS notes that a server was silent. If it was asked with EDNS, that may be
// the reason. If it was asked without, that was not the reason.
func (r *Resolver) suspectEDNS(server netip.AddrPort, edns bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.edns[server]
	s.suspect = edns
	r.rememberLocked(server, s)
}

// lacksEDNS notes that a server seems not to know EDNS. With silent, the evidence is
// that it answered a question without EDNS. That means something only if the server is
// under suspicion. A server that spoke EDNS before must do so twice, because packets
// get lost.
func (r *Resolver) lacksEDNS(server netip.AddrPort, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.edns[server]
	if silent && !s.suspect {
		return
	}
	if !silent || !s.spoke {
		s.hold = min(max(2*s.hold, minEDNSHold), maxEDNSHold)
		s.until = r.now().Add(s.hold)
	}
	s.suspect, s.spoke = false, false
	r.rememberLocked(server, s)
}

func (r *Resolver) rememberLocked(server netip.AddrPort, s ednsState) {
	// The map may still hold servers of old settings.
	if _, known := r.edns[server]; !known && len(r.edns) >= 4*maxServers {
		clear(r.edns)
	}
	r.edns[server] = s
}

// knowsEDNS tells whether a response to a question with an OPT record is from a server
// that understood it. Such a response has an OPT record in the right place (RFC 6891
// section 7), and does not report a format error.
func knowsEDNS(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		return false
	}
	return m.IsEdns0() != nil && !strayOPT(m)
}

// strayOPT tells whether an OPT record stands in a wrong place. It stands there if a
// server copies what it does not understand.
func strayOPT(m *dns.Msg) bool {
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range rrs {
			if _, ok := rr.(*dns.OPT); ok {
				return true
			}
		}
	}
	return false
}

// mistakesEDNS tells whether the same question without EDNS may get another answer,
// because this response is not an answer. A response that the name does not exist is an
// answer.
func mistakesEDNS(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeNameError:
		return false
	case dns.RcodeSuccess:
		for _, rr := range m.Answer {
			if rr.Header().Rrtype != dns.TypeOPT {
				return false
			}
		}
		return strayOPT(m)
	}
	return true
}
