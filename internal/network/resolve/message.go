package resolve

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// matching returns the message in data if it is the response to query, else nil
// (RFC 5452 section 9.1; the addresses were compared by the kernel).
func matching(query *dns.Msg, data []byte) *dns.Msg {
	// The cheap test first: a flood of forgeries should cost little.
	if len(data) < headerSize || binary.BigEndian.Uint16(data) != query.Id {
		return nil
	}
	msg := new(dns.Msg)
	// Of a message that ends with its header, the library reads no more and takes
	// no count for true.
	if err := msg.Unpack(data[:headerSize]); err != nil || !msg.Response || msg.Opcode != dns.OpcodeQuery {
		return nil
	}
	questions := binary.BigEndian.Uint16(data[4:])
	if questions == 0 {
		// Servers that fail or decline often send nothing but a header.
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

// readRecords reads the sections behind the question, as leniently as costs
// nothing: a record whose data is malformed is left out, and what is wrong
// behind the answer section does not spoil it. It tells whether the answer
// section was read to its end.
func readRecords(msg *dns.Msg, data []byte, off int) (whole bool) {
	var rrs []dns.RR
	rrs, off, whole = section(data, off, 6)
	for _, rr := range rrs {
		// What else there is, signatures among it, is not used.
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

// section reads a section at off whose length is in the header at count, and
// returns where the next one begins. It is not whole if its end was not found.
func section(data []byte, off, count int) (rrs []dns.RR, next int, whole bool) {
	for range binary.BigEndian.Uint16(data[count:]) {
		rr, end, err := dns.UnpackRR(data, off)
		if err != nil {
			// The end of a record that is malformed inside is known, that of one
			// that has no header is not. At the end of data they look alike.
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
