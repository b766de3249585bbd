package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/dump"
	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/internal/userid"
)

// Connection is a connected MPTCP socket of this host.
type Connection struct {
	Token Token
	// Local and Remote are the addresses of the socket, which at first are those of the
	// first subflow. They are IPv4-mapped on an IPv6 socket that speaks IPv4.
	Local, Remote netip.AddrPort
	UID           uint32 // of its owner; means nothing if Inode is 0
	Inode         uint64 // of its file; 0: its process has closed it, so nobody owns it
	// Fallback tells that the connection became plain TCP.
	Fallback bool
	// Server tells that the peer opened the connection. It is known only while the
	// first subflow exists.
	Server bool
	// Sent is the number of bytes that the peer has acknowledged, Received that of
	// bytes that arrived in order. Both are of the whole connection, and 0 before Linux
	// 6.5.
	Sent, Received uint64
	Subflows       []SubflowInfo
}

// SubflowInfo is one of the TCP connections that make up an MPTCP connection.
type SubflowInfo struct {
	Local, Remote     netip.AddrPort // as in Connection
	LocalID, RemoteID uint8
	Index             int // interface that the socket is bound to; 0: none
	First             bool
	// Backup tells that this side or the peer wants the subflow to be used last.
	Backup bool
	// Established tells that the subflow can carry data.
	Established bool
	// Sent is the number of acknowledged bytes of data since the subflow began,
	// Received that of bytes that arrived. Bytes that are sent again over another
	// subflow count there again.
	Sent, Received uint64
	RTT            uint32 // smoothed, microseconds; 0: unknown
}

// Numbers of linux/inet_diag.h, linux/mptcp.h and net/tcp_states.h.
const (
	sockDiagByFamily = 20
	diagReqLen       = 56 // struct inet_diag_req_v2
	diagReqCookie    = 48 // in it: id.idiag_cookie
	diagMsgLen       = 72 // struct inet_diag_msg
	diagReqProtocol  = 3  // INET_DIAG_REQ_PROTOCOL
	diagInfo         = 2  // INET_DIAG_INFO
	diagULPInfo      = 19 // INET_DIAG_ULP_INFO
	ulpInfoMPTCP     = 3  // INET_ULP_INFO_MPTCP
	protoMPTCP       = 262

	// diagStates leaves out LISTEN, CLOSE, TIME_WAIT and NEW_SYN_RECV. Sockets in these
	// states carry nothing, and there may be many thousands of them.
	diagStates = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11
	tcpSynSent = 2
)

// Offsets in struct mptcp_info. Older kernels return a shorter structure.
const (
	infoFlags         = 8
	infoToken         = 12
	infoBytesReceived = 64
	infoBytesAcked    = 72
	infoFlagFallback  = 1 << 0
)

// Attributes and flags of a subflow (MPTCP_SUBFLOW_*).
const (
	subTokenLocal = 2
	subFlags      = 8
	subIDRemote   = 9
	subIDLocal    = 10

	subFlagCapableRemote = 1 << 0 // the first subflow
	subFlagCapableLocal  = 1 << 1 // and this side opened it
	subFlagBackupRemote  = 1 << 4
	subFlagBackupLocal   = 1 << 5
	subFlagEstablished   = 1 << 6
)

// tcpInfoRTT is the offset of the smoothed round-trip time in struct tcp_info.
const tcpInfoRTT = 68

// Diag lists the MPTCP connections of the namespace in which it was opened. It is safe
// for concurrent use.
type Diag struct {
	c *netlink.Conn

	mu   sync.Mutex // held during a dump
	list *dump.Dumper
}

// OpenDiag opens a Diag.
func OpenDiag() (*Diag, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	list, err := openList()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &Diag{c: c, list: list}, nil
}

// Close closes the Diag.
func (d *Diag) Close() error { return errors.Join(d.c.Close(), d.list.Close()) }

// listTimeout bounds the reading of a list. A host may have a million sockets.
const listTimeout = 10 * time.Second

func openList() (*dump.Dumper, error) {
	list := dump.New(unix.NETLINK_SOCK_DIAG)
	list.Timeout = listTimeout
	return list, list.Open()
}

