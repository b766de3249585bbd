package system

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// dialerEnv makes this program a client. The variable has the path of the daemon's
// socket. The client reads one address a line and dials it.
//
// A connection to an address after "keep " stays open until the line "drop". After the
// address, a line can say which networks the connection may take: "require network
// home". Before the address, it can have the address to bind the socket to, "from
// 0.0.0.0 ", and "bsd ", which tells to use the calls of package client/bsd.
const dialerEnv = "MAMMA_SYSTEM_DIALER"

// dialed is a line that the client prints.
type dialed struct {
	Took  time.Duration
	Local netip.Addr
	// Device is the interface that the socket is bound to, "" for none.
	Device string
	// NotPermitted tells that the error is client.ErrNotPermitted.
	NotPermitted bool
	// Refused tells that the error is client.ErrRefused.
	Refused bool
	Err     string
}

// serveDials is the client's main function.
func serveDials(socket string, in io.Reader, out io.Writer) int {
	d := client.Dialer{Daemon: &client.Daemon{Path: socket, DecisionTimeout: 2 * time.Second}}
	defer func() { _ = d.Daemon.Close() }()
	var kept []net.Conn
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var r dialed
		if lines.Text() == "drop" {
			for _, c := range kept {
				_ = c.Close()
			}
			kept = nil
			continue
		}
		line, keep := strings.CutPrefix(lines.Text(), "keep ")
		line, classic := strings.CutPrefix(line, "bsd ")
		var from netip.Addr
		if rest, ok := strings.CutPrefix(line, "from "); ok {
			text, address, _ := strings.Cut(rest, " ")
			from, line = netip.MustParseAddr(text), address
		}
		if classic {
			r = classicDial(d.Daemon, line, from)
			if err := json.NewEncoder(out).Encode(r); err != nil {
				return 1
			}
			continue
		}
		d := client.Dialer{Daemon: d.Daemon}
		if from.IsValid() {
			d.Net.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		address, selection, _ := strings.Cut(line, " ")
		ctx = client.WithSelection(ctx, selectionOf(selection))
		begun := time.Now()
		c, err := d.DialContext(ctx, "tcp", address)
		r.Took = time.Since(begun)
		cancel()
		if err == nil {
			if a, err := netip.ParseAddrPort(c.LocalAddr().String()); err == nil {
				r.Local = a.Addr().Unmap()
			}
			r.Device = boundTo(c)
			if kept = append(kept, c); !keep {
				kept = kept[:len(kept)-1]
				_ = c.Close()
			}
		} else {
			r.Err, r.NotPermitted, r.Refused = err.Error(), errors.Is(err, client.ErrNotPermitted), errors.Is(err, client.ErrRefused)
		}
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return 1
		}
	}
	return 0
}

// classicDial connects with the calls of package client/bsd.
func classicDial(daemon *client.Daemon, address string, from netip.Addr) (r dialed) {
	to := netip.MustParseAddrPort(address)
	c := &bsd.Context{Daemon: daemon}
	fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil && from.IsValid() {
		err = c.Bind(fd, netip.AddrPortFrom(from, 0))
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = c.Connect(ctx, fd, to)
	}
	if err != nil {
		r.Err, r.Refused = err.Error(), errors.Is(err, client.ErrRefused)
	} else if sa, err := unix.Getsockname(fd); err == nil {
		if in4, ok := sa.(*unix.SockaddrInet4); ok {
			r.Local = netip.AddrFrom4(in4.Addr)
		}
		r.Device, _ = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	}
	_ = c.Close(fd)
	return r
}

// selectionOf parses preferences such as "require network home, avoid cost metered".
func selectionOf(text string) (s client.SelectionProperties) {
	for one := range strings.SplitSeq(text, ", ") {
		words := strings.Fields(one)
		if len(words) != 3 {
			continue
		}
		want := map[string]client.Preference{"require": client.Require, "prefer": client.Prefer, "avoid": client.Avoid, "prohibit": client.Prohibit}[words[0]]
		switch words[1] {
		case "interface":
			s = s.WithInterface(words[2], want)
		case "network":
			s = s.WithNetwork(words[2], want)
		case "cost":
			cost := map[string]client.Cost{"free": client.CostFree, "metered": client.CostMetered, "expensive": client.CostExpensive}[words[2]]
			s = s.WithCost(cost, want)
		}
	}
	return s
}

// boundTo asks the kernel which interface a connection is bound to.
func boundTo(c net.Conn) (device string) {
	inner, ok := c.(interface{ NetConn() net.Conn })
	if !ok {
		return ""
	}
	sc, ok := inner.NetConn().(syscall.Conn)
	if !ok {
		return ""
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) {
		device, _ = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	})
	return device
}

// dialer is a client that runs on the bed's client host. It keeps running, as programs
// do, so that its reports reach the daemon.
type dialer struct {
	t   *testing.T
	bed *testbed.Bed
	in  io.Writer
	out *json.Decoder
}

func startDialer(t *testing.T, bed *testbed.Bed, socket string) *dialer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dialerEnv+"="+socket)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &dialer{t, bed, in, json.NewDecoder(out)}
}

// dial connects. It returns the network, "" if the connection failed, and how long that
// took.
func (d *dialer) dial(address string) (network string, took time.Duration) {
	d.t.Helper()
	r := d.ask(address)
	if n := d.bed.NetworkOf(r.Local); n != nil {
		return n.Name, r.Took
	}
	return r.Err, r.Took
}

// drop closes the connections that were kept.
func (d *dialer) drop() {
	d.t.Helper()
	if _, err := fmt.Fprintln(d.in, "drop"); err != nil {
		d.t.Fatal(err)
	}
}

// ask makes the client dial, and returns what the client prints.
func (d *dialer) ask(line string) (r dialed) {
	d.t.Helper()
	if _, err := fmt.Fprintln(d.in, line); err != nil {
		d.t.Fatal(err)
	}
	if err := d.out.Decode(&r); err != nil {
		d.t.Fatalf("the client ended: %v", err)
	}
	return r
}
