package socks

import "strconv"

// Protocol is the protocol that a client speaks.
type Protocol uint8

// The protocols. The first bytes that a client sends tell which it is.
const (
	SOCKS5 Protocol = 1 + iota
	SOCKS4
	SOCKS4a     // SOCKS 4 with a name instead of an address
	HTTPConnect // RFC 9110 section 9.3.6
	HTTP        // requests in absolute form
)

// String is the protocol's name in logs, such as "socks4a".
func (p Protocol) String() string {
	return name(int(p), "protocol", "", "socks5", "socks4", "socks4a", "connect", "http")
}

// Method is an authentication method (RFC 1928 section 3).
type Method uint8

// The known methods.
const (
	MethodNone         Method = 0x00
	MethodGSSAPI       Method = 0x01 // never chosen
	MethodPassword     Method = 0x02 // RFC 1929
	MethodUnacceptable Method = 0xff
)

// String returns the method in words, or its number if it has no name here.
func (m Method) String() string {
	if m == MethodUnacceptable {
		return "no acceptable method"
	}
	return name(int(m), "method", "none", "gssapi", "password")
}

// Command is the command of a request (RFC 1928 section 4).
type Command uint8

// The commands. SOCKS 4 has the first two, HTTP has the first.
const (
	CommandConnect      Command = 1
	CommandBind         Command = 2
	CommandUDPAssociate Command = 3

	// Extensions of SOCKS 5 by Tor, with which a client looks names up
	// (socks-extensions.txt in Tor's specification).
	CommandResolve    Command = 0xf0
	CommandResolvePTR Command = 0xf1
)

// String returns the command in words, or its number if it has no name here.
func (c Command) String() string {
	switch c {
	case CommandResolve:
		return "resolve"
	case CommandResolvePTR:
		return "resolve-ptr"
	}
	return name(int(c), "command", "", "connect", "bind", "udp")
}

// AddrType says how an address is written (RFC 1928 section 5).
type AddrType uint8

// The address types.
const (
	AddrIPv4 AddrType = 1
	AddrName AddrType = 3
	AddrIPv6 AddrType = 4
)

// String returns "ipv4", "ipv6" or "name", or the number of any other type.
func (t AddrType) String() string {
	return name(int(t), "address type", "", "ipv4", "", "name", "ipv6")
}

// name returns names[i], or kind and number if there is no such name.
func name(i int, kind string, names ...string) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return kind + " " + strconv.Itoa(i)
}
