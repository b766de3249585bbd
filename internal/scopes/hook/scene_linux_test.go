package hook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// dialEnv makes this program dial what its standard input names, line by line.
const dialEnv = "MAMMA_HOOK_DIAL"

func TestMain(m *testing.M) {
	if os.Getenv(dialEnv) != "" {
		dialAll()
		os.Exit(0)
	}
	if group := os.Getenv(shedEnv); group != "" {
		if err := shed(group); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = testbed.Enter() // New says what is missing
	os.Exit(m.Run())
}

// dialAll answers each line of input with the source address of the connection or datagram.
// A line is "tcp 192.0.2.1:80", or "send 192.0.2.1:9" for a datagram of a socket that is
// not connected.
func dialAll() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		got, err := dial(f[0], f[1])
		if err != nil {
			var errno syscall.Errno
			errors.As(err, &errno)
			got = fmt.Sprintf("error %d: %v", int(errno), err)
		}
		fmt.Println(got)
	}
}

// held are the connections that stay.
var held []net.Conn

// protocolOf makes a socket, and returns its protocol as the kernel tells it.
func protocolOf(kind string) (string, error) {
	is := map[string][3]int{
		"tcp4": {unix.AF_INET, unix.SOCK_STREAM}, "tcp4-named": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP}, "tcp6": {unix.AF_INET6, unix.SOCK_STREAM},
		"udp4": {unix.AF_INET, unix.SOCK_DGRAM}, "unix": {unix.AF_UNIX, unix.SOCK_STREAM},
	}[kind]
	fd, err := unix.Socket(is[0], is[1]|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, is[2])
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is written
	p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return fmt.Sprint(p), err
}

func dial(how, to string) (string, error) {
	var d net.Dialer
	switch how {
	case "protocol": // of a socket that is not connected
		return protocolOf(to)
	case "stay": // and send
		c, err := net.Dial("tcp", to)
		if err != nil {
			return "", err
		}
		held = append(held, c)
		_, err = c.Write(make([]byte, 1<<20))
		return c.LocalAddr().String(), err
	case "more":
		for _, c := range held {
			if _, err := c.Write([]byte("x")); err != nil {
				return "", err
			}
		}
		return "sent", nil
	case "leave":
		for _, c := range held {
			_ = c.Close()
		}
		return "left", nil
	case "send", "send-any":
		local := "udp4"
		if strings.HasPrefix(to, "[") || how == "send-any" {
			local = "udp"
		}
		p, err := net.ListenPacket(local, ":0")
		if err != nil {
			return "", err
		}
		defer p.Close() //nolint:errcheck // nothing is written
		_, err = p.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return "sent", err
	case "port": // bound to a port and no address
		how, d.LocalAddr = "tcp4", &net.TCPAddr{Port: freePort()}
	case "mark":
		how = "tcp"
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var markErr error
			err := c.Control(func(fd uintptr) { markErr = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_MARK, 7) })
			return errors.Join(err, markErr)
		}
	case "mptcp":
		d.SetMultipathTCP(true)
		how = "tcp"
	case "many":
		return dialMany(netip.MustParseAddrPort(to))
	case "mapped":
		return dialMapped(netip.MustParseAddrPort(to), nil)
	case "mapped-any": // bound to no address, but to a port that the kernel chooses
		return dialMapped(netip.MustParseAddrPort(to), &syscall.SockaddrInet6{Addr: netip.IPv4Unspecified().As16()})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, how, to)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // nothing is written
	local := c.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	return local.Addr().Unmap().String(), nil
}

// freePort returns a port that the kernel gives out.
func freePort() int {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return 0
	}
	defer l.Close() //nolint:errcheck // nobody connects
	return l.Addr().(*net.TCPAddr).Port
}

// dialMapped connects an IPv6 socket to an IPv4 address, after it was bound to local; nil: it is
// not bound.
func dialMapped(to netip.AddrPort, local *syscall.SockaddrInet6) (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd) //nolint:errcheck // nothing is written
	if local != nil {
		if err := syscall.Bind(fd, local); err != nil {
			return "", err
		}
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}); err != nil {
		return "", err
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return netip.AddrFrom16(sa.(*syscall.SockaddrInet6).Addr).Unmap().String(), nil
}

// manyDials is how often dialMany connects.
const manyDials = 10_000

