package bsd

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// The families, socket types and protocols of Hints and AddrInfo. Their values are the
// numbers of Linux on every host.
const (
	AFUnspec = 0
	AFInet   = 2
	AFInet6  = 10

	SockStream = 1
	SockDgram  = 2

	ProtoTCP   = 6
	ProtoUDP   = 17
	ProtoMPTCP = 262 // Multipath TCP (RFC 8684)
)

// Flags of Hints, with the numbers of netdb.h on Linux.
const (
	AIPassive     = 0x1
	AICanonName   = 0x2
	AINumericHost = 0x4
	AIAddrConfig  = 0x20 // only families that the host has an address of, apart from 127.0.0.1 and ::1
	AINumericServ = 0x400
)

// maxResults bounds the entries of a result list. Further ones are neither kept nor
// sent.
const maxResults = 64

// Hints narrow what getaddrinfo returns. The zero value and a nil *Hints narrow
// nothing.
type Hints struct {
	Flags    int
	Family   int // AFInet, AFInet6, or AFUnspec for both
	Type     int // SockStream, SockDgram, or 0
	Protocol int // 0: that of the type

	// Intents are used by the function Getaddrinfo only. A Context has its own.
	Intents intent.Set
}

// AddrInfo is one result.
type AddrInfo struct {
	Flags     int
	Family    int
	Type      int
	Protocol  int
	Addr      netip.AddrPort
	CanonName string // set in the first entry only, if AICanonName asks for it

	// Bind is the address to bind a socket to. Options must be set before the socket is
	// connected. SimpleConnect does both. Both are empty if the manager has no
	// preference, and in results of Context.Getaddrinfo.
	Bind    netip.Addr
	Options []client.SocketOption
}

// Getaddrinfo returns the addresses for a node, which is a name or an address, and a
// service, which is a name or a port. One of both may be empty. The manager resolves
// names, on the network that its policy picks. The host's own resolver does so if the
// manager does not answer, or if its answer does not suit the hints. The error is a
// *net.DNSError.
func (c *Context) Getaddrinfo(ctx context.Context, node, service string, hints *Hints) ([]AddrInfo, error) {
	var hint []wire.AddrInfo
	if hints == nil {
		hints = new(Hints)
	} else {
		hint = []wire.AddrInfo{{
			Flags: int32(hints.Flags), Family: int32(hints.Family), Type: int32(hints.Type), Protocol: int32(hints.Protocol),
		}}
	}
	if err := unrestricted(ctx); err != nil {
		return nil, err
	}
	if c == nil {
		return hints.lookup(ctx, node, service)
	}
	st := c.use()
	st.Calls |= wire.CallGetaddrinfo
	st.Hostname, st.Service, st.Hint, st.Result = node, service, hint, nil
	req, daemon := c.requestLocked(wire.ActionResolveRequest), c.daemonLocked()
	c.mu.Unlock()

	var list []AddrInfo
	if isName(node) && hints.Flags&AINumericHost == 0 {
		port, err := hints.port(ctx, service)
		if err != nil {
			return nil, err
		}
		var ans wire.Message
		err = raw.Of(daemon).Exchange(ctx, req, &ans)
		switch {
		case err == nil && ans.Only&wire.OnlyNone != 0:
			return nil, refused(&ans)
		case err == nil && ans.Action == wire.ActionResolveResponse:
			list = hints.suiting(ans.Context.Result, port)
		}
	}
	if len(list) == 0 {
		var err error
		if list, err = hints.lookup(ctx, node, service); err != nil {
			return nil, err
		}
	}
	st = c.use()
	defer c.mu.Unlock()
	st.Result = onWire(list)
	return list, nil
}

// refused makes the error of a call that the policy refuses: EACCES, with the policy's
// reason.
func refused(ans *wire.Message) error {
	if ans.Reason == "" {
		return fmt.Errorf("%w: %w", client.ErrRefused, syscall.EACCES)
	}
	return fmt.Errorf("%w: %s: %w", client.ErrRefused, ans.Reason, syscall.EACCES)
}

// unrestricted returns an error if the SelectionProperties of ctx require or prohibit
// something. The classic calls cannot guarantee that: without a manager they connect
// plainly, over any network.
func unrestricted(ctx context.Context) error {
	if s := client.Selection(ctx); s.Strict() {
		return fmt.Errorf("%w: the classic calls cannot keep to %v", client.ErrNotPermitted, s)
	}
	return nil
}

func isName(node string) bool {
	_, err := netip.ParseAddr(node)
	return node != "" && err != nil
}

// suiting picks the results that the hints ask for. A choice is needed because the
// manager may have resolved for another family (doc/original/client-and-socks.md 6).
func (h *Hints) suiting(result []wire.AddrInfo, port uint16) []AddrInfo {
	var list []AddrInfo
	for i := range result {
		r := &result[i]
		a := r.Addr.AddrPort
		if !a.IsValid() || h.Family != 0 && int(r.Family) != h.Family || h.Type != 0 && int(r.Type) != h.Type {
			continue
		}
		if a.Port() == 0 {
			a = netip.AddrPortFrom(a.Addr(), port)
		}
		list = append(list, AddrInfo{
			Flags:  int(r.Flags & 0x7fffffff), // the original's resolver marks its own flags with the sign bit
			Family: int(r.Family), Type: int(r.Type), Protocol: int(r.Protocol), Addr: a, CanonName: r.CanonName,
		})
	}
	return list
}

