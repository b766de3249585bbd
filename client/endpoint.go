package client

import (
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// SocketOption is an option that the manager suggests for a socket, as
// setsockopt(2) takes it.
type SocketOption struct {
	Level, Name int
	Value       []byte
	Optional    bool // if the option cannot be set, connect all the same
}

// Endpoint is one address to connect to, with the settings for its socket. LocalAddr,
// Multipath and Control can be handed to a net.Dialer. For a socket that is not
// connected, Control can be handed to a net.ListenConfig.
type Endpoint struct {
	Candidate Candidate  // which of the manager's suggestions it is
	Source    netip.Addr // to bind to, port 0; invalid: the kernel chooses
	Multipath bool       // to be opened with MPTCP
	Options   []SocketOption
	Remote    netip.AddrPort
}

// LocalAddr returns Source in the form of net.Dialer.LocalAddr, for a network of tcp or
// udp. It returns nil for another network, or if Source is invalid.
func (e Endpoint) LocalAddr(network string) net.Addr {
	local := netip.AddrPortFrom(e.Source, 0)
	switch {
	case !e.Source.IsValid():
	case strings.HasPrefix(network, "tcp"):
		return net.TCPAddrFromAddrPort(local)
	case strings.HasPrefix(network, "udp"):
		return net.UDPAddrFromAddrPort(local)
	}
	return nil
}

// Control sets the Options on a socket, and is meant for net.Dialer.Control and
// net.ListenConfig.Control. It runs before the socket is bound, and does not bind it:
// in a Dialer LocalAddr does, in a ListenConfig the address to listen at. If an option
// cannot be set, that is an error unless the option is optional. On other systems than
// Linux Control does nothing, since there are no options.
func (e Endpoint) Control(network, _ string, raw syscall.RawConn) error {
	options := make([]wire.SockOpt, 0, len(e.Options))
	for _, o := range e.Options {
		option := wire.SockOpt{Level: int32(o.Level), Name: int32(o.Name), Value: o.Value}
		if o.Optional {
			option.Flags = wire.SockOptOptional
		}
		options = append(options, option)
	}
	// A datagram socket that is never connected gets its port when it is bound. Only
	// TCP may choose the port later.
	return applyOptions(raw, e.Source.IsValid() && strings.HasPrefix(network, "tcp"), options)
}
