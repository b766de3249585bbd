package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// These are the layouts of the data that programs and maps share. Offsets are in bytes.
// Numbers are in the host's byte order unless a comment says otherwise.

// sizeAddr is the size of an address. All addresses are IPv6; those of IPv4 are mapped.
const sizeAddr = 16

// commandSize is the size of a command's name with its final NUL (TASK_COMM_LEN,
// proc_pid_comm(5)).
const commandSize = 16

// Settings that all programs share: map "settings", one value.
const (
	settingsNetns    = 0  // u64: the network namespace whose connections are placed
	settingsDeadline = 8  // u64: nanoseconds of CLOCK_MONOTONIC until which the maps hold
	settingsSelf     = 16 // u32: the process whose connections are left alone
	settingsLow      = 20 // u32: the first port that the kernel gives out by itself
	settingsHigh     = 24 // u32: the last such port
	settingsMPTCP    = 28 // u32; 1: sockets of Multipath TCP can be made
	settingsGroup    = 32 // u64: the control group of that process; 0: not known
	settingsSize     = 40
)

// Values of "groups", "members", "usual" and "answers" begin with their key. When the kernel
// replaces or deletes an entry of a hash table, it gives the place to the next entry that is new,
// whatever its key is, while a program may still read it. The kernel writes an entry from its
// beginning on. So a program that finds the right key after it has read all else has read what
// belongs to the key.

// A value of map "groups", whose keys are ids of control groups.
const (
	groupID    = 0  // u64: the key
	groupClass = 8  // u32
	groupForms = 12 // u32: bits of form
	groupWhole = 16 // as a value of "members" without its key; if its scope is not 0, all processes belong to it
	groupSize  = groupWhole + memberScopeSize
)

// A key of map "members" is a class, a user and a command.
const (
	memberClass   = 0
	memberUser    = 4
	memberCommand = 8
	memberSize    = 24

	memberKey       = 0 // in a value
	memberWhole     = memberKey + memberSize
	memberValueSize = memberWhole + memberScopeSize
)

// What a value of map "members" says of the scope.
const (
	memberScope     = 0 // u32
	memberFlags     = 4 // u32
	memberOthers    = 8 // u64: the rules that fit commands which map "commands" lacks
	memberScopeSize = 16
)

// Flags of a member, apart from those of Manner. They say in which of the maps below the rules of
// the scope are to be looked up.
const (
	flagPorts = Multipath << (1 + iota)
	flagNetworks
	flagCommands

	flagRules = flagPorts | flagNetworks | flagCommands
)

// A key of maps "ports" and "networks" is a number of bits, a scope, and a port in network
// byte order or an address. A key of "commands" is a scope and a command. A value is a u64:
// the rules that fit, one bit each. A key of map "variants" is a scope and such bits.
const (
	ruleBits  = 0 // u32
	ruleScope = 4 // u32
	rulePort  = 8
	ruleAddr  = 8

	rulePortSize = 10
	ruleAddrSize = 24
	ruleFits     = 8

	ruleCommandScope = 0
	ruleCommand      = 4
	ruleCommandSize  = 20

	variantScope = 0
	variantFits  = 8
	variantSize  = 16
)

// Manner is a set of flags of a scope.
type Manner uint32

const (
	// Strict refuses a connection if nothing is decided about it.
	Strict Manner = 1 << iota
	// Multipath makes sockets of TCP into sockets of Multipath TCP; see [Table.LoadMultipath].
	Multipath
)

// maxErrno is above all errors that a call may fail with (MAX_ERRNO of linux/err.h).
const maxErrno = 4096

// anyUser is (uid_t)-1, which no user has.
const anyUser = 1<<32 - 1

// A key of map "usual".
const (
	usualScope    = 0 // u32
	usualProtocol = 4 // u8
	usualV6       = 5 // u8
	usualVariant  = 6 // u8
	usualSize     = 8
)

// A key of maps "answers" and "told".
const (
	keyScope    = 0  // u32
	keyUser     = 4  // u32
	keyAddr     = 8  // of the destination
	keyPort     = 24 // u16, in network byte order
	keyProtocol = 26 // u8
	keyVariant  = 27 // u8
	keySize     = 28
)

