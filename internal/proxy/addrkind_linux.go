package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// addrKind says whom an address reaches.
type addrKind int

const (
	others  addrKind = iota
	ownHost          // this host, or whoever is on its link
	group            // several hosts at once
)

// kindOf tells what the kernel takes an address for. The kernel treats more than the
// addresses of interfaces as the host's own (ip-route(8), types local and anycast).
// If the kernel cannot be asked, the address counts as the host's own, which clients
// elsewhere do not reach.
func kindOf(ip netip.Addr) addrKind {
	ip = ip.Unmap()
	switch {
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}): // without a default route the kernel does not know these
		return group
	case ip.IsLoopback(), ip.IsLinkLocalUnicast(), ip.IsUnspecified():
		return ownHost
	}
	k, err := oracle.Open(0)
	if err != nil {
		return ownHost
	}
	defer k.Close()
	a, err := k.Match(oracle.Question{Dst: ip})
	if err != nil {
		return ownHost
	}
	switch a.Kind {
	case unix.RTN_LOCAL, unix.RTN_ANYCAST:
		return ownHost
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST:
		return group
	}
	return kindOnInterfaces(ip) // also if there is no route, or one that refuses
}

// kindOnInterfaces tells whether an address is one of the interfaces' own, or the
// broadcast address of one. Those of interfaces in a VRF are in another routing table than
// the kernel looks into without a device, but a socket bound to that device reaches them.
// If the interfaces cannot be listed, the address counts as the host's own.
func kindOnInterfaces(ip netip.Addr) addrKind {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ownHost
	}
	kind := others
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		own, _ := netip.AddrFromSlice(n.IP)
		if own = own.Unmap(); own == ip {
			return ownHost
		}
		if bits, _ := n.Mask.Size(); own.Is4() && ip.Is4() && bits <= 30 && netip.PrefixFrom(own, bits).Contains(ip) {
			b := ip.As4()
			if host := ^uint32(0) >> bits; binary.BigEndian.Uint32(b[:])&host == host {
				kind = group
			}
		}
	}
	return kind
}
