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
	Optional    bool // the connection is to be made even if setting it fails
}

// Endpoint is one address to connect to, with what is to be done to the socket
// before. LocalAddr, Multipath and Control are ready for a net.Dialer, and for a
// net.ListenConfig where the socket is to be used without connecting it.
type Endpoint struct {
	Source    netip.Addr // to bind to, port 0; invalid: the kernel chooses
	Multipath bool       // to be opened with MPTCP
	Options   []SocketOption
	Remote    netip.AddrPort
}

// LocalAddr is Source as net.Dialer.LocalAddr takes it for a network of tcp or
// udp: nil if there is none, or for another network.
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

// Control sets the Options on a socket before it is bound, for net.Dialer.Control
// and net.ListenConfig.Control. It does not bind the socket: that is LocalAddr's
// business in a Dialer, and that of the address in a ListenConfig. An option that
// fails is an error unless it is optional. Elsewhere than on Linux it does
// nothing: there are no options.
func (e Endpoint) Control(network, _ string, raw syscall.RawConn) error {
	options := make([]wire.SockOpt, 0, len(e.Options))
	for _, o := range e.Options {
		option := wire.SockOpt{Level: int32(o.Level), Name: int32(o.Name), Value: o.Value}
		if o.Optional {
			option.Flags = wire.SockOptOptional
		}
		options = append(options, option)
	}
	// A datagram socket that is not connected needs its port when it is bound.
	return applyOptions(raw, e.Source.IsValid() && strings.HasPrefix(network, "tcp"), options)
}