// A key of map "aside" is a number of bits and an address.
const (
	asideBits = 0
	asideAddr = 4
	asideSize = 20
)

// A value of "usual" and "answers".
const (
	answerKey   = 0  // the key, of whichever map
	answerID    = 32 // u64
	answerKind  = 40 // u32
	answerErrno = 44 // i32, negative
	answerWays  = 48 // the ways, the best one first
	answerSize  = answerWays + ways*waySize
)

// ways is the number of ways of an answer.
const ways = 2

// A way of an answer.
const (
	waySource  = 0
	wayDevice  = 16
	wayNetwork = 32 // u32
	wayFlags   = 36 // u32
	waySize    = 40
)

// The value of map "down" has a byte for each network; 1: it is down. No way leads over
// noNetwork, which is always down.
const noNetwork = MaxNetworks

// Flags of a way.
const (
	flagDevice = 1 << iota // bind to the device
	flagOnly               // refuse what cannot be bound
)

// A value of map "flows", whose keys are cookies of sockets.
const (
	flowLocal      = 0
	flowRemote     = 16
	flowRemotePort = 32 // u32: two bytes of 0, and the port in network byte order
	flowLocalPort  = 36 // u16
	flowDevice     = 40 // u32
	flowRTT        = 44 // u32: smoothed, eighths of microseconds
	flowRTTVar     = 48 // u32: microseconds
	flowMinRTT     = 52 // u32: microseconds
	flowSent       = 56 // u32
	flowRetrans    = 60 // u32
	flowLost       = 64 // u32
	flowSegsIn     = 68 // u32
	flowSegsOut    = 72 // u32
	flowTimeouts   = 76 // u32
	flowHeard      = 80 // u64: CLOCK_MONOTONIC
	flowAcked      = 88 // u64
	flowReceived   = 96 // u64
	flowSize       = 104
)

// A record of the ring buffer.
const (
	eventTime     = 0 // u64, CLOCK_MONOTONIC
	eventCookie   = 8
	eventGroup    = 16
	eventAnswer   = 24 // u64: the answer's ID
	eventScope    = 32
	eventProcess  = 36
	eventUser     = 40
	eventResult   = 44 // i32: what the last helper returned
	eventKind     = 48 // u16
	eventVariant  = 50 // u8
	eventCommand  = 52
	eventAddr     = 68
	eventPort     = 84 // u16, in network byte order
	eventProtocol = 86 // u8
	eventFlags    = 87 // u8
	eventSize     = 88
)

// Flags of a record.
const (
	eventUsual     = 1 << iota // the scope's usual answer was taken
	eventAside                 // the destination has a route of its own, and no answer
	eventDatagram              // a datagram of a socket that is not connected
	eventPort2                 // the socket had a port already
	eventMultipath             // a subflow of Multipath TCP
	eventAlternate             // another way than the first was taken, because that one was down
	eventDown                  // all ways were down
)

// Kind is what is done with a connection.
type Kind uint32

// The kinds.
const (
	Leave  Kind = 1 + iota // the socket is not touched, so the kernel chooses
	Place                  // the socket is bound as the answer says
	Refuse                 // the program's call fails with Answer.Errno
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Leave:
		return "leave"
	case Place:
		return "place"
	case Refuse:
		return "refuse"
	}
	return fmt.Sprintf("Kind(%d)", uint32(k))
}

// Answer says what is done with connections. The zero value is not a valid answer.
type Answer struct {
	ID   uint64 // comes back with each [Event]
	Kind Kind
	// Only refuses a connection that cannot be bound as the answer says. Otherwise such a
	// connection is left to the kernel.
	Only bool
	// Errno is the error of a refused call. 0 is EACCES. With kernels before 5.18 the error is
	// always EPERM.
	Errno unix.Errno
	// First is how the socket is bound. While the network of First is down, Alternate counts,
	// whose zero value means that there is none. If that is down, too, or missing, the
	// connection is refused with ENETUNREACH if Only is set, and else bound as First says.
	First, Alternate Way
}

