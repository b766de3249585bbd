package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace. Its methods are safe for concurrent use, but must
// not be called after its Bed is closed.
type Namespace struct {
	name   string
	file   *os.File
	handle *netlink.Handle
	// congestion is the congestion control of routes that are added; "" means the
	// system's.
	congestion string
	// work takes functions for the keeper to run. The keeper is the thread that made
	// the namespace and stays in it until close.
	work chan func()
	done chan struct{}

	commands commands // commands that were started here
}

// newNamespace makes an empty namespace in which loopback is up. The name is for
// messages only.
func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{name: name, work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go n.keep(ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	err := n.Do(func() (err error) {
		n.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err == nil {
		err = n.prepare()
	}
	if err != nil {
		n.close()
		return nil, fmt.Errorf("setting up namespace %s: %w", name, err)
	}
	return n, nil
}

// keep makes the namespace and stays in it.
func (n *Namespace) keep(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end. While it is locked here, another thread does the
		// work.
		inner := make(chan struct{})
		go func() {
			defer close(inner)
			n.keep(ready)
		}()
		<-inner
		runtime.UnlockOSThread()
		return
	}
	defer close(n.done)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- fmt.Errorf("%w: making a network namespace (needs CAP_SYS_ADMIN or an unprivileged user namespace, and CONFIG_NET_NS): %w", ErrUnavailable, err)
		return
	}
	file, err := os.Open(threadNS)
	if err != nil {
		ready <- fmt.Errorf("opening a network namespace: %w", err)
		return
	}
	n.file = file
	ready <- nil
	for f := range n.work {
		f()
	}
}

// threadNS is the network namespace of the calling thread.
const threadNS = "/proc/thread-self/ns/net"

// prepare makes new addresses usable at once, and removes what would interfere with the
// routes of the bed.
func (n *Namespace) prepare() error {
	if err := n.Do(loopbackUp); err != nil {
		return err
	}
	for _, s := range []struct{ key, value string }{
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.all.accept_ra", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
	} {
		if err := n.Sysctl(s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

// loopbackUp sets loopback up in the namespace of the calling thread.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("setting loopback up: %w", err)
	}
	return nil
}

func (n *Namespace) close() {
	n.commands.end()
	if n.handle != nil {
		n.handle.Close()
	}
	if n.file != nil {
		_ = n.file.Close() // nothing was written
	}
	close(n.work)
	<-n.done
}

// Name returns the name for messages. The namespace itself has no name.
func (n *Namespace) Name() string { return n.name }

// FD returns the namespace's descriptor, as setns(2) and netns.NsHandle take it. The
// descriptor is valid until the Bed is closed.
func (n *Namespace) FD() int { return int(n.file.Fd()) }

// Handle changes links, addresses, routes and rules of the namespace. It is closed with
// the Bed.
func (n *Namespace) Handle() *netlink.Handle { return n.handle }

// Do runs f in the namespace, on the calling goroutine, and returns f's error.
// Goroutines that f starts run outside, but a socket that f has opened stays in the
// namespace. Calls may be nested.
func (n *Namespace) Do(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNS)
	if err == nil {
		defer func() { _ = home.Close() }()
		err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering namespace %s: %w", n.name, err)
	}
	// This is deferred, because f may end the goroutine (FailNow of package testing).
	// If the return to the old namespace fails, the goroutine stays locked. Its thread
	// then ends with it and is not used for anything else.
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// DialContext dials from the namespace as a net.Dialer does, and can be
// http.Transport's dial function. The address must be a literal one.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return n.Dial(ctx, &net.Dialer{}, network, address)
}

// Dial dials from the namespace with the given dialer. The address must be a literal
// one, because a name would be resolved outside of the namespace.
func (n *Namespace) Dial(ctx context.Context, d *net.Dialer, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens in the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a packet socket in the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Sysctl sets a parameter below "net." in the namespace, for instance
// "net.ipv4.conf.all.rp_filter". Interface names with dots are not supported.
func (n *Namespace) Sysctl(key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0o644) })
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: kernel without %s", ErrUnavailable, key)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: setting %s (needs a writable /proc/sys): %w", ErrUnavailable, key, err)
	case err != nil:
		return fmt.Errorf("setting %s: %w", key, err)
	}
	return nil
}
