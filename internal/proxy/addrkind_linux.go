package proxy

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrKind says who is reached by an address.
type addrKind int

const (
	others  addrKind = iota
	ownHost          // this host, or whoever is on its link
	group            // several at once
)

// kindOf tells what the kernel takes an address for. The kernel treats more than the
// addresses of interfaces as the host's own (ip-route(8), types local and anycast).
// If the kernel cannot be asked, the address counts as the host's own, which clients
// elsewhere do not reach.
func kindOf(ip netip.Addr) addrKind {
	ip = ip.Unmap()
	switch {
	case ip.IsMulticast():
		return group
	case ip.IsLoopback(), ip.IsLinkLocalUnicast(), ip.IsUnspecified():
		return ownHost
	}
	routes, err := netlink.RouteGet(ip.WithZone("").AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL):
		return others // and no route, or one that forbids
	case err != nil || len(routes) == 0:
		return ownHost
	}
	switch routes[0].Type {
	case unix.RTN_LOCAL, unix.RTN_ANYCAST:
		return ownHost
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST:
		return group
	}
	return others
}
