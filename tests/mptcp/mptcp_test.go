// Package mptcp tests Multipath TCP from end to end: the real daemon, the client library
// and a server over emulated links, with both path managers.
package mptcp

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// program is the daemon under test, socksd the proxy.
var program, socksd string

func TestMain(m *testing.M) {
	acted, err := stage.Act(map[string]stage.Job{
		"download": stage.Typed(download), "getaddrinfo": stage.Typed(byGetaddrinfo), "proxy": stage.Typed(byProxy),
		"own": stage.Typed(byOwnSocket),
	})
	if acted {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(stage.WithPrograms(func(dir string) int {
		program, socksd = filepath.Join(dir, "mamma"), filepath.Join(dir, "muacsocksd")
		return m.Run()
	}, "../../cmd/mamma", "../../cmd/muacsocksd"))
}

// order says what an actor has to download.
type order struct {
	Socket  string // of the daemon
	Intents string
	Addr    string
	Bytes   int64
}

// received says how a download went.
type received struct {
	Sum       string // SHA-256 of the content
	Took      time.Duration
	Gap       time.Duration // the longest without a byte, after the first
	Source    netip.Addr    // of the first subflow
	Asked     bool          // the socket was opened with MPTCP
	Multipath bool          // and the peer agreed
	PlainTCP  bool          // it did not, as the client library tells
}

// dialer asks the order's daemon. The caller closes its Daemon.
func (o order) dialer() (*client.Dialer, error) {
	intents, err := intent.Parse(o.Intents)
	if err != nil {
		return nil, err
	}
	return &client.Dialer{Intents: intents, Daemon: &client.Daemon{Path: o.Socket, DecisionTimeout: patience}}, nil
}

// download runs in an actor in the client's namespace, because its sockets must be made
// there on any thread.
func download(o order) (r received, err error) {
	dialer, err := o.dialer()
	if err != nil {
		return r, err
	}
	defer dialer.Daemon.Close() //nolint:errcheck // nothing is lost
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begun := time.Now()
	c, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return r, err
	}
	defer c.Close() //nolint:errcheck // only read
	info, _ := client.InfoOf(c)
	if !info.Decided {
		return r, fmt.Errorf("dialled without the daemon: %w", info.Err)
	}
	r.Source, r.Asked, r.PlainTCP = info.Local.Addr(), info.Multipath, info.PlainTCP
	if err := r.read(c, o.Bytes, begun); err != nil {
		return r, err
	}
	if t, ok := c.(interface{ MultipathTCP() (bool, error) }); ok {
		r.Multipath, err = t.MultipathTCP()
	}
	return r, err
}

// read asks the server at the other end for n bytes.
func (r *received) read(c net.Conn, n int64, begun time.Time) error {
	_ = c.SetDeadline(begun.Add(patience))
	if err := binary.Write(c, binary.BigEndian, n); err != nil {
		return err
	}
	h := sha256.New()
	buf := make([]byte, 64<<10)
	last := time.Time{}
	for {
		n, err := c.Read(buf)
		now := time.Now()
		if n > 0 && !last.IsZero() {
			r.Gap = max(r.Gap, now.Sub(last))
		}
		last = now
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	r.Took = time.Since(begun)
	r.Sum = hex.EncodeToString(h.Sum(nil))
	return nil
}

// patience is the time limit for what should happen at once. It only decides how long a
// failing test waits.
const patience = 20 * time.Second

// content returns the bytes that the server sends.
func content(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{'m'}), n) }

func sumOf(n int64) string {
	h := sha256.New()
	_, _ = io.Copy(h, content(n)) // neither fails
	return hex.EncodeToString(h.Sum(nil))
}

// server sends as many bytes as it is asked for.
type server struct {
	addr string
	// After pauseAt bytes, paused is closed, and the client has to wait until resume is
	// closed.
	pauseAt        int64
	paused, resume chan struct{}
	// accepted receives for each connection whether it is MPTCP, as the server sees it.
	accepted chan bool
}

// serve starts a server at the service. With pauseAt, it serves one client.
func serve(t *testing.T, b *testbed.Bed, multipath bool, pauseAt int64) *server {
	t.Helper()
	return serveAt(t, b, 0, multipath, pauseAt)
}

// serveAt does the same at a port of the service's own namespace.
func serveAt(t *testing.T, b *testbed.Bed, port uint16, multipath bool, pauseAt int64) *server {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	var l net.Listener
	err := b.Service.Do(func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp4", netip.AddrPortFrom(testbed.ServiceAddr4, port).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), pauseAt: pauseAt, paused: make(chan struct{}), resume: make(chan struct{}), accepted: make(chan bool, 64)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			on, _ := c.(*net.TCPConn).MultipathTCP()
			s.accepted <- on
			go s.send(c)
		}
	}()
	return s
}

