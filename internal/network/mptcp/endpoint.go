package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Endpoint is a local address that the path manager may use: an entry of "ip mptcp
// endpoint". The zero value is not an endpoint.
type Endpoint struct {
	// ID is the address ID of RFC 8684, unique among endpoints. When an endpoint is
	// added, 0 lets the kernel choose. In calls about a single connection, 0 means the
	// address of the first subflow.
	ID    uint8
	Addr  netip.Addr
	Port  uint16 // for FlagSignal only; 0: the connection's port
	Flags Flags
	// Index is the interface that subflows are bound to; 0: the routing table decides.
	Index int
}

// Flags say what an endpoint is used for (MPTCP_PM_ADDR_FLAG_*).
type Flags uint32

// The flags.
const (
	FlagSignal   Flags = 1 << iota // announced to the peer
	FlagSubflow                    // subflows are opened from it
	FlagBackup                     // its subflows carry data only if no other can
	FlagFullmesh                   // subflows to all addresses of the peer; Linux 5.16
	FlagImplicit                   // made by the kernel itself for an address in use; Linux 5.18
	FlagLaminar                    // one subflow for each address that the peer announced; Linux 6.18
)

var flagNames = []string{"signal", "subflow", "backup", "fullmesh", "implicit", "laminar"}

// String gives the names that "ip mptcp" uses: "subflow backup".
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := f &^ (1<<len(flagNames) - 1); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	return strings.Join(names, " ")
}

// Limits bound what the in-kernel path manager does for one connection.
type Limits struct {
	// AddAddrs bounds the peer's announced addresses that are used.
	AddAddrs uint32
	// Subflows bounds the subflows besides the first. The kernel refuses more than
	// MaxSubflows.
	Subflows uint32
}

// MaxSubflows is the kernel's MPTCP_PM_ADDR_MAX. Linux 6.18 raised it for endpoints,
// but not for subflows.
const MaxSubflows = 8

// MaxEndpoints is the number of endpoints that the kernel has room for
// (MPTCP_PM_ADDR_MAX).
const MaxEndpoints = 8

// Attributes of an address (MPTCP_PM_ADDR_ATTR_*).
const (
	addrFamily = iota + 1
	addrID
	addrAddr4
	addrAddr6
	addrPort
	addrFlags
	addrIndex
)

// encode adds the endpoint as a nested attribute.
func (e Endpoint) encode(ae *netlink.AttributeEncoder, attribute uint16) {
	ae.Nested(attribute, func(nae *netlink.AttributeEncoder) error {
		switch a := e.Addr.WithZone(""); {
		case a.Is4():
			nae.Uint16(addrFamily, unix.AF_INET)
			nae.Bytes(addrAddr4, a.AsSlice())
		case a.Is6():
			nae.Uint16(addrFamily, unix.AF_INET6)
			nae.Bytes(addrAddr6, a.AsSlice())
		}
		if e.ID != 0 {
			nae.Uint8(addrID, e.ID)
		}
		if e.Port != 0 {
			nae.Uint16(addrPort, e.Port) // in host byte order, unlike in events
		}
		if e.Flags != 0 {
			nae.Uint32(addrFlags, uint32(e.Flags))
		}
		if e.Index != 0 {
			nae.Int32(addrIndex, int32(e.Index))
		}
		return nil
	})
}

var errAddress = errors.New("address of the wrong length or family")

// decode reads a nested endpoint. It ignores unknown attributes.
func (e *Endpoint) decode(nad *netlink.AttributeDecoder) error {
	for nad.Next() {
		switch nad.Type() {
		case addrID:
			e.ID = nad.Uint8()
		case addrAddr4:
			nad.Do(func(b []byte) error { return address(&e.Addr, b, 4) })
		case addrAddr6:
			nad.Do(func(b []byte) error { return address(&e.Addr, b, 16) })
		case addrPort:
			e.Port = nad.Uint16()
		case addrFlags:
			e.Flags = Flags(nad.Uint32())
		case addrIndex:
			e.Index = int(nad.Int32())
		}
	}
	return nad.Err()
}

// address reads an address of the given length.
func address(to *netip.Addr, b []byte, length int) error {
	a, ok := netip.AddrFromSlice(b)
	if !ok || len(b) != length {
		return errAddress
	}
	*to = a
	return nil
}
