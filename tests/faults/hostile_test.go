package faults

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// header encodes the beginning of a TLV.
func header(tag uint32, length uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, tag)
	return binary.LittleEndian.AppendUint64(b, length)
}

// attack is what a client does on one connection. An error means that the daemon did not do
// what it should.
type attack struct {
	name string
	do   func(c net.Conn) error
}

// dropped waits for the daemon to end the connection.
func dropped(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection is still open")
	}
	return nil
}

// send writes parts, even if the daemon has closed the connection.
func send(c net.Conn, parts ...[]byte) {
	_ = c.SetWriteDeadline(time.Now().Add(stage.Patience))
	for _, b := range parts {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

var attacks = []attack{
	{"huge length", func(c net.Conn) error {
		send(c, header(0x20, 1<<62))
		return dropped(c)
	}},
	{"negative length", func(c net.Conn) error {
		send(c, header(0x20, 1<<64-1))
		return dropped(c)
	}},
	{"length of the end", func(c net.Conn) error {
		send(c, header(0, 8), make([]byte, 8))
		return dropped(c)
	}},
	{"endless message", func(c net.Conn) error {
		for range 4096 {
			send(c, header(0x7777, 64), make([]byte, 64))
		}
		return dropped(c)
	}},
	{"half a message, then gone", func(c net.Conn) error {
		send(c, toLoopback[:len(toLoopback)/2])
		return c.Close()
	}},
	{"half a message, then silence", func(c net.Conn) error {
		send(c, toLoopback[:len(toLoopback)/2])
		return nil // left open until the end of the test
	}},
	{"a byte at a time", func(c net.Conn) error {
		for i := range toLoopback {
			send(c, toLoopback[i:i+1])
		}
		_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
		_, err := io.ReadFull(c, make([]byte, 12))
		return err // it is answered
	}},
	{"questions without reading", func(c net.Conn) error {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			if _, err := c.Write(toLoopback); err != nil {
				return nil // the kernel's buffers are full; the daemon's has a bound
			}
		}
	}},
	{"random bytes", func(c net.Conn) error {
		r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // nothing secret
		b := make([]byte, 64<<10)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		send(c, b)
		return dropped(c)
	}},
	{"requests with random damage", func(c net.Conn) error {
		r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // nothing secret
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range 500 {
			b := append([]byte(nil), toLoopback...)
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] ^= byte(1 << r.IntN(8))
			}
			send(c, b)
		}
		return nil
	}},
	{"messages that are large in another place each", func(c net.Conn) error {
		l := &link{c, wire.NewReader(c)}
		for i := range 90 {
			b := append([]byte(nil), toLoopback[:len(toLoopback)-len(header(0, 0))]...)
			for range i + 1 { // idle sockets, the last of which has much to say
				b = append(b, header(uint32(wire.TagSocketFile), 4)...)
				b = append(b, 1, 0, 0, 0)
			}
			host := strings.Repeat("h", 12<<10) + "\x00"
			b = append(append(append(b, header(uint32(wire.TagHostname), uint64(len(host)))...), host...), header(0, 0)...)
			send(c, b)
			var m wire.Message
			_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
			if err := l.reader.Read(&m); err != nil {
				return err
			}
		}
		return nil
	}},
	{"names that cannot exist", func(c net.Conn) error {
		l := &link{c, wire.NewReader(c)}
		for _, n := range []int{256, 4 << 10, 15 << 10} {
			m, err := l.exchange(&wire.Message{Action: wire.ActionResolveRequest, HasAction: true, Context: wire.Context{
				Type: wire.SockStream, Hostname: strings.Repeat("n", n),
			}})
			if err != nil || m.Action != wire.ActionErrorResolve {
				return fmt.Errorf("a name of %d bytes is answered with %v, %w", n, m.Action, err)
			}
		}
		return nil
	}},
	{"reports of what never was", func(c net.Conn) error {
		l := &link{c, wire.NewReader(c)}
		id, err := l.decision(netip.MustParseAddrPort("127.0.0.1:9"))
		if err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // nothing secret
		for range 200 {
			_, err := l.exchange(&wire.Message{
				Action: wire.ActionReportRequest, HasAction: true, Features: wire.FeatureReports, DecisionID: id,
				Outcome: &wire.Outcome{Candidate: int32(r.IntN(5) - 2), Errno: int32(r.IntN(140))},
				Transfer: &wire.Transfer{
					Candidate: int32(r.IntN(5) - 2), Flags: wire.TransferFlags(r.Uint32()), Bytes: r.Uint64(), Microseconds: r.Uint32(),
					Connect: r.Uint32(), RTT: r.Uint32(), MinRTT: r.Uint32(),
				},
				PlainDials: &wire.PlainDials{Late: r.Uint32(), Absent: r.Uint32()},
			})
			if err != nil {
				return err
			}
			id[8+r.IntN(8)] ^= byte(r.IntN(2)) // somebody else's, now and then
		}
		return nil
	}},
	{"a request again and again", func(c net.Conn) error {
		l := &link{c, wire.NewReader(c)}
		for range 1000 {
			if _, err := l.ask(toLoopback); err != nil {
				return err
			}
		}
		return nil
	}},
}

