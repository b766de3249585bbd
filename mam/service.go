package mam

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// maxService is longer than any registered service name (RFC 6335 section 5.1
// allows 15 bytes).
const maxService = 64

// port returns the port of a service: a decimal number from 0 to 65535, or, unless
// numeric is set, a name in the host's services database, without which the
// common ones are still known. The network is "tcp" or "udp"; with "" a name may
// be of either, tcp before udp.
func port(network, service string, numeric bool) (uint16, error) {
	if isDecimal(service) {
		n, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("port %q: not in 0 to 65535", service[:min(len(service), maxService)])
		}
		return uint16(n), nil
	}
	// The library would also take signs and, for "", port 0.
	if numeric || len(service) > maxService || !isServiceName(service) {
		return 0, fmt.Errorf("service %q: neither a port nor a name", service[:min(len(service), maxService)])
	}
	networks := []string{network}
	if network == "" {
		networks = []string{"tcp", "udp"}
	}
	var err error
	for _, network := range networks {
		var n int
		if n, err = net.LookupPort(network, service); err == nil {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("service %q: %w", service, err)
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isServiceName tells whether s could stand in a services file: it begins with
// a letter or digit and has no blanks or control characters.
func isServiceName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[0] != '+'
}

// Flags of struct addrinfo, as on Linux. What becomes of each in a hint:
//
//	AI_PASSIVE      without a name the results are addresses to listen at
//	AI_CANONNAME    the first result has the canonical name
//	AI_NUMERICHOST  a name is not resolved: error
//	AI_V4MAPPED     nothing: results are of the family asked for, as in the original
//	AI_ALL          nothing, for the same reason
//	AI_ADDRCONFIG   nothing: results fit the networks that there are anyway
//	AI_NUMERICSERV  a service by name is not looked up: error
//	AI_IDN, …       nothing: names are ASCII
const (
	aiPassive     = 0x1
	aiCanonName   = 0x2
	aiNumericHost = 0x4
	aiNumericServ = 0x400
)

// hint is the first of a request's hints, which is all that there is of them.
func hint(c *wire.Context) wire.AddrInfo {
	if len(c.Hint) > 0 {
		return c.Hint[0]
	}
	return wire.AddrInfo{Type: c.Type, Protocol: c.Protocol}
}

// socketType is the type of sockets that results are for, 0 if for any.
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

// checkName tells why a name cannot be looked up as a request says, and else
// fills in its port: the error is that of the original's resolver library, action
// 11. A service is looked up for the transport that the client asks for.
func (rq *request) checkName(c *wire.Context) error {
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
		return fmt.Errorf("%q is no address, and nothing else is wanted", rq.asked.Host)
	}
	if c.Service == "" && !c.EmptyService {
		return nil
	}
	network := ""
	switch rq.socketType(c) {
	case wire.SockStream:
		network = "tcp"
	case wire.SockDgram:
		network = "udp"
	}
	n, err := port(network, c.Service, h.Flags&aiNumericServ != 0)
	rq.asked.Port = n
	return err
}

// nameless is what getaddrinfo(3) gives for a service without a name: this host's
// loopback addresses, or with AI_PASSIVE those to listen at, IPv4 first as in the
// original.
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