func (s *server) send(c net.Conn) {
	defer c.Close() //nolint:errcheck // the client sees what is missing
	_ = c.SetDeadline(time.Now().Add(patience))
	var n int64
	if binary.Read(c, binary.BigEndian, &n) != nil {
		return
	}
	from := content(n)
	if s.pauseAt > 0 {
		if _, err := io.CopyN(c, from, s.pauseAt); err != nil {
			return
		}
		close(s.paused)
		<-s.resume
	}
	_, _ = io.Copy(c, from) // the client sees what is missing
}

// stageFor is a host with two networks, a daemon and an actor on it.
type stageFor struct {
	*testbed.Bed
	daemon *stage.Daemon
	actor  *stage.Actor
	kernel *mptcp.Conn
	dir    string // of the daemon's files
	fifo   string
	sent   *testbed.Capture // what the host sends and receives
}

// link is the shape of both networks. Its queue holds about as much as is on the way.
var link = testbed.Shape{Rate: 20 * testbed.Mbit, Delay: 10 * time.Millisecond, Queue: 64 << 10}

// set makes a stage, or skips the test. foreign are endpoints that somebody else has made.
func set(t *testing.T, mode mptcp.PathManager, config string, foreign ...mptcp.Endpoint) *stageFor {
	t.Helper()
	emulated := &testbed.LinkConfig{Down: link, Up: link}
	s := &stageFor{Bed: testbed.ForTest(t, testbed.Config{Congestion: "cubic", Networks: []testbed.NetworkConfig{
		{Name: "wlan0", Emulate: emulated}, {Name: "wwan0", Emulate: emulated},
	}})}
	err := s.Client.Do(func() (err error) {
		if on, err := mptcp.Enabled(); err != nil || !on {
			return errors.Join(err, errors.New("net.mptcp.enabled is not 1"))
		}
		selector, err := mptcp.OpenSelector()
		if err != nil {
			return err
		}
		_ = selector.Close()
		s.kernel, err = mptcp.Dial()
		return err
	})
	if err != nil {
		required.Lacking(t, "needs a kernel with MPTCP: %v", err)
	}
	t.Cleanup(func() { _ = s.kernel.Close() })
	for _, e := range foreign {
		if err := s.kernel.AddEndpoint(e); err != nil {
			t.Fatal(err)
		}
	}
	s.dir = t.TempDir()
	s.fifo = filepath.Join(s.dir, "fifo")
	s.start(t, string(mode), config)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.daemon.Output())
		}
	})
	if s.actor, err = stage.StartActor(s.Client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.actor.Close() })
	if s.sent, err = s.Client.Capture(); err != nil {
		testbed.SkipOrFail(t, err)
	}
	t.Cleanup(func() { s.sent.Close() })
	return s
}

// start starts the daemon, in the same place each time.
func (s *stageFor) start(t *testing.T, mode, config string) {
	t.Helper()
	config = fmt.Sprintf("mptcp {\n  path_manager = %q\n}\ncompat_fifo = %q\nstate_dir = %q\n%s", mode, s.fifo, filepath.Join(s.dir, "state"), config)
	var err error
	if s.daemon, err = stage.StartDaemon(t.Context(), s.Client, program, s.dir, "mamma", config); err != nil {
		t.Fatal(err)
	}
}

// get downloads n bytes and checks that they are the right ones.
func (s *stageFor) get(t *testing.T, from *server, intents string, n int64) received {
	t.Helper()
	var r received
	if err := s.actor.Do("download", order{s.daemon.Socket, intents, from.addr, n}, &r); err != nil {
		t.Fatalf("download: %v\n%s", err, s.daemon.Output())
	}
	if r.Sum != sumOf(n) {
		t.Errorf("content of %d bytes is damaged", n)
	}
	return r
}

// opened counts the TCP connections, subflows included, that the host has opened to the
// server over a network.
func (s *stageFor) opened(network string, from *server) int {
	n := 0
	seen := map[netip.AddrPort]bool{}
	for _, p := range s.sent.Packets() {
		if p.Outgoing && p.SYN && !p.ACK && p.Src.Addr() == s.Network(network).Client4 && p.Dst.String() == from.addr && !seen[p.Src] {
			seen[p.Src] = true // not again
			n++
		}
	}
	return n
}

// each runs a test with each path manager.
func each(t *testing.T, f func(*testing.T, mptcp.PathManager)) {
	for _, mode := range []mptcp.PathManager{mptcp.InKernel, mptcp.Userspace} {
		t.Run(string(mode), func(t *testing.T) { f(t, mode) })
	}
}

const networks = `
interface "wlan0" {
  default = true
}
interface "wwan0" {}
`
