package proxy

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrKind is whom an address reaches.
type addrKind int

const (
	others  addrKind = iota
	ownHost          // this host, or whoever is on its link
	group            // several at once
)

// kindOf tells what the kernel takes an address for: what it treats as its own is
// more than the addresses of interfaces (ip-route(8), types local and anycast).
// What cannot be found out counts as the host's own.
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
