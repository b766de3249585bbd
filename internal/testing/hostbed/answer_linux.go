package hostbed

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Lengths of headers.
const (
	ethernet = 14
	header4  = 20
	header6  = 40
	headerT  = 20 // of TCP without options
)

// answer returns the world's answer to a frame or a packet. It is nil if the world does
// not answer.
func (x *wire) answer(b []byte) []byte {
	if !x.frames {
		return x.packet(b, x.shown)
	}
	if len(b) < ethernet || bytes.Equal(b[6:12], x.mac) {
		return nil // a frame that the world itself has sent
	}
	source := slices.Clone(b[6:12])
	var reply []byte
	switch be(b[12:]) {
	case unix.ETH_P_ARP:
		reply = x.arp(b[ethernet:])
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		reply = x.packet(b[ethernet:], x.world.stacked.of(source, x.shown))
	}
	if reply == nil {
		return nil
	}
	return slices.Concat(source, x.mac, b[12:14], reply)
}

// arp answers a request for any neighbour that has not failed (RFC 826).
func (x *wire) arp(b []byte) []byte {
	if len(b) < 28 || be(b[6:]) != 1 {
		return nil
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if sender == target || sender.IsUnspecified() || x.dead(target) {
		return nil // an announcement, or a search for duplicates
	}
	return slices.Concat(b[:6], []byte{0, 2}, x.mac, b[24:28], b[8:18])
}

// packet notes the first packet to a destination and the device that it came by. It
// answers TCP and neighbour discovery.
func (x *wire) packet(b []byte, device string) []byte {
	if len(b) < 1 {
		return nil
	}
	var source, dst netip.Addr
	var protocol byte
	var body []byte
	switch {
	case b[0]>>4 == 4 && len(b) >= header4 && len(b) >= int(b[0]&15)*4:
		source, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		protocol, body = b[9], b[int(b[0]&15)*4:]
	case b[0]>>4 == 6 && len(b) >= header6:
		source, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		protocol, body = b[6], b[header6:]
	default:
		return nil
	}
	switch {
	case protocol == unix.IPPROTO_ICMPV6 && len(body) >= 24 && body[0] == neighbourSolicitation:
		return x.neighbour(source, body)
	case protocol == unix.IPPROTO_UDP && len(body) >= 8:
		x.world.seen.add(flow{netip.AddrPortFrom(dst, be(body[2:])), true}, Packet{source, device})
	case protocol == unix.IPPROTO_TCP && len(body) >= headerT && body[13]&(flagSYN|flagACK|flagRST) == flagSYN:
		x.world.seen.add(flow{netip.AddrPortFrom(dst, be(body[2:])), false}, Packet{source, device})
		return accept(source, dst, body)
	}
	return nil
}

// Types of ICMPv6, and the flags of an advertisement: router, solicited, override
// (RFC 4861).
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	advertisementFlags     = 0xe0
)

// neighbour answers for any neighbour that has not failed (RFC 4861, section 7.2.4).
// The answer always says that the neighbour is a router, because the kernel drops the
// routes by a router that loses that role.
func (x *wire) neighbour(source netip.Addr, body []byte) []byte {
	target := netip.AddrFrom16([16]byte(body[8:24]))
	if source.IsUnspecified() || !x.frames || x.dead(target) {
		return nil
	}
	message := slices.Concat([]byte{neighbourAdvertisement, 0, 0, 0, advertisementFlags, 0, 0, 0}, body[8:24], []byte{2, 1}, x.mac)
	return wrap(target, source, unix.IPPROTO_ICMPV6, message, 2)
}

// Flags of TCP (RFC 9293).
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// accept returns the answer that accepts a TCP connection.
func accept(source, dst netip.Addr, syn []byte) []byte {
	b := make([]byte, headerT)
	copy(b[0:2], syn[2:4])
	copy(b[2:4], syn[0:2])
	binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(syn[4:])+1)
	b[12], b[13] = headerT/4<<4, flagSYN|flagACK
	binary.BigEndian.PutUint16(b[14:], 65535)
	return wrap(dst, source, unix.IPPROTO_TCP, b, 16)
}

// wrap puts a message into an IP packet. It writes the message's checksum at offset
// sum.
func wrap(from, to netip.Addr, protocol byte, message []byte, sum int) []byte {
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, 0, byte(len(message) >> 8), byte(len(message)), 0, 0, 0, protocol}, message)
	binary.BigEndian.PutUint16(message[sum:], checksum(pseudo))
	if from.Is4() {
		h := make([]byte, header4)
		h[0], h[8], h[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(h[2:], uint16(header4+len(message))) //nolint:gosec // messages are short
		copy(h[12:], from.AsSlice())
		copy(h[16:], to.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return append(h, message...)
	}
	h := make([]byte, header6)
	h[0], h[6], h[7] = 0x60, protocol, 255
	binary.BigEndian.PutUint16(h[4:], uint16(len(message))) //nolint:gosec // messages are short
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return append(h, message...)
}

// checksum returns the Internet checksum of b (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(be(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
