package run

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// byPort makes the policy send what goes to port 7000 over wlan0 and everything else over
// wwan0, and permits no other network for either.
const byPort = `policy "score" {
  minimize = 1
  require  = (prefix.interface == "wlan0") == (known(intent.category) && intent.category == "query")
}
interface "wlan0" {
  default = true
}
interface "wwan0" {
}
`

// required runs the dialer with bulk transfers, which are for wwan0, and with further
// options. It checks that nothing leaves by wlan0.
func (w *world) required(t *testing.T, u user, options []string, files []*os.File, program ...string) (out, errs string, status int) {
	t.Helper()
	capture, err := w.Client.Capture()
	if err != nil {
		testbed.SkipOrFail(t, err)
	}
	cmd := w.command(u, append(append(append([]string{"--require", "--intents", "category=bulktransfer"}, options...), "--"), program...)...)
	cmd.ExtraFiles = files
	out, errs, status = w.output(t, cmd)
	for _, packet := range capture.Close() {
		to := packet.Dst.Addr()
		if packet.Protocol == syscall.IPPROTO_ICMP || packet.Protocol == syscall.IPPROTO_ICMPV6 { // the kernel's: an answer came after an earlier program's end
			continue
		}
		// Over IPv6 the kernel acknowledges by the host's routes, whatever interface the
		// socket was bound to, what comes for a connection that its program has closed.
		if packet.Protocol == syscall.IPPROTO_TCP && packet.Src.Addr().String() == w.address("wwan0", true) {
			continue
		}
		service := packet.Dst.Port() == streamPort || packet.Dst.Port() == datagramPort // perhaps by way of another host
		if packet.Outgoing && packet.Interface == "wlan0" && (service || to == testbed.ServiceAddr4 || to == testbed.ServiceAddr6 || to.IsLoopback() || to.Is4() && to.IsMulticast()) {
			t.Errorf("left by wlan0: %v", packet)
		}
	}
	return out, errs, status
}

