package proxy

import (
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
	return others // also if there is no route, or one that refuses
}
