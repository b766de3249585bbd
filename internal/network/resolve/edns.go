package resolve

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the largest response that we ask for over UDP: one that
	// passes every link unfragmented (DNS Flag Day 2020, RFC 9715).
	ednsSize = 1232

	// A server that has no EDNS is asked without for minEDNSHold, and each time
	// that this shows again twice as long, as systemd-resolved has it.
	minEDNSHold = 5 * time.Minute
	maxEDNSHold = 6 * time.Hour
)

// ednsState is what is remembered of a server that was asked with EDNS.
type ednsState struct {
	spoke   bool          // its last answer had an OPT record
	suspect bool          // it was silent; whether it is without too shows next
	until   time.Time     // it is asked without until then
	hold    time.Duration // how long that was
}

// usesEDNS tells whether a server is to be asked with EDNS.
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

// suspectEDNS notes that a server was silent: with EDNS, which may be the reason,
// or without, which then was not.
func (r *Resolver) suspectEDNS(server netip.AddrPort, edns bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.edns[server]
	s.suspect = edns
	r.rememberLocked(server, s)
}

// lacksEDNS notes that a server answered as one that does not know EDNS. With
// silent it answered when it was asked without: that tells something only of one
// under suspicion, and of one that spoke EDNS before only the second time, since
// packets get lost.
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
	// Old settings may have named other servers.
	if _, known := r.edns[server]; !known && len(r.edns) >= 4*maxServers {
		clear(r.edns)
	}
	r.edns[server] = s
}

// knowsEDNS tells whether the response to a question with an OPT record is that
// of a server that understood it: it has one too, where it belongs (RFC 6891
// section 7), and is no complaint about it.
func knowsEDNS(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		return false
	}
	return m.IsEdns0() != nil && !strayOPT(m)
}

// strayOPT tells whether an OPT record stands where only servers put it that copy
// what they do not understand.
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

// mistakesEDNS tells whether the same question may be answered otherwise without
// EDNS: the response to it is no answer. That a name does not exist is one.
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