func onWire(list []AddrInfo) []wire.AddrInfo {
	var out []wire.AddrInfo
	for _, a := range list[:min(len(list), maxResults)] {
		out = append(out, wire.AddrInfo{
			Flags: int32(a.Flags), Family: int32(a.Family), Type: int32(a.Type), Protocol: int32(a.Protocol),
			Addr: sockAddr(a.Addr),
		})
	}
	return out
}

func (h *Hints) port(ctx context.Context, service string) (uint16, error) {
	if service == "" {
		return 0, nil
	}
	network := "tcp"
	if h.Type == SockDgram {
		network = "udp"
	}
	port, err := raw.Port(ctx, net.DefaultResolver, network, service)
	if _, known := err.(*net.DNSError); err != nil && !known {
		err = &net.DNSError{Err: err.Error(), Name: service, IsNotFound: true}
	}
	return port, err
}

// lookup does what getaddrinfo(3) does, without the manager.
func (h *Hints) lookup(ctx context.Context, node, service string) ([]AddrInfo, error) {
	if node == "" && service == "" || h.Flags&AINumericHost != 0 && isName(node) ||
		h.Flags&AINumericServ != 0 && strings.Trim(service, "0123456789") != "" {
		return nil, &net.DNSError{Err: "no such host", Name: node, IsNotFound: true} // EAI_NONAME
	}
	h, err := h.configured(node)
	if err != nil {
		return nil, err
	}
	port, err := h.port(ctx, service)
	if err != nil {
		return nil, err
	}
	addrs, err := h.addresses(ctx, node)
	if err != nil {
		return nil, err
	}
	canonical := ""
	if h.Flags&AICanonName != 0 {
		canonical = node
		if isName(node) {
			if name, err := net.DefaultResolver.LookupCNAME(ctx, node); err == nil {
				canonical = strings.TrimSuffix(name, ".")
			}
		}
	}
	types := []int{h.Type}
	if h.Type == 0 {
		types = []int{SockStream, SockDgram}
	}
	var list []AddrInfo
	for _, a := range addrs {
		for _, typ := range types {
			list = append(list, AddrInfo{
				Flags: h.Flags, Family: familyOf(a), Type: typ, Protocol: h.protocol(typ, false), Addr: netip.AddrPortFrom(a, port),
			})
		}
	}
	list[0].CanonName = canonical
	return list, nil
}

// configured narrows the family if AIAddrConfig is set.
func (h *Hints) configured(node string) (*Hints, error) {
	if h.Flags&AIAddrConfig == 0 {
		return h, nil
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var four, six bool
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && !n.IP.Equal(net.IPv6loopback) && !n.IP.Equal(net.IPv4(127, 0, 0, 1)) {
			four, six = four || n.IP.To4() != nil, six || n.IP.To4() == nil
		}
	}
	narrowed := *h
	var ok bool
	if narrowed.Family, ok = addrConfig(h.Family, four, six); !ok {
		return nil, &net.DNSError{Err: "this host has no address of the family", Name: node, IsNotFound: true} // EAI_NONAME
	}
	return &narrowed, nil
}

// addrConfig does what getaddrinfo(3) of glibc does. If the host has addresses of only
// one family, results have that family, and a request for the other family fails. A
// host without any address narrows nothing.
func addrConfig(family int, four, six bool) (narrowed int, ok bool) {
	switch {
	case family == AFInet:
		return family, four
	case family == AFInet6:
		return family, six
	case four && !six:
		return AFInet, true
	case six && !four:
		return AFInet6, true
	}
	return family, true
}

// addresses returns at least one address, or an error.
func (h *Hints) addresses(ctx context.Context, node string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	switch {
	case node == "" && h.Flags&AIPassive != 0:
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	case node == "":
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	default:
		var err error
		if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", node); err != nil {
			return nil, err
		}
	}
	var suiting []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); h.Family == 0 || familyOf(a) == h.Family {
			suiting = append(suiting, a)
		}
	}
	if len(suiting) == 0 {
		return nil, &net.DNSError{Err: "no suitable address", Name: node, IsNotFound: true}
	}
	return suiting, nil
}

// protocol returns the protocol number of a result.
func (h *Hints) protocol(typ int, multipath bool) int {
	switch {
	case h.Protocol != 0:
		return h.Protocol
	case typ == SockDgram:
		return ProtoUDP
	case typ == SockStream && multipath:
		return ProtoMPTCP
	case typ == SockStream:
		return ProtoTCP
	}
	return 0
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return AFInet
	}
	return AFInet6
}

func nativeInt(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// sockAddr converts a to the protocol's form. A zone that is not a number is dropped,
// because the protocol has no field for its name.
func sockAddr(a netip.AddrPort) wire.SockAddr {
	if zone := a.Addr().Zone(); zone != "" {
		if _, err := strconv.ParseUint(zone, 10, 32); err != nil {
			a = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
		}
	}
	return wire.SockAddr{AddrPort: a}
}