// --require also holds for ways of sending that are left alone otherwise. Their
// messages go by the chosen network or fail, and the person at the terminal is told.
func TestRequired(t *testing.T) {
	w := newWorld(t)
	chosen, other := w.address("wwan0", false), w.address("wlan0", false)
	router := w.Network("wlan0").Gateway4.String()
	const (
		placed       = "" // by the network that was chosen
		streams      = service4 + ":7000"
		packets      = service4 + ":7001"
		noRoute      = "network is unreachable"
		denied       = "permission denied"
		notPermitted = "operation not permitted"
	)
	for _, tt := range []struct {
		name string
		args []string
		want string // what the program says: placed, or an error
		told string // what the person is told
	}{
		{"a fixed port of UDP", []string{"server", packets, "5353"}, placed, ""},
		{"a fixed port of TCP", []string{"fixed", streams, "5353"}, placed, ""},
		{"no family", []string{"bare", packets}, placed, ""},
		{"UDP-Lite", []string{"udplite", packets}, placed, ""},
		{"bound to the other address", []string{"from", streams, other}, noRoute, "it is bound to " + other},
		{"bound to the address that is chosen", []string{"from", streams, chosen}, placed, ""},
		{"bound to the other interface", []string{"device", streams, "wlan0"}, noRoute, "it is bound to wlan0"},
		{"bound to the interface that is chosen", []string{"device", streams, "wwan0"}, placed, ""},
		{"bound to the other interface late", []string{"device-late", packets, "wlan0"}, notPermitted, "bind its socket to an interface"},
		{"the other interface for routes", []string{"unicast-if", packets, "wlan0"}, noRoute, "wlan0"},
		{"the interface for routes that is chosen", []string{"unicast-if", packets, "wwan0"}, placed, ""},
		{"marked", []string{"mark", packets}, notPermitted, "set SO_MARK"},
		{"a message from the other address", []string{"pktinfo", packets, other}, noRoute, "it is bound to " + other},
		{"the same behind other control data", []string{"pktinfo-late", packets, other}, noRoute, "it is bound to " + other},
		{"the same to the peer", []string{"pktinfo-peer", packets, other}, noRoute, other},
		{"the same, with a name of no length", []string{"pktinfo-unnamed", packets, other}, noRoute, other},
		{"a message from the address that is chosen", []string{"pktinfo", packets, chosen}, placed, ""},
		{"loopback by an interface", []string{"loopback-device", "127.0.0.1:7001", "wlan0"}, noRoute, "it is bound to wlan0"},
		{"a message to loopback by an interface", []string{"loopback-message", "127.0.0.1:7001", "wlan0"}, noRoute, "it is bound to wlan0"},
		{"a source route", []string{"source-route", packets, router}, notPermitted, "set IP_OPTIONS"},
		{"a late source route", []string{"source-route-late", packets, router}, notPermitted, "set IP_OPTIONS"},
		{"a message with a source route", []string{"source-route-message", packets, router}, noRoute, "source route"},
		{"a group", []string{"join", packets, "wlan0"}, notPermitted, "join a group"},
		{"multicast", []string{"sendto", "239.1.2.3:7001"}, noRoute, "239.1.2.3:7001: nobody decides about"},
		{"raw", []string{"kind", packets, "2,3,17"}, denied, "open a raw socket"},
		{"ping", []string{"kind", packets, "2,2,1"}, denied, "open a socket of ICMP"},
		{"ping of IPv6", []string{"kind", packets, "10,2,58"}, denied, "open a socket of ICMPv6"},
		{"SCTP", []string{"kind", packets, "2,1,132"}, denied, "open a socket of SCTP"},
		{"DCCP", []string{"kind", packets, "2,6,33"}, denied, "open a socket of DCCP"},
		{"packets", []string{"kind", packets, "17,2,0"}, denied, "open a packet socket"},
		{"SMC", []string{"kind", packets, "43,1,0"}, denied, "open a socket of family 43"},
		{"Multipath TCP by the program itself", []string{"kind", packets, "2,1,262"}, "protocol not supported", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := w.required(t, root, nil, nil, append([]string{bin + "/dialer"}, tt.args...)...)
			if tt.want == placed {
				if out != chosen+"\n" || errs != "" || status != 0 {
					t.Errorf("status %d, the server saw %q, want %s\n%s", status, out, chosen, errs)
				}
				return
			}
			told := strings.Contains(errs, "mammactl run: ")
			if status == 0 || !strings.Contains(errs, tt.want) || told != (tt.told != "") || !strings.Contains(errs, tt.told) {
				t.Errorf("status %d, printed %q, want %q and %q\n%s", status, out, tt.want, tt.told, errs)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		if len(users()) < 2 {
			testbed.SkipOrFail(t, fmt.Errorf("%w: needs a second user", testbed.ErrUnavailable))
		}
		if out, errs, status := w.required(t, nobody, nil, nil, bin+"/dialer", "server", packets, "5353"); out != chosen+"\n" || status != 0 {
			t.Errorf("status %d, the server saw %q, want %s\n%s", status, out, chosen, errs)
		}
	})
	t.Run("another network namespace", func(t *testing.T) {
		require(t, "unshare")
		_, errs, status := w.required(t, root, nil, nil, "unshare", "--net", bin+"/dialer", "udp", packets)
		if status == 0 || !strings.Contains(errs, "of another network namespace") {
			t.Errorf("status %d\n%s", status, errs)
		}
	})
	t.Run("32 bits", func(t *testing.T) {
		program := small(t)
		if _, errs, status := w.output(t, w.command(root, "--", program, "kind", packets, "2,1,0")); status != 0 {
			t.Skipf("needs a kernel that runs programs of 32 bits: %s", errs) // no test bed helps
		}
		for kind, refused := range map[string]bool{"2,1,0": true, "1,1,0": false} {
			_, errs, status := w.required(t, root, nil, nil, program, "kind", packets, kind)
			if told := strings.Contains(errs, "of another architecture"); told != refused || (status == 0) == refused {
				t.Errorf("%s, to be refused: %t; status %d\n%s", kind, refused, status, errs)
			}
		}
	})
	for _, option := range []string{"--allow-io-uring", "--no-messages"} {
		if _, errs, status := w.output(t, w.command(root, "--require", option, "--", "true")); status != 2 || !strings.Contains(errs, option) {
			t.Errorf("%s beside --require: status %d\n%s", option, status, errs)
		}
	}
}

// The same holds over IPv6, whose options have other names and other rules.
func TestRequiredOverIPv6(t *testing.T) {
	w := newWorld(t)
	chosen, other := w.address("wwan0", true), w.address("wlan0", true)
	router := w.Network("wlan0").Gateway6.String()
	const (
		streams      = "[" + service6 + "]:7000"
		packets      = "[" + service6 + "]:7001"
		mapped       = "[::ffff:" + service4 + "]:7001"
		noRoute      = "network is unreachable"
		notPermitted = "operation not permitted"
	)
	for _, tt := range []struct {
		name string
		args []string
		want string // what the program says: the address that the server saw, or an error
		told string // what the person is told
	}{
		{"TCP", []string{"tcp", streams}, chosen, ""},
		{"a datagram", []string{"sendto6", packets}, chosen, ""},
		{"a mapped address", []string{"sendto6", mapped}, w.address("wwan0", false), ""},
		{"a fixed port", []string{"server6", packets, "5353"}, chosen, ""},
		{"bound to the other address", []string{"from6", streams, other}, noRoute, "it is bound to " + other},
		{"bound to the address that is chosen", []string{"from6", streams, chosen}, chosen, ""},
		{"bound to the other interface late", []string{"device-late6", packets, "wlan0"}, notPermitted, "bind its socket to an interface"},
		{"a message from the other address", []string{"pktinfo6", packets, other}, noRoute, other},
		{"the same to the peer", []string{"pktinfo-peer6", packets, other}, noRoute, other},
		{"a message from the address that is chosen", []string{"pktinfo6", packets, chosen}, chosen, ""},
		{"a message by the other interface", []string{"pktinfo-interface6", packets, "wlan0"}, noRoute, "wlan0"},
		{"a message by the interface that is chosen", []string{"pktinfo-interface6", packets, "wwan0"}, chosen, ""},
		{"the other address for all messages", []string{"pktinfo-option6", packets, other}, notPermitted, "IPV6_PKTINFO"},
		{"a routing header", []string{"routing-header6", packets, router}, notPermitted, "IPV6_RTHDR"},
		{"a message with a routing header", []string{"routing-header-message6", packets, router}, noRoute, "source route"},
		{"a group", []string{"join6", packets, "wlan0"}, notPermitted, "join a group"},
		{"the other interface for routes", []string{"unicast-if6", packets, "wlan0"}, noRoute, "wlan0"},
		{"the other interface for routes of a mapped address", []string{"unicast-if6", mapped, "wlan0"}, noRoute, "wlan0"},
		{"the interface for routes that is chosen", []string{"unicast-if6", packets, "wwan0"}, chosen, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := w.required(t, root, nil, nil, append([]string{bin + "/dialer"}, tt.args...)...)
			if tt.told == "" {
				if out != tt.want+"\n" || errs != "" || status != 0 {
					t.Errorf("status %d, the server saw %q, want %s\n%s", status, out, tt.want, errs)
				}
				return
			}
			if status == 0 || !strings.Contains(errs, tt.want) || !strings.Contains(errs, "mammactl run: ") || !strings.Contains(errs, tt.told) {
				t.Errorf("status %d, printed %q, want %q and %q\n%s", status, out, tt.want, tt.told, errs)
			}
		})
	}
}