// Connections lists the connections, by token. The kernel walks its tables of
// connections twice for that. This is cheap enough to answer people and to catch up
// after lost events, but too expensive for each event. Without CAP_NET_ADMIN the
// subflows are missing.
func (d *Diag) Connections() ([]Connection, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	byToken := map[Token]*Connection{}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := visitSockets(d.list, family, protoMPTCP, func(body []byte) {
			if c, ok := decodeConnection(body); ok {
				byToken[c.Token] = &c
			}
		})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			return nil, featureDiag.missing(err)
		}
		if err != nil {
			return nil, fmt.Errorf("list MPTCP connections: %w", err)
		}
	}
	if len(byToken) == 0 {
		return nil, nil
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		// The host may have many more sockets that are no subflows.
		err := visitSockets(d.list, family, unix.IPPROTO_TCP, func(body []byte) {
			token, s, server, ok := decodeSubflow(body)
			if c := byToken[token]; ok && c != nil {
				c.Subflows = append(c.Subflows, s)
				c.Server = c.Server || server
				if s.First && c.Remote.Addr().IsUnspecified() {
					c.Local, c.Remote = s.Local, s.Remote // the socket itself learns them a moment later
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list MPTCP subflows: %w", err)
		}
	}
	list := make([]Connection, 0, len(byToken))
	for _, c := range byToken {
		slices.SortFunc(c.Subflows, func(a, b SubflowInfo) int {
			return int(a.LocalID)<<8 + int(a.RemoteID) - int(b.LocalID)<<8 - int(b.RemoteID)
		})
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Connection) int { return int(int64(a.Token) - int64(b.Token)) })
	return list, nil
}

// Owner returns the user who owns the connection. ok is false if there is no single
// owner: the process has closed the connection, or the kernel does not tell this user
// from others.
func (c *Connection) Owner() (uid uint32, ok bool) {
	return c.UID, c.Inode != 0 && userid.Known(c.UID)
}

// UID returns the user who owns the connection. The error wraps os.ErrNotExist if no
// connection has this token any more, or if it has no owner. The call is cheap.
func (d *Diag) UID(t Token) (uint32, error) {
	c, err := d.connection(t)
	if err != nil {
		return 0, err
	}
	if uid, ok := c.Owner(); ok {
		return uid, nil
	}
	return 0, fmt.Errorf("owner of MPTCP connection %v: %w", t, os.ErrNotExist)
}

// Carried returns how much the connection has carried, as Sent and Received of a Connection.
// The error wraps os.ErrNotExist if no connection has this token any more. The call is cheap.
func (d *Diag) Carried(t Token) (sent, received uint64, err error) {
	c, err := d.connection(t)
	return c.Sent, c.Received, err
}

// connection looks a connection up, without its subflows.
func (d *Diag) connection(t Token) (Connection, error) {
	b := diagRequest(unix.AF_INET, protoMPTCP)
	binary.NativeEndian.PutUint32(b[diagReqCookie:], uint32(t)) // mptcp_diag_dump_one looks for the token here
	answers, err := d.c.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request}, Data: b})
	if err != nil {
		return Connection{}, fmt.Errorf("look up MPTCP connection %v: %w", t, err)
	}
	for _, m := range answers {
		if c, ok := decodeConnection(m.Data); ok && c.Token == t {
			return c, nil
		}
	}
	return Connection{}, fmt.Errorf("look up MPTCP connection %v: %w", t, os.ErrNotExist)
}

// SocketOwner returns the user who owns the TCP socket with an inode. The error wraps
// os.ErrNotExist if no owned socket has the inode. SocketOwner has to list all sockets,
// because the original's kernel names a socket only by its inode.
func SocketOwner(inode uint64) (uid uint32, err error) {
	list, err := openList()
	if err != nil {
		return 0, err
	}
	defer list.Close() //nolint:errcheck // only read
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		found := false
		err := visitSockets(list, family, unix.IPPROTO_TCP, func(body []byte) {
			if s, _, ok := decodeSocket(body); ok && inode != 0 && uint64(s.inode) == inode && userid.Known(s.uid) {
				uid, found = s.uid, true
			}
		})
		switch {
		case err != nil:
			return 0, fmt.Errorf("look up the socket with inode %d: %w", inode, err)
		case found:
			return uid, nil
		}
	}
	return 0, fmt.Errorf("look up the socket with inode %d: %w", inode, os.ErrNotExist)
}

// visitSockets calls visit for each socket of a family and protocol, with what the kernel says of
// it, which is valid during the call only.
func visitSockets(list *dump.Dumper, family byte, protocol uint32, visit func(body []byte)) error {
	request := append(make([]byte, dump.HeaderLen), diagRequest(family, protocol)...)
	binary.NativeEndian.PutUint16(request[4:], sockDiagByFamily)
	_, err := list.Dump(request, func(_ uint16, body []byte) { visit(body) })
	return err
}