// Whatever a client sends, the others are served, and the daemon's memory grows by a
// bounded amount.
func TestHostileClients(t *testing.T) {
	d := start(t, options{}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	for range 100 { // warm
		suggestion(t, d.socket, toLoopback)
	}
	before := d.memory(t)
	good := inLoop(1, func() error { return served(d.socket) })
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			for range 20 {
				c, err := net.Dial("unix", d.socket)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if err := a.do(c); err != nil {
					t.Fatal(err)
				}
				if a.name == "questions without reading" || a.name == "endless message" {
					break // each takes its time
				}
			}
		})
	}
	if err := good(); err != nil {
		t.Errorf("a good client: %v", err)
	}
	if grown := d.memory(t) - before; grown > 64<<20 {
		t.Errorf("the daemon grew by %d MB", grown>>20)
	}
	if d.Log.Printed() > 64<<10 {
		t.Errorf("%d bytes were logged", d.Log.Printed())
	}
}

// served asks a question as a new client.
func served(socket string) error {
	l, err := open(socket)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if a, err := l.ask(toLoopback); err != nil || a != netip.MustParseAddr("127.0.0.1") {
		return fmt.Errorf("suggested %v, %w", a, err)
	}
	return nil
}

// If a user tries to take ten thousand connections, the user gets some thousand of them,
// and all others are served as before.
func TestThousandsOfConnections(t *testing.T) {
	const greedy = 10_000
	requireFiles(t, greedy+200)
	dir := newDir(t)
	d := start(t, options{dir: dir}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	hog := startRole(t, userA, userA, "hog", d.socket, itoa(greedy))
	kept, err := strconv.Atoi(hog.line(t))
	if err != nil {
		t.Fatal(err)
	}
	if kept == 0 || kept >= greedy {
		t.Errorf("%d of %d connections are kept", kept, greedy)
	}
	for range 20 {
		if err := served(d.socket); err != nil {
			t.Fatal(err)
		}
	}
	if got := startRole(t, userB, userB, "ask", d.socket).line(t); got != "127.0.0.1" {
		t.Errorf("another user is told %q", got)
	}
	d.Log.Await(t, "too many clients; some are refused", 1)
	if n := strings.Count(d.Log.String(), "\n"); n > 20 {
		t.Errorf("%d lines are logged:\n%.4000s", n, d.Log)
	}
	if m := d.memory(t); m > 512<<20 {
		t.Errorf("the daemon takes %d MB", m>>20)
	}
	hog.end(t)
	stage.Until(t, "the user's next connection is served", func() bool {
		return startRole(t, userA, userA, "ask", d.socket).line(t) == "127.0.0.1"
	})
}

// memory returns how much memory the daemon has, in bytes.
func (d *daemon) memory(t *testing.T) int64 {
	t.Helper()
	return d.status(t, "VmRSS") << 10
}

// status returns a number of /proc/PID/status.
func (d *daemon) status(t *testing.T, key string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == key+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in status", key)
	return 0
}
