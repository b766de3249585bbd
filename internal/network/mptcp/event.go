package mptcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
)

// EventType says what has happened (enum mptcp_event_type).
type EventType uint8

// The types of events. The kernel may send others, which should be ignored.
const (
	Created            EventType = 1  // the first subflow is up, and the peer speaks MPTCP
	Established        EventType = 2  // more subflows may be opened
	Closed             EventType = 3  // the connection is gone
	Announced          EventType = 6  // the peer has one more address
	Removed            EventType = 7  // the peer has lost an address
	SubflowEstablished EventType = 10 // never sent for the first subflow
	SubflowClosed      EventType = 11
	SubflowPriority    EventType = 13 // a subflow became backup, or is no longer
	ListenerCreated    EventType = 15
	ListenerClosed     EventType = 16
)

func (t EventType) String() string {
	switch t {
	case Created:
		return "created"
	case Established:
		return "established"
	case Closed:
		return "closed"
	case Announced:
		return "announced"
	case Removed:
		return "removed"
	case SubflowEstablished:
		return "subflow established"
	case SubflowClosed:
		return "subflow closed"
	case SubflowPriority:
		return "subflow priority"
	case ListenerCreated:
		return "listener created"
	case ListenerClosed:
		return "listener closed"
	}
	return fmt.Sprintf("event %d", uint8(t))
}

// Event is something that happened to a connection. Fields that events of its type lack
// are zero.
type Event struct {
	Type  EventType
	Token Token
	// Local and Remote have the kernel's form: they are IPv4-mapped on an IPv6 socket
	// that speaks IPv4. In an Announced event, the port of Remote is 0 if the peer
	// named none.
	Local, Remote     netip.AddrPort
	LocalID, RemoteID uint8
	Backup            bool
	Error             uint8 // errno of a failed subflow
	Index             int   // interface that the subflow is bound to
	// Server tells that the peer opened the connection.
	Server bool
	// DenyJoin says that the peer accepts no further subflows to the address of
	// the first one (RFC 8684, section 3.1, flag C).
	DenyJoin bool
}

// Attributes of events (enum mptcp_event_attr).
const (
	evToken    = 1
	evLocalID  = 3
	evRemoteID = 4
	evSource4  = 5
	evSource6  = 6
	evDest4    = 7
	evDest6    = 8
	evSourceP  = 9
	evDestP    = 10
	evBackup   = 11
	evError    = 12
	evFlags    = 13
	evIndex    = 15
	evServer   = 18
)

// Flags of events (MPTCP_PM_EV_FLAG_*).
const (
	evFlagDenyJoin = 1 << 0
	evFlagServer   = 1 << 1 // since Linux 6.18; evServer before
)

// decodeEvent decodes the attributes of an event. It ignores unknown ones.
func decodeEvent(command uint8, data []byte) (Event, error) {
	e := Event{Type: EventType(command)}
	var local, remote netip.Addr
	var localPort, remotePort uint16
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return Event{}, fmt.Errorf("decode MPTCP event: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case evToken:
			e.Token = Token(ad.Uint32())
		case evLocalID:
			e.LocalID = ad.Uint8()
		case evRemoteID:
			e.RemoteID = ad.Uint8()
		case evSource4:
			ad.Do(func(b []byte) error { return address(&local, b, 4) })
		case evSource6:
			ad.Do(func(b []byte) error { return address(&local, b, 16) })
		case evDest4:
			ad.Do(func(b []byte) error { return address(&remote, b, 4) })
		case evDest6:
			ad.Do(func(b []byte) error { return address(&remote, b, 16) })
		case evSourceP:
			ad.Do(func(b []byte) error { return port(&localPort, b) })
		case evDestP:
			ad.Do(func(b []byte) error { return port(&remotePort, b) })
		case evBackup:
			e.Backup = ad.Uint8() != 0
		case evError:
			e.Error = ad.Uint8()
		case evFlags:
			flags := ad.Uint16()
			e.DenyJoin = flags&evFlagDenyJoin != 0
			e.Server = e.Server || flags&evFlagServer != 0
		case evIndex:
			e.Index = int(ad.Int32())
		case evServer:
			e.Server = ad.Uint8() != 0 || e.Server
		}
	}
	if err := ad.Err(); err != nil {
		return Event{}, fmt.Errorf("decode MPTCP event %d: %w", command, err)
	}
	if local.IsValid() {
		e.Local = netip.AddrPortFrom(local, localPort)
	}
	if remote.IsValid() {
		e.Remote = netip.AddrPortFrom(remote, remotePort)
	}
	return e, nil
}

// port reads a port in network byte order.
func port(to *uint16, b []byte) error {
	if len(b) != 2 {
		return fmt.Errorf("port of %d bytes", len(b))
	}
	*to = binary.BigEndian.Uint16(b)
	return nil
}