// diagRequest makes a request for the sockets of a family and protocol.
func diagRequest(family byte, protocol uint32) []byte {
	b := make([]byte, diagReqLen, diagReqLen+8)
	b[0], b[2] = family, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(b[4:], diagStates)
	if protocol <= 255 {
		b[1] = byte(protocol)
	} else {
		// The field has one byte, which is too small for this protocol number. The
		// kernel reads the attribute instead.
		b[1] = unix.IPPROTO_RAW
		b = binary.NativeEndian.AppendUint16(b, 8)
		b = binary.NativeEndian.AppendUint16(b, diagReqProtocol)
		b = binary.NativeEndian.AppendUint32(b, protocol)
	}
	return b
}

// socket is the content of struct inet_diag_msg.
type socket struct {
	state         byte
	local, remote netip.AddrPort
	index         int
	uid, inode    uint32
}

func decodeSocket(b []byte) (s socket, attributes []byte, ok bool) {
	if len(b) < diagMsgLen {
		return s, nil, false
	}
	var local, remote netip.Addr
	switch b[0] {
	case unix.AF_INET:
		local, remote = netip.AddrFrom4([4]byte(b[8:12])), netip.AddrFrom4([4]byte(b[24:28]))
	case unix.AF_INET6:
		local, remote = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	default:
		return s, nil, false
	}
	s.state = b[1]
	s.local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))
	s.remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))
	s.index = int(int32(binary.NativeEndian.Uint32(b[40:])))
	s.uid, s.inode = binary.NativeEndian.Uint32(b[64:]), binary.NativeEndian.Uint32(b[68:])
	return s, b[diagMsgLen:], true
}

// decodeConnection decodes a socket of mptcp_diag. ok is false if the socket is no
// connection.
func decodeConnection(b []byte) (c Connection, ok bool) {
	s, attributes, ok := decodeSocket(b)
	if !ok {
		return c, false
	}
	c = Connection{Local: s.local, Remote: s.remote, UID: s.uid, Inode: uint64(s.inode)}
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return c, false
	}
	ok = false
	for ad.Next() {
		if info := ad.Bytes(); ad.Type() == diagInfo && len(info) >= infoToken+4 {
			ok = true
			c.Fallback = binary.NativeEndian.Uint32(info[infoFlags:])&infoFlagFallback != 0
			c.Token = Token(binary.NativeEndian.Uint32(info[infoToken:]))
			c.Received, c.Sent = uint64At(info, infoBytesReceived), uint64At(info, infoBytesAcked)
		}
	}
	return c, ok && ad.Err() == nil
}

// decodeSubflow decodes a TCP socket. ok is false if the socket is not a subflow. server
// is true for the first subflow of a connection that the peer opened.
func decodeSubflow(b []byte) (t Token, f SubflowInfo, server, ok bool) {
	s, attributes, ok := decodeSocket(b)
	if !ok {
		return 0, f, false, false
	}
	f = SubflowInfo{Local: s.local, Remote: s.remote, Index: s.index}
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return 0, f, false, false
	}
	ok = false
	var flags uint32
	for ad.Next() {
		switch ad.Type() {
		case diagInfo:
			info := ad.Bytes()
			f.Sent, f.Received, _ = sockdiag.Carried(info, s.state)
			if len(info) >= tcpInfoRTT+4 {
				f.RTT = binary.NativeEndian.Uint32(info[tcpInfoRTT:])
			}
		case diagULPInfo:
			ad.Nested(func(ulp *netlink.AttributeDecoder) error {
				for ulp.Next() {
					if ulp.Type() != ulpInfoMPTCP {
						continue
					}
					ulp.Nested(func(sub *netlink.AttributeDecoder) error {
						ok = true
						for sub.Next() {
							switch sub.Type() {
							case subTokenLocal:
								t = Token(sub.Uint32())
							case subFlags:
								flags = sub.Uint32()
							case subIDRemote:
								f.RemoteID = sub.Uint8()
							case subIDLocal:
								f.LocalID = sub.Uint8()
							}
						}
						return nil
					})
				}
				return nil
			})
		}
	}
	f.First = flags&(subFlagCapableRemote|subFlagCapableLocal) != 0
	f.Backup = flags&(subFlagBackupRemote|subFlagBackupLocal) != 0
	f.Established = flags&subFlagEstablished != 0 && s.state != tcpSynSent
	return t, f, f.First && flags&subFlagCapableLocal == 0, ok && ad.Err() == nil
}

func uint64At(b []byte, offset int) uint64 {
	if len(b) < offset+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b[offset:])
}