// dialMany connects datagram sockets to an address of IPv4, one after the other. It returns how
// many have each source.
func dialMany(to netip.AddrPort) (string, error) {
	from := map[string]int{}
	for range manyDials {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		sa, _ := syscall.Getsockname(fd) // err tells of a socket that is not connected
		_ = syscall.Close(fd)
		if err != nil {
			from[err.Error()]++
		} else if four, ok := sa.(*syscall.SockaddrInet4); ok {
			from[netip.AddrFrom4(four.Addr).String()]++
		}
	}
	return fmt.Sprint(from), nil
}

// member is a running dialAll in a control group.
type member struct {
	t   *testing.T
	in  *os.File
	out *bufio.Scanner
}

func startMember(t *testing.T, n *testbed.Namespace, g *groupbed.Group) *member {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), dialEnv+"=1")
	g.Put(cmd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close(); _ = cmd.Wait() })
	return &member{t, w, bufio.NewScanner(out)}
}

func (m *member) dial(how, to string) string {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, how, to); err != nil {
		m.t.Fatal(err)
	}
	if !m.out.Scan() {
		m.t.Fatalf("the program that dials has ended: %v", m.out.Err())
	}
	return m.out.Text()
}

// scene is a host with two networks, a table, and a control group with two groups below it.
type scene struct {
	bed        *testbed.Bed
	a, b       *testbed.Network
	table      *Table
	root       *groupbed.Group
	attachment *Attachment
}

func loadForTest(t *testing.T, n *testbed.Namespace) *Table {
	t.Helper()
	var table *Table
	err := n.Do(func() (err error) { table, err = Load(); return err })
	if errors.Is(err, ErrRights) || errors.Is(err, ErrUnsupported) && !isVerifier(err) {
		required.Lacking(t, "needs what scopes need: %v", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(table.Close)
	if err := table.Hold(time.Hour); err != nil {
		t.Fatal(err)
	}
	return table
}

func newScene(t *testing.T, rules bool) *scene {
	t.Helper()
	s := &scene{root: groupbed.New(t)}
	s.bed = testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: rules}, {Name: "wwan0", SourceRule: rules}}})
	s.a, s.b = s.bed.Networks[0], s.bed.Networks[1]
	s.table = loadForTest(t, s.bed.Client)
	a, err := s.table.Attach(s.root.Path, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	s.attachment = a
	return s
}

// put makes a control group, and all groups below it, belong to a scope.
func (s *scene) put(t *testing.T, g *groupbed.Group, scope uint32, strict bool) {
	t.Helper()
	id, err := GroupID(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	m := Member{Class: scope}
	if err := errors.Join(s.table.SetGroup(id, scope, m.Form()), s.table.SetMember(m, scope, map[bool]Manner{true: Strict}[strict], nil)); err != nil {
		t.Fatal(err)
	}
}

// use makes a scope use a network.
func (s *scene) use(t *testing.T, scope uint32, n *testbed.Network, byDevice, only bool) {
	t.Helper()
	for _, p := range []Protocol{TCP, UDP} {
		for _, v6 := range []bool{false, true} {
			a := Answer{ID: uint64(scope), Kind: Place, First: Way{Source: n.Client4, Device: n.Name, ByDevice: byDevice}, Only: only}
			if v6 {
				a.First.Source = n.Client6
			}
			if err := s.table.SetUsual(Usual{Scope: scope, Protocol: p, V6: v6}, a); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// errno returns the error of a refused call that should fail with want. A kernel without
// bpf_set_retval (before Linux 5.18) has only EPERM.
func (s *scene) errno(want syscall.Errno) syscall.Errno {
	if s.table.can.retval {
		return want
	}
	return syscall.EPERM
}

func (s *scene) read(t *testing.T) Event {
	t.Helper()
	patience := time.AfterFunc(30*time.Second, s.table.Stop)
	defer patience.Stop()
	e, err := s.table.Read()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// entries counts the entries of a map.
func (s *scene) entries(t *testing.T, name string) int {
	t.Helper()
	var k, v []byte
	n := 0
	all := s.table.maps[name].Iterate()
	for all.Next(&k, &v) {
		n++
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	web4   = "192.0.2.1:80"
	web6   = "[2001:db8:ffff::1]:80"
	closed = "192.0.2.1:9"
)

// told returns the key of the only datagram in the records, which went to the given
// destination.
func (s *scene) told(t *testing.T, to string) []byte {
	t.Helper()
	var k []byte
	if err := s.table.maps["told"].NextKey(nil, &k); err != nil {
		t.Fatalf("nothing was told of %s: %v", to, err)
	}
	return k
}