// small builds the dialer for processors of 32 bits.
func small(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		testbed.SkipOrFail(t, fmt.Errorf("%w: needs a processor that runs programs for 386", testbed.ErrUnavailable))
	}
	dir := folder(t)
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/dialer32", "./testdata/dialer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=386")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return dir + "/dialer32"
}

// A socket is on one network. If another network is chosen for a further destination, what
// the socket sends there is refused if the first network is no longer permitted.
func TestRequiredOfOneSocket(t *testing.T) {
	w := newWorld(t)
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", byPort); err != nil {
		t.Fatal(err)
	}
	to := service4 + ":7001"
	for _, how := range []string{"several", "reconnect"} {
		out, errs, status := w.required(t, root, []string{"--intents-for", "7002=category=query"}, nil, bin+"/dialer", how, to, "7002")
		if status == 0 || !strings.Contains(errs, "network is unreachable") || !strings.Contains(errs, "placed on "+w.address("wwan0", false)) {
			t.Errorf("%s: status %d, the server saw %q\n%s", how, status, out, errs)
		}
		out, errs, status = w.required(t, root, nil, nil, bin+"/dialer", how, to, "7001")
		if out != w.address("wwan0", false)+"\n" || status != 0 {
			t.Errorf("%s, one network for both: status %d, the server saw %q\n%s", how, status, out, errs)
		}
	}
}

