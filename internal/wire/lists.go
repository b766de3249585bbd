package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// decodeSockAddr decodes an address with the length that its family needs, and ignores
// bytes after that.
func decodeSockAddr(v []byte) (SockAddr, error) {
	if len(v) < inetSize {
		return SockAddr{}, errLength
	}
	port := binary.BigEndian.Uint16(v[2:])
	switch le.Uint16(v) {
	case AFInet:
		ip := netip.AddrFrom4([4]byte(v[4:8]))
		return SockAddr{AddrPort: netip.AddrPortFrom(ip, port)}, nil
	case AFInet6:
		if len(v) < inet6Size {
			return SockAddr{}, errLength
		}
		ip := netip.AddrFrom16([16]byte(v[8:24]))
		if scope := le.Uint32(v[24:]); scope != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return SockAddr{netip.AddrPortFrom(ip, port), binary.BigEndian.Uint32(v[4:])}, nil
	}
	return SockAddr{}, errFamily
}

// decodeAddrInfos decodes an addrinfo list (section 4.4) into the memory of list. It
// ignores bytes after the last entry.
func decodeAddrInfos(v []byte, list []AddrInfo) ([]AddrInfo, error) {
	list = list[:0]
	for next := true; next; {
		if len(v) < addrInfoSize {
			return list[:0], errTruncated
		}
		list = grow(list)
		a := &list[len(list)-1]
		canonName := a.CanonName
		*a = AddrInfo{
			Flags:    int32(le.Uint32(v)),
			Family:   int32(le.Uint32(v[4:])),
			Type:     int32(le.Uint32(v[8:])),
			Protocol: int32(le.Uint32(v[12:])),
		}
		addrLen := uint64(le.Uint32(v[16:]))
		hasAddr := le.Uint64(v[24:]) != 0
		hasName := le.Uint64(v[32:]) != 0
		next = le.Uint64(v[40:]) != 0
		v = v[addrInfoSize:]

		var err error
		if hasAddr {
			if addrLen > uint64(len(v)) {
				return list[:0], errTruncated
			}
			if a.Addr, err = decodeSockAddr(v[:addrLen]); err != nil {
				return list[:0], err
			}
			v = v[addrLen:]
		}
		if hasName {
			if len(v) < 8 {
				return list[:0], errTruncated
			}
			nameLen := le.Uint64(v)
			if v = v[8:]; nameLen > uint64(len(v)) {
				return list[:0], errTruncated
			}
			if a.CanonName, err = decodeString(v[:nameLen], canonName); err != nil {
				return list[:0], err
			}
			v = v[nameLen:]
		}
	}
	return list, nil
}

// decodeSockOpts decodes a socket option list (section 4.5) into the memory of list. It
// ignores bytes after the last entry.
func decodeSockOpts(v []byte, list []SockOpt) ([]SockOpt, error) {
	list = list[:0]
	for next := true; next; {
		if len(v) < sockOptSize {
			return list[:0], errTruncated
		}
		list = grow(list)
		o := &list[len(list)-1]
		*o = SockOpt{
			Level:       int32(le.Uint32(v)),
			Name:        int32(le.Uint32(v[4:])),
			Value:       o.Value[:0],
			ReturnValue: int32(le.Uint32(v[20:])),
			Flags:       SockOptFlags(le.Uint32(v[24:])),
		}
		valueLen := uint64(le.Uint32(v[16:]))
		hasValue := le.Uint64(v[8:]) != 0
		next = le.Uint64(v[32:]) != 0
		v = v[sockOptSize:]
		if hasValue {
			if valueLen > uint64(len(v)) {
				return list[:0], errTruncated
			}
			o.Value = append(o.Value, v[:valueLen]...)
			v = v[valueLen:]
		}
	}
	return list, nil
}
