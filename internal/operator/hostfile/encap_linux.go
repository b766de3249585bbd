package hostfile

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kinds of encapsulations (linux/lwtunnel.h).
const (
	encapMPLS, encapIP, encapIP6, encapSeg6, encapSeg6Local = 1, 2, 4, 5, 7
)

// Attributes of encapsulations: linux/lwtunnel.h for IP and IPv6, where the fourth is the time to
// live or hop limit and the fifth the type of service or traffic class; linux/mpls_iptunnel.h;
// linux/seg6_iptunnel.h; linux/seg6_local.h.
const (
	ipID, ipDst, ipSrc, ipTTL, ipTOS, ipFlags, ipPad                        = 1, 2, 3, 4, 5, 6, 7
	mplsDst, mplsTTL                                                        = 1, 2
	seg6SRH                                                                 = 1
	localAction, localTable, localNH4, localNH6, localVRFTable, localCounts = 1, 3, 4, 5, 9, 10
)

// decodeEncap returns an encapsulation in the words of ip(8). ok is false if no statement can
// express it.
func decodeEncap(kind uint16, data []byte) (text string, ok bool) {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return "", false
	}
	switch kind {
	case encapIP:
		text, ok = decodeTunnel(d, "ip", "ttl", "tos")
	case encapIP6:
		text, ok = decodeTunnel(d, "ip6", "hoplimit", "tc")
	case encapMPLS:
		text, ok = decodeMPLS(d)
	case encapSeg6:
		text, ok = decodeSeg6(d)
	case encapSeg6Local:
		text, ok = decodeSeg6Local(d)
	}
	if ok && d.Err() == nil {
		// The parser accepts everything that this function writes.
		n, err := takeEncapsulation(strings.Fields(text))
		return text, err == nil && n == len(strings.Fields(text))
	}
	return "", false
}

// tunnelFlags are the flags of a tunnel that ip(8) has words for, in the order of their bits
// (linux/if_tunnel.h: TUNNEL_CSUM, TUNNEL_KEY, TUNNEL_SEQ).
var tunnelFlags = []struct {
	bit  uint16
	word string
}{{1, "csum"}, {4, "key"}, {8, "seq"}}

func decodeTunnel(d *netlink.AttributeDecoder, name, ttl, tos string) (string, bool) {
	words := []string{name}
	for d.Next() {
		b := d.Bytes()
		a, isAddress := netip.AddrFromSlice(b)
		switch t := d.Type(); {
		case t == ipID && len(b) == 8:
			words = append(words, fmt.Sprintf("id %d", binary.BigEndian.Uint64(b)))
		case (t == ipDst || t == ipSrc) && isAddress:
			if !a.IsUnspecified() {
				words = append(words, map[uint16]string{ipDst: "dst", ipSrc: "src"}[t]+" "+a.String())
			}
		case (t == ipTTL || t == ipTOS) && len(b) == 1:
			switch {
			case b[0] == 0:
			case t == ipTTL:
				words = append(words, fmt.Sprintf("%s %d", ttl, b[0]))
			default:
				words = append(words, fmt.Sprintf("%s %#x", tos, b[0])) // ip(8) always reads it as hexadecimal
			}
		case t == ipFlags && len(b) == 2:
			flags := binary.BigEndian.Uint16(b)
			for _, f := range tunnelFlags {
				if flags&f.bit != 0 {
					words = append(words, f.word)
					flags &^= f.bit
				}
			}
			if flags != 0 {
				return "", false
			}
		case t == ipPad:
		default: // options, such as Geneve's
			return "", false
		}
	}
	return strings.Join(words, " "), true
}

func decodeMPLS(d *netlink.AttributeDecoder) (string, bool) {
	const labelShift = 12 // of a label stack entry (RFC 3032)
	var labels []string
	ttl := ""
	for d.Next() {
		b := d.Bytes()
		switch {
		case d.Type() == mplsDst:
			for ; len(b) >= 4; b = b[4:] {
				labels = append(labels, fmt.Sprint(binary.BigEndian.Uint32(b)>>labelShift))
			}
		case d.Type() == mplsTTL && len(b) == 1:
			ttl = fmt.Sprintf(" ttl %d", b[0])
		default:
			return "", false
		}
	}
	return mpls + " " + strings.Join(labels, "/") + ttl, len(labels) > 0
}

// seg6Modes are the words for SEG6_IPTUN_MODE_INLINE and those after it.
var seg6Modes = []string{"inline", "encap", "l2encap", "encap.red", "l2encap.red"}

// decodeSeg6 reads a struct seg6_iptunnel_encap: a mode, and a segment routing header (RFC 8754),
// which lists the segments from the last one to the first.
func decodeSeg6(d *netlink.AttributeDecoder) (string, bool) {
	const header, last = 8, 4 // the header's length without segments, and its field with the last index
	text := ""
	for d.Next() {
		b := d.Bytes()
		if d.Type() != seg6SRH || len(b) < 4+header {
			return "", false
		}
		mode, srh := hostUint32(b), b[4:]
		n := int(srh[last]) + 1
		if mode >= uint32(len(seg6Modes)) || len(srh) < header+16*n {
			return "", false
		}
		var list []string
		for i := n - 1; i >= 0; i-- {
			a, _ := netip.AddrFromSlice(srh[header+16*i:][:16])
			list = append(list, a.String())
		}
		if seg6Modes[mode] == "inline" { // the destination of each packet takes the place of the last one
			list = list[:n-1]
		}
		text = "seg6 mode " + seg6Modes[mode] + " segs " + strings.Join(list, ",")
		if len(list) == 0 {
			return "", false
		}
	}
	return text, text != ""
}

// seg6Actions are the words for SEG6_LOCAL_ACTION_END and those after it that have no values but
// tables and next hops.
var seg6Actions = map[uint32]string{
	1: "End", 2: "End.X", 3: "End.T", 5: "End.DX6", 6: "End.DX4", 7: "End.DT6", 8: "End.DT4", 16: "End.DT46",
}

func decodeSeg6Local(d *netlink.AttributeDecoder) (string, bool) {
	action, values := "", ""
	for d.Next() {
		switch t := d.Type(); t {
		case localAction:
			action = seg6Actions[d.Uint32()]
		case localTable:
			values += " table " + tableName(d.Uint32())
		case localVRFTable:
			values += " vrftable " + tableName(d.Uint32())
		case localNH4, localNH6:
			a, ok := netip.AddrFromSlice(d.Bytes())
			if !ok {
				return "", false
			}
			values += map[uint16]string{localNH4: " nh4 ", localNH6: " nh6 "}[t] + a.String()
		default: // a header, a program, an interface, flavors
			return "", false
		}
	}
	return "seg6local action " + action + values, action != ""
}

// encap collects the two attributes of an encapsulation, which come in either order.
type encap struct {
	kind uint16
	data []byte
}

// text returns the encapsulation in the words of ip(8), "" if there is none. ok is false if no
// statement can express it.
func (e *encap) text() (string, bool) {
	if e.kind == 0 && e.data == nil {
		return "", true
	}
	return decodeEncap(e.kind, e.data)
}

// attribute reads an attribute of a route or a next hop, if it belongs to the encapsulation.
func (e *encap) attribute(kind uint16, d *netlink.AttributeDecoder) {
	switch kind {
	case unix.RTA_ENCAP_TYPE:
		e.kind = d.Uint16()
	case unix.RTA_ENCAP:
		e.data = append([]byte{}, d.Bytes()...)
	}
}
