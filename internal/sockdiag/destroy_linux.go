package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Errors of Able and Destroy.
var (
	// ErrRights means that this process may not end connections of others.
	ErrRights = errors.New("ending connections needs CAP_NET_ADMIN")
	// ErrUnsupported means that the kernel cannot end connections of others.
	ErrUnsupported = errors.New("this kernel cannot end connections (CONFIG_INET_DIAG_DESTROY)")
)

const (
	destroy       = 21 // SOCK_DESTROY, linux/sock_diag.h
	established   = 1  // TCP_ESTABLISHED, net/tcp_states.h
	offsetID      = 4  // struct inet_diag_sockid in the message
	requestID     = 8  // and in the request
	sizeID        = 48
	offsetRemote  = 24 // idiag_dst in the message
	offsetDevice  = 40 // idiag_if there
	ulpType       = 19 // INET_DIAG_ULP_INFO: an attribute about a protocol above TCP
	ulpName       = 1  // INET_ULP_INFO_NAME in it
	ulpMPTCP      = "mptcp"
	offsetGotData = 52 // tcpi_last_data_recv in struct tcp_info, then tcpi_last_ack_recv
)

// Established is an established TCP connection of this host.
type Established struct {
	// Local and Remote are the addresses. IPv4 addresses are not mapped, whatever the
	// socket.
	Local, Remote netip.AddrPort
	Device        uint32 // index of the interface that the socket is bound to; 0: none
	// Heard is the time since data or an acknowledgement arrived; negative: not known.
	Heard time.Duration
	// Multipath tells that this is a subflow of Multipath TCP. Without CAP_NET_ADMIN the
	// kernel does not say so.
	Multipath bool

	family byte
	id     [sizeID]byte // as the kernel wrote it, with the cookie
}

// Established returns the established TCP connections from these local addresses.
func (c *Conn) Established(local []netip.Addr) ([]Established, error) {
	from := make(map[netip.Addr]bool, len(local))
	for _, a := range local {
		from[a.Unmap()] = true
	}
	var list []Established
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		b := make([]byte, requestSize)
		b[0], b[1], b[2] = family, unix.IPPROTO_TCP, 1<<(infoType-1)
		binary.NativeEndian.PutUint32(b[4:], 1<<established)
		replies, err := c.conn.Execute(netlink.Message{
			Header: netlink.Header{Type: byFamily, Flags: netlink.Request | netlink.Dump}, Data: AppendFilter(b, local),
		})
		if errors.Is(err, unix.ENOENT) {
			continue // the host lacks this family
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for _, r := range replies {
			e, err := parseEstablished(r.Data)
			if err != nil {
				return nil, err
			}
			if from[e.Local.Addr()] {
				list = append(list, e)
			}
		}
	}
	return list, nil
}

// Able tells whether Destroy can end connections. If not, the error wraps ErrRights or
// ErrUnsupported.
func (c *Conn) Able() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities of this process: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return ErrRights
	}
	// No connection is from this address to itself, so nothing can be ended.
	nobody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), 1)
	e := Established{family: unix.AF_INET}
	copy(e.id[:], request(unix.IPPROTO_TCP, nobody, nobody, 0)[requestID:])
	if err := c.Destroy(e); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Destroy ends a connection. Its program gets ECONNABORTED from now on, and the peer a
// reset, if that reaches it. The error is ErrNotFound if the connection has ended already,
// and wraps ErrRights or ErrUnsupported if it cannot be ended.
//
// A subflow of Multipath TCP must not be destroyed: if it is the only one, the program is
// not told.
func (c *Conn) Destroy(e Established) error {
	b := make([]byte, requestSize)
	b[0], b[1] = e.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0))
	copy(b[requestID:], e.id[:])
	_, err := c.conn.Execute(netlink.Message{Header: netlink.Header{Type: destroy, Flags: netlink.Request | netlink.Acknowledge}, Data: b})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
		return ErrNotFound
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrRights, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return fmt.Errorf("end a connection: %w", err)
}

// parseEstablished reads a struct inet_diag_msg and its attributes.
func parseEstablished(b []byte) (Established, error) {
	if len(b) < messageSize {
		return Established{}, fmt.Errorf("sock_diag: an answer of %d bytes", len(b))
	}
	e := Established{family: b[0], id: [sizeID]byte(b[offsetID:]), Heard: -1, Device: binary.NativeEndian.Uint32(b[offsetDevice:])}
	addr := func(at int) netip.Addr {
		if e.family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[at:]))
		}
		return netip.AddrFrom16([16]byte(b[at:])).Unmap()
	}
	e.Local = netip.AddrPortFrom(addr(offsetLocal), binary.BigEndian.Uint16(b[offsetPort:]))
	e.Remote = netip.AddrPortFrom(addr(offsetRemote), binary.BigEndian.Uint16(b[offsetPort+2:]))
	ad, err := netlink.NewAttributeDecoder(b[messageSize:])
	if err != nil {
		return Established{}, fmt.Errorf("sock_diag: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case infoType:
			if info := ad.Bytes(); len(info) >= offsetGotData+8 {
				ms := min(binary.NativeEndian.Uint32(info[offsetGotData:]), binary.NativeEndian.Uint32(info[offsetGotData+4:]))
				e.Heard = time.Duration(ms) * time.Millisecond
			}
		case ulpType:
			ad.Nested(func(ulp *netlink.AttributeDecoder) error {
				for ulp.Next() {
					e.Multipath = e.Multipath || ulp.Type() == ulpName && ulp.String() == ulpMPTCP
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return Established{}, fmt.Errorf("sock_diag: %w", err)
	}
	return e, nil
}