// Sockets that a program inherits are looked at. A connection that somebody else has made
// must be where the manager would have it, or the program does not run.
func TestRequiredOfInheritedSockets(t *testing.T) {
	w := newWorld(t)
	connect := func(network string) *os.File {
		d := &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.Network(network).Client4, 0))}
		c, err := w.Client.Dial(context.Background(), d, "udp", service4+":7001")
		if err != nil {
			t.Fatal(err)
		}
		return fileOf(t, c.(*net.UDPConn))
	}
	var raw, unbound *os.File
	if err := w.Client.Do(func() error {
		for typ, f := range map[int]**os.File{unix.SOCK_RAW: &raw, unix.SOCK_DGRAM: &unbound} {
			fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
			if err != nil {
				return err
			}
			*f = os.NewFile(uintptr(fd), "socket")
			t.Cleanup(func() { _ = (*f).Close() })
		}
		return nil
	}); err != nil {
		testbed.SkipOrFail(t, fmt.Errorf("%w: %w", testbed.ErrUnavailable, err))
	}
	chosen := w.address("wwan0", false) + "\n"
	for _, tt := range []struct {
		name string
		file *os.File
		want string // what the person is told; "": the program runs
	}{
		{"connected elsewhere", connect("wlan0"), "descriptor 3: it is connected to " + service4 + ":7001"},
		{"connected where it should be", connect("wwan0"), ""},
		{"not connected", unbound, ""},
		{"raw", raw, "descriptor 3: sockets of this kind"},
		{"a ring of io_uring", newRing(t), "descriptor 3: it is a ring of io_uring"},
	} {
		if tt.file == nil {
			continue // newRing has said why
		}
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := w.required(t, root, nil, []*os.File{tt.file}, bin+"/dialer", "handed", service4+":7001", "3")
			if tt.want == "" && (out != chosen || status != 0) || tt.want != "" && (status != 125 || !strings.Contains(errs, tt.want)) {
				t.Errorf("status %d, the server saw %q\n%s", status, out, errs)
			}
			// The same holds for a run inside a run that requires nothing.
			inner := w.command(root, "--", bin+"/mammactl", "run", "--require", "--intents", "category=bulktransfer", "--", bin+"/dialer", "handed", service4+":7001", "3")
			inner.ExtraFiles = []*os.File{tt.file}
			out, errs, status = w.output(t, inner)
			if tt.want == "" && (out != chosen || status != 0) || tt.want != "" && (status != 125 || !strings.Contains(errs, tt.want)) {
				t.Errorf("inside: status %d, the server saw %q\n%s", status, out, errs)
			}
		})
	}
}

// A run inside another one loses nothing of what is required, and can require for itself.
func TestRequiredInside(t *testing.T) {
	w := newWorld(t)
	inside := func(options ...string) []string {
		return append(append([]string{bin + "/mammactl", "run", "--intents", "category=bulktransfer"}, options...), "--", bin+"/dialer", "from", service4+":7000", w.address("wlan0", false))
	}
	if _, errs, status := w.required(t, root, nil, nil, inside()...); status == 0 || !strings.Contains(errs, "may not connect") {
		t.Errorf("status %d\n%s", status, errs)
	}
	for require, refused := range map[string]bool{"--require": true, "--verbose": false} {
		out, errs, status := w.output(t, w.command(root, append([]string{"--"}, inside(require)...)...))
		if (status == 0) == refused || strings.Contains(errs, "may not connect") != refused {
			t.Errorf("%s: status %d, the server saw %q\n%s", require, status, out, errs)
		}
	}
}

// What a run inside another one requires holds for processes whose parents have ended, too,
// although the kernel no longer tells that they descend from that run. Other programs of the
// outer run are not concerned.
func TestRequiredOfOrphansInside(t *testing.T) {
	w := newWorld(t)
	inner := bin + "/mammactl run --require --intents category=bulktransfer -- "
	orphan := bin + "/dialer orphan " + service4 + ":7000 from " + w.address("wlan0", false)
	for _, tt := range []struct {
		name, script string
		refused      bool
	}{
		{"of the inner run", inner + orphan, true},
		{"of a program in the inner run", inner + "sh -c '" + orphan + "; exit'", true},
		{"of an inner run in the inner run", inner + bin + "/mammactl run --intents category=bulktransfer -- " + orphan, true},
		{"of the outer run", orphan, false},
		{"of the outer run, after an inner run", inner + "true; " + orphan, false},
		{"of a program in the outer run, after an inner run", inner + "true; sh -c '" + orphan + "; exit'", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, _ := w.output(t, w.command(root, "--", "sh", "-c", "("+tt.script+") 2>&1 | cat"))
			refused := strings.Contains(out, "network is unreachable")
			if refused != tt.refused || refused == strings.Contains(out, w.address("wlan0", false)+"\n") {
				t.Errorf("refused %v, want %v: the program printed %q\n%s", refused, tt.refused, out, errs)
			}
		})
	}
}

// newRing makes a ring of io_uring. It returns nil if the kernel makes none.
func newRing(t *testing.T) *os.File {
	t.Helper()
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 2, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Logf("no ring of io_uring is inherited: the kernel makes none: %v", errno)
		return nil
	}
	f := os.NewFile(fd, "ring")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func fileOf(t *testing.T, c *net.UDPConn) *os.File {
	t.Helper()
	f, err := c.File()
	_ = c.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
