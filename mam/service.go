package mam

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Flags of struct addrinfo, as on Linux. What becomes of each in a hint:
//
//	AI_PASSIVE      without a name the results are addresses to listen at
//	AI_CANONNAME    the first result has the canonical name
//	AI_NUMERICHOST  a name is not resolved: error
//	AI_V4MAPPED     nothing: results are of the family asked for, as in the original
//	AI_ALL          nothing, for the same reason
//	AI_ADDRCONFIG   results are of the families that the host has addresses of
//	AI_NUMERICSERV  a service by name is not looked up: error
//	AI_IDN, …       nothing: names are ASCII
const (
	aiPassive     = 0x1
	aiCanonName   = 0x2
	aiNumericHost = 0x4
	aiAddrConfig  = 0x20
	aiNumericServ = 0x400
)

// hint returns the first of a request's hints. Further hints do not exist.
func hint(c *wire.Context) wire.AddrInfo {
	if len(c.Hint) > 0 {
		return c.Hint[0]
	}
	return wire.AddrInfo{Type: c.Type, Protocol: c.Protocol}
}

// socketType returns the type of sockets that the results are for, 0 for any.
func (rq *request) socketType(c *wire.Context) int32 {
	h := hint(c)
	switch {
	case c.Type != 0 && !rq.resolves():
		return c.Type
	case h.Type != 0:
		return h.Type
	case h.Protocol == wire.ProtoTCP, h.Protocol == wire.ProtoMPTCP:
		return wire.SockStream
	case h.Protocol == wire.ProtoUDP:
		return wire.SockDgram
	}
	return 0
}

// transport returns the protocol that a service is looked up for, as services(5) names
// it: the protocol that the client asks for, else that of the socket type, else "" for
// any.
func (rq *request) transport(c *wire.Context) string {
	switch h := hint(c); h.Protocol {
	case wire.ProtoTCP, wire.ProtoMPTCP:
		return "tcp"
	case wire.ProtoUDP:
		return "udp"
	case 0:
	default:
		return "protocol " + strconv.Itoa(int(h.Protocol)) // services(5) has no such protocol
	}
	switch rq.socketType(c) {
	case wire.SockStream:
		return "tcp"
	case wire.SockDgram:
		return "udp"
	}
	return ""
}

// checkName tells why the request's name cannot be looked up. If it can, checkName
// fills in the port. The error has the form of the original's resolver library, action
// 11. A service is looked up for the transport that the client asks for.
func (rq *request) checkName(c *wire.Context, s *services) error {
	h := hint(c)
	for _, f := range []int32{h.Family, c.Domain} {
		if f != wire.AFUnspec && f != wire.AFInet && f != wire.AFInet6 {
			return fmt.Errorf("address family %d", f)
		}
	}
	switch _, literal := rq.view.literal(rq.asked.Host); {
	case c.EmptyHostname:
		return errors.New("the name is empty")
	case c.Hostname == "" && c.Service == "" && !c.EmptyService:
		return errors.New("neither a name nor a service")
	case c.Hostname != "" && h.Flags&aiNumericHost != 0 && !literal:
		return fmt.Errorf("%q is not an address, and nothing else is wanted", rq.asked.Host)
	case h.Flags&aiAddrConfig != 0 && !rq.view.configured(rq.asked.Network.Family):
		return fmt.Errorf("this host has no %v address", rq.asked.Network.Family)
	}
	if c.Service == "" && !c.EmptyService {
		return nil
	}
	n, err := s.port(rq.transport(c), c.Service, h.Flags&aiNumericServ != 0)
	rq.asked.Port = n
	return err
}

// nameless returns what getaddrinfo(3) gives for a service without a name: this host's
// loopback addresses, or the addresses to listen at if passive is set. IPv4 comes
// first, as with the original.
func nameless(f policy.Family, passive bool) (list []netip.Addr) {
	four, six := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	if passive {
		four, six = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	}
	if f != policy.IPv6 {
		list = append(list, four)
	}
	if f != policy.IPv4 {
		list = append(list, six)
	}
	return list
}

// configured tells whether the host has an address of family f that is not a loopback
// one. It is always true for the unspecified family.
func (v *View) configured(f policy.Family) bool {
	return v.Configured == nil || f == policy.Unspecified || v.Configured(f)
}

// addrConfig applies AI_ADDRCONFIG as glibc's getaddrinfo(3) does: if the host has
// addresses of only one family, f becomes that family. A host without any address, and
// so without a network, changes nothing.
func (v *View) addrConfig(f policy.Family) policy.Family {
	if four := v.configured(policy.IPv4); f == policy.Unspecified && four != v.configured(policy.IPv6) {
		if four {
			return policy.IPv4
		}
		return policy.IPv6
	}
	return f
}
