// Package sockdiag asks the kernel about one socket of this host (sock_diag(7)). The
// kernel finds the socket by its addresses, so the time does not depend on the number
// of sockets. No privileges are needed, except for sockets of other network namespaces.
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// AnyCookie asks for the socket that has the addresses at present, whatever its cookie.
const AnyCookie = ^uint64(0)

// ErrNotFound means that there is no such socket any more.
var ErrNotFound = errors.New("there is no such socket")

// Socket is what the kernel says about a socket.
type Socket struct {
	State uint8  // as net/tcp_states.h numbers them
	UID   uint32 // of its owner; means nothing if Inode is 0
	Inode uint32 // of its file; 0: its process has closed it, so nobody owns it
	// Cookie is a number that no other socket has until the host is restarted (SO_COOKIE).
	Cookie uint64
	// Sent and Received are the numbers of data bytes on a TCP connection: sent and
	// acknowledged, and received in order. Sent is one too high while further bytes are
	// under way. Both are valid only if Counted is set.
	Sent, Received uint64
	Counted        bool
}

const (
	byFamily     = 20 // SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
	requestSize  = 56 // struct inet_diag_req_v2, linux/inet_diag.h
	messageSize  = 72 // struct inet_diag_msg
	offsetBound  = 44 // idiag_if in the request
	offsetCookie = 48 // idiag_cookie there
	offsetPort   = 4  // idiag_sport in the message
	offsetLocal  = 8  // idiag_src there
	offsetOwn    = 44 // idiag_cookie there
	offsetUID    = 64 // idiag_uid in the message
	offsetInode  = 68 // idiag_inode there
	infoType     = 2  // INET_DIAG_INFO: an attribute with a struct tcp_info
	offsetAcked  = 120
	offsetGot    = 128 // tcpi_bytes_received; tcpi_bytes_acked is before it (Linux 4.1)
	offsetSent   = 200 // tcpi_bytes_sent, and tcpi_bytes_retrans after it (Linux 4.19)
)

// tcpListen is the state of a listening socket (net/tcp_states.h).
const tcpListen = 10

// The states in which the peer has ended and the kernel still gives figures
// (net/tcp_states.h).
const (
	tcpCloseWait = 8
	tcpLastACK   = 9
	tcpClosing   = 11
)

// Conn is a netlink socket for questions. It is safe for concurrent use.
type Conn struct{ conn *netlink.Conn }

// Dial opens a Conn.
func Dial() (*Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &Conn{c}, nil
}

// Close closes the netlink socket.
func (c *Conn) Close() error { return c.conn.Close() }

// Get returns the socket of a protocol (IPPROTO_TCP, IPPROTO_UDP) with these two
// addresses and this cookie (SO_COOKIE), which may be AnyCookie. The error is
// ErrNotFound if the socket is gone, or if a new one has another cookie.
//
// The kernel looks for the socket that would get a packet with these addresses. For
// TCP, once the connection is gone, that is a listening socket, and the error is
// ErrNotFound too. For UDP it may be one of several sockets (see Bound).
func (c *Conn) Get(protocol byte, local, remote netip.AddrPort, cookie uint64) (Socket, error) {
	if !local.Addr().IsValid() || !remote.Addr().IsValid() {
		return Socket{}, ErrNotFound
	}
	replies, err := c.conn.Execute(netlink.Message{Header: netlink.Header{Type: byFamily, Flags: netlink.Request}, Data: request(protocol, local, remote, cookie)})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE): // ESTALE: the cookie differs
		return Socket{}, ErrNotFound
	case err != nil:
		return Socket{}, err
	case len(replies) != 1:
		return Socket{}, fmt.Errorf("sock_diag: %d answers", len(replies))
	}
	s, err := parse(replies[0].Data)
	if err == nil && s.State == tcpListen && remote.Port() != 0 {
		return Socket{}, ErrNotFound
	}
	return s, err
}

// Bound returns all sockets of a protocol with this local port, whatever their
// addresses, connected or not.
func (c *Conn) Bound(protocol byte, port uint16) ([]Bound, error) {
	var list []Bound
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		data := request(protocol, netip.AddrPort{}, netip.AddrPort{}, AnyCookie)
		data[0] = unix.AF_INET
		if any.Is6() {
			data[0] = unix.AF_INET6
		}
		binary.BigEndian.PutUint16(data[8:], port) // unlike a query, a dump does not swap local and remote
		replies, err := c.conn.Execute(netlink.Message{Header: netlink.Header{Type: byFamily, Flags: netlink.Request | netlink.Dump}, Data: data})
		if errors.Is(err, unix.ENOENT) {
			continue // the host lacks this family
		}
		if err != nil {
			return nil, err
		}
		for _, r := range replies {
			s, err := parse(r.Data)
			if err != nil {
				return nil, err
			}
			if binary.BigEndian.Uint16(r.Data[offsetPort:]) != port {
				continue
			}
			b := Bound{Socket: s, Local: netip.AddrFrom4([4]byte(r.Data[offsetLocal:]))}
			if any.Is6() {
				b.Local = netip.AddrFrom16([16]byte(r.Data[offsetLocal:]))
			}
			list = append(list, b)
		}
	}
	return list, nil
}