// Way says how a socket is bound to a network.
type Way struct {
	// Source is the address to bind to, of the destination's family.
	Source netip.Addr
	// Device is the interface of Source. A socket that has a port already can no longer be
	// bound to an address, so it is bound to the device. ByDevice binds all sockets to it.
	Device   string
	ByDevice bool
	// Network is the network of Source, for [Table.SetDown]. 0 is one that is never down.
	Network Network
}

// Network is a number that stands for a network: 0, or one below MaxNetworks.
type Network uint8

// MaxNetworks is how many numbers of networks there are.
const MaxNetworks = 255

// encode writes the answer to b, which has answerSize bytes of 0.
func (a *Answer) encode(b []byte) error {
	binary.NativeEndian.PutUint64(b[answerID:], a.ID)
	binary.NativeEndian.PutUint32(b[answerKind:], uint32(a.Kind))
	switch a.Kind {
	case Leave:
		return nil
	case Refuse:
		errno := a.Errno
		if errno == 0 {
			errno = unix.EACCES
		}
		if errno >= maxErrno {
			return fmt.Errorf("no such error: %d", errno)
		}
		binary.NativeEndian.PutUint32(b[answerErrno:], -uint32(errno))
		return nil
	case Place:
	default:
		return fmt.Errorf("no such answer: %v", a.Kind)
	}
	if err := a.First.encode(b[answerWays:], a.Only); err != nil {
		return err
	}
	if a.Alternate == (Way{}) {
		binary.NativeEndian.PutUint32(b[answerWays+waySize+wayNetwork:], noNetwork)
		return nil
	}
	if a.Alternate.Source.Is4() != a.First.Source.Is4() {
		return fmt.Errorf("addresses of both families: %v, %v", a.First.Source, a.Alternate.Source)
	}
	return a.Alternate.encode(b[answerWays+waySize:], a.Only)
}

func (w *Way) encode(b []byte, only bool) error {
	if !w.Source.IsValid() || w.Source.IsUnspecified() || w.Source.Zone() != "" {
		return fmt.Errorf("no address to bind to: %v", w.Source)
	}
	if w.Device == "" || len(w.Device) >= unix.IFNAMSIZ {
		return fmt.Errorf("no interface to bind to: %q", w.Device)
	}
	if w.Network >= MaxNetworks {
		return fmt.Errorf("no such network: %d", w.Network)
	}
	var flags uint32
	if w.ByDevice {
		flags |= flagDevice
	}
	if only {
		flags |= flagOnly
	}
	putAddr(b[waySource:], w.Source)
	copy(b[wayDevice:wayNetwork], w.Device)
	binary.NativeEndian.PutUint32(b[wayNetwork:], uint32(w.Network))
	binary.NativeEndian.PutUint32(b[wayFlags:], flags)
	return nil
}

func putAddr(b []byte, a netip.Addr) {
	w := a.As16()
	copy(b, w[:])
}

// Protocol is the protocol of a socket.
type Protocol uint8

// The protocols whose sockets are placed. Sockets of Multipath TCP count as TCP.
const (
	TCP Protocol = unix.IPPROTO_TCP
	UDP Protocol = unix.IPPROTO_UDP
)

// Key says for whose connections, and to which destination, an answer is.
type Key struct {
	Scope    uint32
	User     uint32
	Protocol Protocol
	Remote   netip.AddrPort // IPv4 is not mapped
	Variant  Variant
}

// encode writes the key to b, which has keySize bytes of 0.
func (k *Key) encode(b []byte) {
	binary.NativeEndian.PutUint32(b[keyScope:], k.Scope)
	binary.NativeEndian.PutUint32(b[keyUser:], k.User)
	putAddr(b[keyAddr:], k.Remote.Addr())
	binary.BigEndian.PutUint16(b[keyPort:], k.Remote.Port())
	b[keyProtocol], b[keyVariant] = uint8(k.Protocol), uint8(k.Variant)
}

