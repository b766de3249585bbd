package resolve

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// matching returns the message in data if it is the response to query, else nil (RFC
// 5452 section 9.1). The kernel has already compared the addresses.
func matching(query *dns.Msg, data []byte) *dns.Msg {
	// The cheap test comes first, so that a flood of forgeries costs little.
	if len(data) < headerSize || binary.BigEndian.Uint16(data) != query.Id {
		return nil
	}
	msg := new(dns.Msg)
	// The library is given the header alone. It then reads nothing more, and does not
	// trust the counts in it.
	if err := msg.Unpack(data[:headerSize]); err != nil || !msg.Response || msg.Opcode != dns.OpcodeQuery {
		return nil
	}
	questions := binary.BigEndian.Uint16(data[4:])
	if questions == 0 {
		// Servers that fail or refuse often send only a header.
		if msg.Rcode == dns.RcodeSuccess || msg.Rcode == dns.RcodeNameError {
			return nil
		}
		return msg
	}
	name, off, err := dns.UnpackDomainName(data, headerSize)
	if err != nil || questions > 1 || off+4 > len(data) {
		return nil
	}
	got := dns.Question{Name: name, Qtype: binary.BigEndian.Uint16(data[off:]), Qclass: binary.BigEndian.Uint16(data[off+2:])}
	want := query.Question[0]
	if got.Qtype != want.Qtype || got.Qclass != want.Qclass || dns.CanonicalName(got.Name) != want.Name {
		return nil
	}
	msg.Question = []dns.Question{got}
	if whole := readRecords(msg, data, off+4); !whole && !msg.Truncated && len(msg.Answer) == 0 {
		return nil
	}
	return msg
}

// readRecords reads the sections after the question. It is as lenient as is safe: it
// leaves out a record with malformed data, and errors after the answer section do no
// harm. It returns whether the answer section was read to its end.
func readRecords(msg *dns.Msg, data []byte, off int) (whole bool) {
	var rrs []dns.RR
	rrs, off, whole = section(data, off, 6)
	for _, rr := range rrs {
		// Records of other types, such as signatures, are not needed.
		switch rr.(type) {
		case *dns.A, *dns.AAAA, *dns.CNAME, *dns.OPT:
			msg.Answer = append(msg.Answer, rr)
		}
	}
	if !whole {
		return false
	}
	msg.Ns, off, whole = section(data, off, 8)
	if whole {
		msg.Extra, _, _ = section(data, off, 10)
	}
	if opt := msg.IsEdns0(); opt != nil {
		msg.Rcode |= opt.ExtendedRcode()
	}
	return true
}

// section reads a section at off, whose number of records is in the header at count. It
// returns the start of the next section. whole is false if the end of this one was not
// found.
func section(data []byte, off, count int) (rrs []dns.RR, next int, whole bool) {
	for range binary.BigEndian.Uint16(data[count:]) {
		rr, end, err := dns.UnpackRR(data, off)
		if err != nil {
			// If a record is malformed inside, its end is known. If its header is
			// missing, its end is not known. At the end of the data both look alike.
			if end >= len(data) {
				return rrs, len(data), false
			}
		} else {
			rrs = append(rrs, rr)
		}
		off = end
	}
	return rrs, off, true
}