// Bound is a socket with its local address, which may be unspecified.
type Bound struct {
	Socket
	Local netip.Addr
}

// request makes a struct inet_diag_req_v2.
func request(protocol byte, local, remote netip.AddrPort, cookie uint64) []byte {
	return appendRequest(nil, protocol, local, remote, cookie)
}

// appendRequest appends a struct inet_diag_req_v2.
func appendRequest(list []byte, protocol byte, local, remote netip.AddrPort, cookie uint64) []byte {
	list = append(list, make([]byte, requestSize)...)
	b := list[len(list)-requestSize:]
	b[0], b[1] = unix.AF_INET, protocol
	if local.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	if protocol == unix.IPPROTO_UDP {
		local, remote = remote, local // as in a datagram to the socket (udp_dump_one, net/ipv4/udp_diag.c)
	} else {
		b[2] = 1 << (infoType - 1)
	}
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // every state
	binary.BigEndian.PutUint16(b[8:], local.Port())
	binary.BigEndian.PutUint16(b[10:], remote.Port())
	putAddr(b[12:28], local.Addr())
	putAddr(b[28:44], remote.Addr())
	binary.NativeEndian.PutUint32(b[offsetCookie:], uint32(cookie))
	binary.NativeEndian.PutUint32(b[offsetCookie+4:], uint32(cookie>>32))
	return list
}

// putAddr writes an address, nothing if it is invalid.
func putAddr(to []byte, a netip.Addr) {
	switch {
	case a.Is4():
		b := a.As4()
		copy(to, b[:])
	case a.Is6():
		b := a.As16()
		copy(to, b[:])
	}
}

// parse reads a struct inet_diag_msg and its attributes.
func parse(b []byte) (Socket, error) {
	if len(b) < messageSize {
		return Socket{}, fmt.Errorf("sock_diag: an answer of %d bytes", len(b))
	}
	s := Socket{State: b[1], UID: binary.NativeEndian.Uint32(b[offsetUID:]), Inode: binary.NativeEndian.Uint32(b[offsetInode:])}
	s.Cookie = uint64(binary.NativeEndian.Uint32(b[offsetOwn:])) | uint64(binary.NativeEndian.Uint32(b[offsetOwn+4:]))<<32
	ad, err := netlink.NewAttributeDecoder(b[messageSize:])
	if err != nil {
		return Socket{}, fmt.Errorf("sock_diag: %w", err)
	}
	for ad.Next() {
		if ad.Type() != infoType {
			continue
		}
		s.Sent, s.Received, s.Counted = Carried(ad.Bytes(), s.State)
	}
	if err := ad.Err(); err != nil {
		return Socket{}, fmt.Errorf("sock_diag: %w", err)
	}
	return s, nil
}

// Carried returns how many data bytes a TCP connection has sent, with acknowledgement,
// and received. It reads them from a struct tcp_info (INET_DIAG_INFO); state is one of
// net/tcp_states.h. The kernel counts SYN and FIN as acknowledged bytes, and the peer's
// FIN as a received one. Carried subtracts these if the kernel tells how many bytes
// were sent (Linux 4.19). counted is false before Linux 4.1, which has no such
// counters.
// counts nothing.
func Carried(info []byte, state uint8) (sent, received uint64, counted bool) {
	if len(info) < offsetGot+8 {
		return 0, 0, false
	}
	sent, received = binary.NativeEndian.Uint64(info[offsetAcked:]), binary.NativeEndian.Uint64(info[offsetGot:])
	if len(info) >= offsetSent+16 {
		all, again := binary.NativeEndian.Uint64(info[offsetSent:]), binary.NativeEndian.Uint64(info[offsetSent+8:])
		sent = min(sent, all-min(all, again))
	}
	switch state {
	case tcpCloseWait, tcpLastACK, tcpClosing: // the peer's FIN has come
		received -= min(received, 1)
	}
	return sent, received, true
}