// Event tells what was done with one connection, or with one datagram of a socket that is not
// connected. There is at most one event a second about datagrams to one destination.
type Event struct {
	Time    time.Duration // of CLOCK_MONOTONIC
	Cookie  uint64        // of the socket (SO_COOKIE)
	Group   uint64        // the control group of the thread that called
	Process uint32        // 0: unknown, because the kernel does not tell
	Command string        // the name of the thread; it may contain any bytes
	Key
	// Answer is the ID of the answer that was followed, or 0 if there was none.
	Answer uint64
	Kind   Kind // what was done
	Usual  bool // the scope's usual answer was followed, because the destination has none
	Aside  bool // the destination has a route of its own, and no answer
	// Datagram tells that the socket is not connected, and HasPort that it had a port.
	Datagram, HasPort bool
	// Multipath tells that the connection is one of Multipath TCP, and that the socket is its
	// first subflow. Kernels before 5.19 do not tell it.
	Multipath bool
	// Alternate tells that the answer's first network was down, so that the socket was bound
	// as its Alternate says. Down tells that both were down.
	Alternate, Down bool
	// Errno is why the socket could not be bound as the answer says. 0: it was bound.
	Errno unix.Errno
}

// Flow is what is measured of a TCP connection, or of a subflow of Multipath TCP. Figures of what
// was sent are as of the latest round-trip time or retransmission. A connection that only receives
// brings neither.
type Flow struct {
	Cookie                uint64   // of the socket (SO_COOKIE)
	Local, Remote         [16]byte // IPv4 is mapped
	LocalPort, RemotePort uint16
	Device                uint32        // interface that the socket was bound to; 0: none
	RTT, RTTVar, MinRTT   uint32        // microseconds; 0: unknown
	Sent, Retrans, Lost   uint32        // segments with data: sent, sent again, and now considered lost
	Segments              uint32        // sent and received, in all
	Timeouts              uint32        // retransmission timers that have expired since the latest round-trip time
	Silent                time.Duration // since the latest round-trip time, or since the connection was established
	Acked, Received       uint64        // bytes of data
}

// ErrEvent is wrapped by errors about records that are not events.
var ErrEvent = errors.New("not a record of a connection")

// ParseEvent reads a record of the ring buffer.
func ParseEvent(b []byte) (Event, error) {
	if len(b) < eventSize {
		return Event{}, fmt.Errorf("%w: %d bytes", ErrEvent, len(b))
	}
	u16, u32, u64 := binary.NativeEndian.Uint16, binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	var e Event
	if t := u64(b[eventTime:]); t > 1<<63-1 {
		return e, fmt.Errorf("%w: time %d", ErrEvent, t)
	} else {
		e.Time = time.Duration(t)
	}
	e.Cookie, e.Group, e.Answer = u64(b[eventCookie:]), u64(b[eventGroup:]), u64(b[eventAnswer:])
	e.Scope, e.User, e.Process = u32(b[eventScope:]), u32(b[eventUser:]), u32(b[eventProcess:])
	e.Kind, e.Variant = Kind(u16(b[eventKind:])), Variant(b[eventVariant])
	if e.Kind < Leave || e.Kind > Refuse {
		return e, fmt.Errorf("%w: %v", ErrEvent, e.Kind)
	}
	if e.Protocol = Protocol(b[eventProtocol]); e.Protocol != TCP && e.Protocol != UDP {
		return e, fmt.Errorf("%w: protocol %d", ErrEvent, e.Protocol)
	}
	if r := int32(u32(b[eventResult:])); r < 0 && r > -maxErrno {
		e.Errno = unix.Errno(-r)
	} else if r != 0 {
		return e, fmt.Errorf("%w: result %d", ErrEvent, r)
	}
	e.Command = unix.ByteSliceToString(b[eventCommand : eventCommand+commandSize])
	a := netip.AddrFrom16([sizeAddr]byte(b[eventAddr:])).Unmap()
	e.Remote = netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[eventPort:]))
	flags := b[eventFlags]
	e.Usual, e.Aside = flags&eventUsual != 0, flags&eventAside != 0
	e.Datagram, e.HasPort, e.Multipath = flags&eventDatagram != 0, flags&eventPort2 != 0, flags&eventMultipath != 0
	e.Alternate, e.Down = flags&eventAlternate != 0, flags&eventDown != 0
	return e, nil
}
