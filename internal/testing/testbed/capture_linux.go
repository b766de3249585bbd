package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Packet is what a Capture records of a packet.
type Packet struct {
	Time      time.Time
	Interface string // "" if the interface has vanished
	Outgoing  bool   // sent by the namespace; else received or only seen
	Protocol  uint8  // IPPROTO_TCP and so on; IPv6 extension headers are not followed
	// Src and Dst have port 0 if the protocol has no ports.
	Src, Dst netip.AddrPort
	SYN, ACK bool // TCP
	Length   int  // of the IP packet, bytes
	// Question is the name in a DNS message over UDP on port 53, in lower case with the
	// final dot. It is "" for other packets.
	Question string
}

// String returns text such as "wlan0 > 10.1.0.2:4711 10.1.0.1:53 www.example.net.".
func (p Packet) String() string {
	direction := "<"
	if p.Outgoing {
		direction = ">"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", p.Interface, direction, p.Src, p.Dst, p.Question))
}

// Capture records the IP packets that pass a namespace's interfaces.
type Capture struct {
	fd *os.File

	mu      sync.Mutex
	names   map[int]string
	ns      *Namespace
	packets []Packet
	lost    int
}

// Capture starts to record the packets of all interfaces of the namespace. Close ends
// the recording. The error wraps ErrUnavailable if the kernel has no packet sockets, or
// does not permit them.
func (n *Namespace) Capture() (*Capture, error) {
	c := &Capture{ns: n, names: map[int]string{}}
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(bigEndian(unix.ETH_P_ALL)))
		if err != nil {
			return fmt.Errorf("%w: packet socket (needs CAP_NET_RAW and CONFIG_PACKET): %w", ErrUnavailable, err)
		}
		// This is room for the packets between two reads. The plain option has a limit.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		}
		c.fd = os.NewFile(uintptr(fd), "capture")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capturing in namespace %s: %w", n.name, err)
	}
	go c.run()
	return c, nil
}

// run reads packets as they come, so that the socket's buffer does not overflow.
func (c *Capture) run() {
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return
	}
	for raw.Read(func(uintptr) bool { return c.drain() == 0 }) == nil {
	}
}

// drain reads the packets that are there and returns their number.
func (c *Capture) drain() int {
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	_ = raw.Control(func(fd uintptr) { // fails only if closed
		var buf [512]byte // enough for headers and a question
		for {
			n, from, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_TRUNC)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			count++
			if ll, ok := from.(*unix.SockaddrLinklayer); ok {
				c.recordLocked(buf[:min(n, len(buf))], n, ll)
			}
		}
	})
	return count
}

func (c *Capture) recordLocked(b []byte, length int, from *unix.SockaddrLinklayer) {
	p, ok := decodePacket(b)
	if !ok {
		return
	}
	if len(c.packets) >= maxRecords {
		c.lost++
		return
	}
	p.Time, p.Length = time.Now(), length
	p.Outgoing = from.Pkttype == unix.PACKET_OUTGOING
	name, known := c.names[from.Ifindex]
	if !known {
		if link, err := c.ns.handle.LinkByIndex(from.Ifindex); err == nil {
			name = link.Attrs().Name
		}
		c.names[from.Ifindex] = name
	}
	p.Interface = name
	c.packets = append(c.packets, p)
}

// Packets returns the packets so far, in the order in which they were seen. It includes
// all packets that were sent or received before the call.
func (c *Capture) Packets() []Packet {
	c.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets)
}

// Lost returns how many packets were too many to be recorded.
func (c *Capture) Lost() int {
	c.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.lost
	if raw, err := c.fd.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			// Reading the statistics resets them.
			if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				c.lost += int(stats.Drops)
				lost = c.lost
			}
		})
	}
	return lost
}

// Close ends the recording and returns what was recorded.
func (c *Capture) Close() []Packet {
	packets := c.Packets()
	_ = c.fd.Close() // nothing was written
	return packets
}

// decodePacket reads the headers of an IP packet, whose end may be cut off.
func decodePacket(b []byte) (Packet, bool) {
	if len(b) == 0 {
		return Packet{}, false
	}
	var p Packet
	var src, dst netip.Addr
	var payload []byte
	switch version := b[0] >> 4; {
	case version == 4 && len(b) >= 20:
		header := int(b[0]&0xf) * 4
		if header < 20 || header > len(b) {
			return Packet{}, false
		}
		p.Protocol = b[9]
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if fragment := binary.BigEndian.Uint16(b[6:]) & 0x1fff; fragment == 0 {
			payload = b[header:]
		}
	case version == 6 && len(b) >= 40:
		p.Protocol = b[6]
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		payload = b[40:]
	default:
		return Packet{}, false
	}
	var sport, dport uint16
	if (p.Protocol == unix.IPPROTO_TCP || p.Protocol == unix.IPPROTO_UDP) && len(payload) >= 4 {
		sport, dport = binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	switch {
	case p.Protocol == unix.IPPROTO_TCP && len(payload) >= 14:
		p.SYN, p.ACK = payload[13]&0x02 != 0, payload[13]&0x10 != 0
	case p.Protocol == unix.IPPROTO_UDP && len(payload) > 8 && (sport == 53 || dport == 53):
		p.Question = question(payload[8:])
	}
	return p, true
}

// question reads the first question of a DNS message (RFC 1035, section 4.1).
func question(b []byte) string {
	const header = 12
	if len(b) < header || binary.BigEndian.Uint16(b[4:]) == 0 {
		return ""
	}
	name, _, err := dns.UnpackDomainName(b, header)
	if err != nil {
		return ""
	}
	return dns.CanonicalName(name)
}

// bigEndian is htons.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
