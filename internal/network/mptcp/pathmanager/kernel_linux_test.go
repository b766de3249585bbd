package pathmanager

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

// world is a host with two networks and an echo service.
type world struct {
	*testbed.Bed
	*host
	observer   *Observer
	wlan, wwan *policy.Prefix
}

// newWorld makes a world in which a Manager works, or skips the test.
func newWorld(t *testing.T, mode mptcp.PathManager) *world {
	t.Helper()
	b := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	w := &world{Bed: b}
	w.wlan = prefix("wlan0", b.Networks[0].Index, b.Networks[0].Client4.String()+"/24")
	w.wwan = prefix("wwan0", b.Networks[1].Index, b.Networks[1].Client4.String()+"/24")
	w.host = newHost(w.wlan, w.wwan)
	var m *Manager
	err := b.Client.Do(func() (err error) {
		if w.observer, err = OpenObserver(w.host); err != nil {
			return err
		}
		m, err = Open(mode, w.host, t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
		return err
	})
	if err != nil {
		required.Lacking(t, "needs the kernel's path manager of Multipath TCP: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		s := w.snapshot(t)
		if s.Selected != mptcp.InKernel || len(s.Endpoints) > 0 || s.Limits.Subflows != 2 {
			t.Errorf("left behind: %+v", s)
		}
		_ = w.observer.Close()
	})
	w.changed = m.Changed
	return w
}

func (w *world) snapshot(t *testing.T) Snapshot {
	t.Helper()
	s, err := w.observer.Snapshot(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await waits until the connection's subflows run on the given interfaces. It exchanges
// data meanwhile, so that they make progress.
func (w *world) await(t *testing.T, c net.Conn, want ...string) ConnectionState {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		exchange(t, c)
		s := w.snapshot(t)
		var got []string
		if len(s.Connections) == 2 { // the service has a namespace of its own
			t.Fatalf("two connections: %+v", s.Connections)
		}
		var state ConnectionState
		if len(s.Connections) == 1 {
			state = s.Connections[0]
			for i, f := range state.Subflows {
				if f.Established {
					got = append(got, state.Prefixes[i].Interface)
				}
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff == "" {
			return state
		} else if time.Now().After(deadline) {
			t.Fatalf("subflows (-want +got)\n%s\n%+v", diff, s)
		}
	}
}

func exchange(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// serve starts the echo service, on an IPv6 socket that also speaks IPv4.
func (w *world) serve(t *testing.T) {
	t.Helper()
	l, err := w.Service.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
}

// dial connects to the echo service from the first network.
func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	w.serve(t)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.wlan.Addr(), 0))}
	d.SetMultipathTCP(true)
	c, err := w.Client.Dial(context.Background(), &d, "tcp", netip.AddrPortFrom(testbed.ServiceAddr4, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialMapped does the same on an IPv6 socket, as C programs do that know only one family.
// Package net cannot do that.
func (w *world) dialMapped(t *testing.T) net.Conn {
	t.Helper()
	w.serve(t)
	var c net.Conn
	err := w.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "MPTCP socket")
		defer f.Close() //nolint:errcheck // FileConn has its own
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: w.wlan.Addr().As16()}); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: testbed.ServiceAddr4.As16(), Port: 7}); err != nil {
			return err
		}
		c, err = net.FileConn(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Networks come and go under a connection, the first one included. The test also does so
// with an IPv6 socket that speaks IPv4.
func TestRunningConnection(t *testing.T) {
	for _, mode := range []mptcp.PathManager{mptcp.InKernel, mptcp.Userspace} {
		for name, dial := range map[string]func(*world, *testing.T) net.Conn{"IPv4": (*world).dial, "mapped": (*world).dialMapped} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				w := newWorld(t, mode)
				c := dial(w, t)
				state := w.await(t, c, "wlan0", "wwan0")
				if mapped := name == "mapped"; state.Local.Addr().Is4In6() != mapped {
					t.Errorf("from %v", state.Local)
				}
				for i, f := range state.Subflows {
					if w.Networks[1].Index == f.Index != (state.Prefixes[i] == w.wwan.ID) {
						t.Errorf("bound to interface %d: %+v", f.Index, f)
					}
				}
				w.set(w.wlan)
				w.await(t, c, "wlan0")
				w.set(w.wlan, w.wwan)
				w.await(t, c, "wlan0", "wwan0")
				w.set(w.wwan)
				w.await(t, c, "wwan0")
				w.set(w.wlan, w.wwan)
				w.await(t, c, "wlan0", "wwan0")
			})
		}
	}
}
