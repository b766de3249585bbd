package hostbed

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// outside is the namespace at the other ends of the veth pairs. It has no addresses.
type outside struct{ file *os.File }

func newOutside() (*outside, error) {
	o := &outside{}
	err := o.inside(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: making a network namespace: %w", testbed.ErrUnavailable, err)
		}
		if err := setParameter("net/ipv6/conf/default/disable_ipv6", "1"); err != nil {
			return err
		}
		o.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return o, err
}

// inside runs f in the namespace, if it exists yet. f runs on a thread that ends after
// it.
func (o *outside) inside(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		if o.file != nil {
			if err := unix.Setns(int(o.file.Fd()), unix.CLONE_NEWNET); err != nil {
				result <- err
				return
			}
		}
		result <- f()
	}()
	return <-result
}

func (o *outside) close() {
	if o.file != nil {
		_ = o.file.Close() // nothing was written
	}
}

// wire is the world's end of a link.
type wire struct {
	world  *World
	name   string // of the link
	shown  string // the link's name, or that of the bridge that the link belongs to
	file   *os.File
	frames bool // Ethernet frames, else bare packets
	mac    net.HardwareAddr
	done   chan struct{}
}

func (w *World) addVeth(attrs netlink.LinkAttrs, s *hostfile.Statement) error {
	peer := fmt.Sprintf("far%d", w.pairs)
	w.pairs++
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(int(w.outside.file.Fd()))}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	return w.outside.inside(func() error {
		far, err := netlink.LinkByName(peer)
		if err != nil {
			return err
		}
		if s.Has("nocarrier") {
			return nil // the far end stays down, so the link has no carrier
		}
		if err := netlink.LinkSetUp(far); err != nil {
			return err
		}
		const protocol = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // network byte order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("%w: opening a packet socket (needs CAP_NET_RAW and CONFIG_PACKET): %w", testbed.ErrUnavailable, err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol & 0xffff, Ifindex: far.Attrs().Index}); err != nil {
			_ = unix.Close(fd)
			return err
		}
		w.listen(&wire{name: attrs.Name, file: os.NewFile(uintptr(fd), peer), frames: true, mac: far.Attrs().HardwareAddr}, s)
		return nil
	})
}

func (w *World) addTun(name string, s *hostfile.Statement) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: needs /dev/net/tun (CONFIG_TUN): %w", testbed.ErrUnavailable, err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil && s.Has("nocarrier") {
		off := 0
		err = unix.IoctlSetPointerInt(fd, unix.TUNSETCARRIER, off)
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	w.listen(&wire{name: name, file: os.NewFile(uintptr(fd), name)}, s)
	if mtu := s.Value("mtu"); mtu != "" {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		var n int
		_, _ = fmt.Sscan(mtu, &n)
		return netlink.LinkSetMTU(link, n)
	}
	return nil
}

// addStacked adds a link on top of another one. A MACVLAN stands in for all such kinds.
// The world tells such links apart by the source addresses of their frames.
func (w *World) addStacked(attrs netlink.LinkAttrs, s *hostfile.Statement) error {
	lower, err := netlink.LinkByName(s.Value("link"))
	if err != nil {
		return err
	}
	attrs.ParentIndex = lower.Attrs().Index
	err = netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w: needs a kernel with MACVLAN devices (CONFIG_MACVLAN): %w", testbed.ErrUnavailable, err)
	}
	if err != nil {
		return err
	}
	own, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	w.stacked.add(own.Attrs().HardwareAddr, s)
	return nil
}

// stacked has the links on top of others, by the source address of their frames.
type stacked struct {
	mu    sync.Mutex
	shown map[string]string
}

func (t *stacked) add(mac net.HardwareAddr, s *hostfile.Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown == nil {
		t.shown = map[string]string{}
	}
	t.shown[string(mac)] = cmp.Or(s.Value("master"), s.Args[0].Value)
}

// of returns the link that a frame came from, or other if the address is not known.
func (t *stacked) of(mac []byte, other string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(t.shown[string(mac)], other)
}

// listen answers what comes out of a link, until the link is closed.
func (w *World) listen(x *wire, s *hostfile.Statement) {
	x.world, x.done, x.shown = w, make(chan struct{}), x.name
	if master := s.Value("master"); master != "" {
		x.shown = master
	}
	w.wires = append(w.wires, x)
	go func() {
		defer close(x.done)
		b := make([]byte, 1<<16)
		for {
			n, err := x.file.Read(b)
			if err != nil {
				return
			}
			if answer := x.answer(b[:n]); answer != nil {
				_, _ = x.file.Write(answer) // an error means that the sender is gone
			}
		}
	}()
}

func (x *wire) close() {
	_ = x.file.Close()
	<-x.done
}

// dead tells whether the neighbour has failed.
func (x *wire) dead(a netip.Addr) bool { return x.world.dead[a.String()+"%"+x.name] }

// Packet is the first packet of a connection: its source, and the device that it came
// by.
type Packet struct {
	Source netip.Addr
	Device string
}

// flow identifies a destination and a protocol.
type flow struct {
	dst      netip.AddrPort
	datagram bool
}

// seen remembers the first packet of each flow.
type seen struct {
	mu    sync.Mutex
	first map[flow]Packet
	more  chan struct{} // one slot
}

func newSeen() *seen { return &seen{first: map[flow]Packet{}, more: make(chan struct{}, 1)} }

func (s *seen) add(f flow, p Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.first[f]; !ok {
		s.first[f] = p
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// First returns the first packet to a destination. If there is none yet, it waits for
// one, at most for wait. Only one goroutine may call it at a time.
func (w *World) First(dst netip.AddrPort, datagram bool, wait time.Duration) (Packet, bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		w.seen.mu.Lock()
		p, ok := w.seen.first[flow{dst, datagram}]
		w.seen.mu.Unlock()
		if ok {
			return p, true
		}
		select {
		case <-w.seen.more:
		case <-timer.C:
			return Packet{}, false
		}
	}
}

// awaitCarrier returns when the link has a carrier, or has none, as wanted.
func awaitCarrier(name string, want bool) error {
	return await("the carrier of "+name+" is not as it should be", func() (bool, error) {
		link, err := netlink.LinkByName(name)
		return err == nil && (link.Attrs().RawFlags&unix.IFF_RUNNING != 0) == want, err
	})
}

// await returns when done returns true, which the kernel brings about by itself. If
// that takes too long, the error says what is wrong.
func await(wrong string, done func() (bool, error)) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if ok, err := done(); ok || err != nil {
			return err
		}
	}
	return errors.New(wrong)
}

// be reads a big-endian number of 16 bits.
func be(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
