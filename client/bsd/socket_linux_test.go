package bsd

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// listen returns a listener and its address.
func listen(t testing.TB) (net.Listener, netip.AddrPort) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, ln.Addr().(*net.TCPAddr).AddrPort()
}

// peer accepts a connection and returns the address that it came from.
func peer(t testing.TB, ln net.Listener) string {
	t.Helper()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	return nc.RemoteAddr().(*net.TCPAddr).IP.String()
}

func closed(t testing.TB, fd int) bool {
	t.Helper()
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return errors.Is(err, unix.EBADF)
}

// This is the sequence of calls for one connection in doc/original/client-and-socks.md
// 6: intents, getaddrinfo, socket, connect, close.
func TestClassicFlow(t *testing.T) {
	ln, to := listen(t)
	d := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.2"))
	t.Setenv("MAMMA_SOCKET", d.Path)
	var c Context
	if err := c.SetsockoptInt(-1, SolIntents, int(intent.OptFileSize), 1<<20); err != nil {
		t.Fatal(err)
	}
	service := netip.AddrPortFrom(to.Addr(), to.Port()).String()[len("127.0.0.1:"):]
	list, err := c.Getaddrinfo(t.Context(), "www.example.test", service, nil)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := c.Socket(list[0].Family, list[0].Type, list[0].Protocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Setsockopt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, nativeInt(1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context(), fd, list[0].Addr); err != nil {
		t.Fatal(err)
	}
	if got := peer(t, ln); got != "127.0.0.2" {
		t.Errorf("came from %s, the manager suggested 127.0.0.2", got)
	}
	ino := inode(fd)
	if err := c.Close(fd); err != nil || !closed(t, fd) {
		t.Errorf("close: %v", err)
	}

	asked := d.Requests()
	if len(asked) != 2 || d.Connections() != 1 {
		t.Fatalf("%d requests on %d connections", len(asked), d.Connections())
	}
	r := asked[1]
	got := wire.Context{
		ID: r.Context.ID, Calls: r.Context.Calls, FD: r.Context.FD, Inode: r.Context.Inode,
		Domain: r.Context.Domain, Type: r.Context.Type, Protocol: r.Context.Protocol,
		Hostname: r.Context.Hostname, Remote: r.Context.Remote,
	}
	want := wire.Context{
		ID: asked[0].Context.ID, Calls: wire.CallSocket | wire.CallGetaddrinfo | wire.CallConnect, FD: int32(fd), Inode: ino,
		Domain: wire.AFInet, Type: wire.SockStream, Protocol: wire.ProtoTCP,
		Hostname: "www.example.test", Remote: wire.SockAddr{AddrPort: to},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("connect request (-want +got)\n%s", diff)
	}
	if size, _ := r.Intents().FileSize(); size != 1<<20 || len(r.Context.Result) != 1 || len(r.Context.OptionsCurrent) != 2 {
		t.Errorf("connect request %+v", r.Context)
	}
}

// These are the rows of doc/original/client-and-socks.md 6 about muacc_connect.
func TestConnectRows(t *testing.T) {
	ln, to := listen(t)
	other, elsewhere := listen(t)
	const buffer = 300000
	with := func(change func(*wire.Context)) func(*wire.Message) bool {
		return func(m *wire.Message) bool {
			if rawmanager.Suggest("127.0.0.2")(m); m.Action == wire.ActionConnectResponse {
				change(&m.Context)
			}
			return true
		}
	}
	none := func(c *wire.Context) { c.BindSuggested = wire.SockAddr{} }
	for _, tt := range []struct {
		row    string
		script func(*wire.Message) bool
		bind   string
		at     net.Listener
		want   string
		buffer bool // that SO_RCVBUF was set
	}{
		{row: "suggested address", script: with(func(*wire.Context) {}), at: ln, want: "127.0.0.2"},
		{row: "the application bound", script: with(func(*wire.Context) {}), bind: "127.0.0.3", at: ln, want: "127.0.0.3"},
		{row: "no suggestion", script: with(none), at: ln, want: "127.0.0.1"},
		{row: "address that cannot be bound to", script: with(func(c *wire.Context) { c.BindSuggested = rawmanager.Addr("::1") }), at: ln, want: "127.0.0.1"},
		{row: "network towards this host", script: with(func(c *wire.Context) { c.BindSuggested = rawmanager.Addr("192.0.2.9") }), at: ln, want: "127.0.0.1"},
		{row: "options", script: with(func(c *wire.Context) {
			c.OptionsSuggested = []wire.SockOpt{
				{Level: SolIntents, Name: 1, Value: nativeInt(1)},
				{Level: 4711, Name: 1, Value: nativeInt(1)}, // fails, whatever its flags are
				{Level: unix.SOL_SOCKET, Name: unix.SO_RCVBUF, Value: nativeInt(buffer)},
			}
		}), at: ln, want: "127.0.0.2", buffer: true},
		{row: "another remote address", script: with(func(c *wire.Context) { c.Remote.AddrPort = elsewhere }), at: other, want: "127.0.0.2"},
		{row: "wrong answer", script: func(m *wire.Message) bool {
			rawmanager.Suggest("127.0.0.2")(m)
			m.Action = wire.ActionErrorUnknownRequest
			return true
		}, at: ln, want: "127.0.0.1"},
	} {
		t.Run(tt.row, func(t *testing.T) {
			d := rawmanager.Start(t, "", false, tt.script)
			c := &Context{Daemon: &client.Daemon{Path: d.Path, DecisionTimeout: 5 * time.Second}}
			defer func() { _ = c.Daemon.Close() }()
			fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			if tt.bind != "" {
				if err := c.Bind(fd, netip.AddrPortFrom(netip.MustParseAddr(tt.bind), 0)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Connect(t.Context(), fd, to); err != nil {
				t.Fatal(err)
			}
			if got := peer(t, tt.at); got != tt.want {
				t.Errorf("came from %s, want %s", got, tt.want)
			}
			b := make([]byte, 4)
			_, err = c.Getsockopt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, b)
			if set := binary.NativeEndian.Uint32(b) == 2*buffer; set != tt.buffer || err != nil {
				t.Errorf("option set: %v (%v)", set, err)
			}
			if _, err := c.Getsockopt(fd, SolIntents, 1, b); !errors.Is(err, unix.ENOPROTOOPT) {
				t.Errorf("a suggested intent became the application's own: %v", err)
			}
			if err := c.Close(fd); err != nil {
				t.Error(err)
			}
			r := d.Requests()[0].Context
			if bound := r.Calls&wire.CallBind != 0; bound != (tt.bind != "") || bound != r.BindRequested.IsValid() {
				t.Errorf("asked with calls %v, bound to %v", r.Calls, r.BindRequested)
			}
		})
	}
}

// These are the rows of doc/original/client-and-socks.md 6 about return values, and
// defects 43 and 44.
func TestErrnoRows(t *testing.T) {
	_, to := listen(t)
	daemon := absent(t)
	for name, c := range map[string]*Context{"with context": {Daemon: daemon}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			fd, err := c.Socket(-1, unix.SOCK_STREAM, 0)
			if fd != -1 || !errors.Is(err, unix.EAFNOSUPPORT) {
				t.Errorf("socket: %d, %v", fd, err)
			}
			if c != nil && (c.state.FD != 0 || c.state.Inode != 0) {
				t.Error("a socket that could not be made is remembered")
			}
			if fd, err = c.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0); err != nil {
				t.Fatal(err)
			}
			if c != nil && c.state.Type != unix.SOCK_STREAM {
				t.Errorf("type %#x is remembered", c.state.Type)
			}
			b := make([]byte, 4)
			for _, tt := range []struct {
				call string
				err  error
				want error
			}{
				{"connect to nothing", c.Connect(t.Context(), fd, netip.AddrPort{}), unix.EFAULT},
				{"connect no socket", c.Connect(t.Context(), -1, to), unix.EBADF},
				{"bind to a foreign address", c.Bind(fd, netip.MustParseAddrPort("192.0.2.99:0")), unix.EADDRNOTAVAIL},
				{"unknown option", c.Setsockopt(fd, unix.SOL_SOCKET, 4711, b), unix.ENOPROTOOPT},
				{"option of no socket", c.Setsockopt(-1, unix.SOL_SOCKET, unix.SO_KEEPALIVE, nativeInt(1)), unix.EBADF},
				{"connect without waiting", c.Connect(t.Context(), fd, to), unix.EINPROGRESS},
				{"close", c.Close(fd), nil},
				{"close again", c.Close(fd), unix.EBADF},
			} {
				if !errors.Is(tt.err, tt.want) {
					t.Errorf("%s: %v, want %v", tt.call, tt.err, tt.want)
				}
			}
			if c == nil {
				if err := c.Setsockopt(fd, SolIntents, 1, b); !errors.Is(err, unix.EBADF) {
					t.Errorf("an intent without context goes to the kernel: %v", err)
				}
			} else if c.Retain() != -1 {
				t.Error("the context is not released")
			}
		})
	}
}

// Defect 12: SO_REUSEADDR and the file size have the same number, 2, but are different
// options.
func TestOptionIdentity(t *testing.T) {
	c := &Context{Daemon: absent(t)}
	fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(fd) }()
	for _, err := range []error{
		c.SetsockoptInt(fd, SolIntents, 2, 4096),
		c.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		c.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // 0 again
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if size, _ := c.Intents().FileSize(); size != 4096 {
		t.Errorf("file size %d", size)
	}
	if len(c.state.OptionsCurrent) != 2 || c.state.OptionsCurrent[1].Flags != wire.SockOptSet {
		t.Errorf("stored %+v", c.state.OptionsCurrent)
	}
	if err := c.Setsockopt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, make([]byte, maxOptions)); err != nil {
		t.Errorf("an option that the kernel takes, but that is too large to be stored: %v", err)
	}
}

// Defect 10: a clone asks on a connection of its own and gets an answer.
func TestCloneAsks(t *testing.T) {
	ln, to := listen(t)
	d := rawmanager.Start(t, "", true, rawmanager.Suggest("127.0.0.2"))
	t.Setenv("MAMMA_SOCKET", d.Path)
	c := new(Context)
	for range 2 {
		fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context(), fd, to); err != nil {
			t.Fatal(err)
		}
		if got := peer(t, ln); got != "127.0.0.2" {
			t.Errorf("came from %s", got)
		}
		next := c.Clone()
		_ = c.Close(fd)
		c = next
	}
	c.Release()
	if n := d.Connections(); n != 2 {
		t.Errorf("%d connections to the manager, want one for each context", n)
	}
}

// This is the column of muacc_connect and muacc_getaddrinfo in
// doc/original/client-and-socks.md 12, and muacc_ai_getaddrinfo as it should be.
func TestWithoutWorkingDaemon(t *testing.T) {
	type situation struct {
		name   string
		script func(*wire.Message) bool // nil: no daemon
		stale  bool
	}
	unchanged := func(m *wire.Message) bool {
		m.Action++ // the answer's
		if m.Action == wire.ActionSocketChooseExisting {
			m.Action = wire.ActionSocketChooseNew
		}
		return true
	}
	for _, tt := range []situation{
		{name: "socket file missing"},
		{name: "socket file stale", stale: true},
		{name: "never answers", script: func(*wire.Message) bool { return false }},
		{name: "without policy", script: unchanged},
		{name: "resolution failed", script: func(m *wire.Message) bool {
			if unchanged(m); m.Action == wire.ActionResolveResponse || m.Action == wire.ActionSocketConnectResponse {
				m.Action = wire.ActionErrorResolve
			}
			return true
		}},
	} {
		for _, original := range []bool{false, true} {
			t.Run(map[bool]string{false: tt.name, true: tt.name + ", original"}[original], func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "mamma.sock")
				if tt.script != nil {
					rawmanager.Start(t, path, original, tt.script)
				}
				if tt.stale {
					stale(t, path)
				}
				daemon := &client.Daemon{Path: path, DecisionTimeout: 20 * time.Millisecond, ResolveTimeout: 20 * time.Millisecond}
				defer func() { _ = daemon.Close() }()
				withoutWorkingDaemon(t, daemon)
			})
		}
	}
	t.Run("closes without answer", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mamma.sock")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				_ = nc.Close()
			}
		}()
		defer func() { _ = ln.Close(); <-done }()
		daemon := &client.Daemon{Path: path}
		defer func() { _ = daemon.Close() }()
		withoutWorkingDaemon(t, daemon)
	})
	t.Run("restarted", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mamma.sock")
		first := rawmanager.Start(t, path, false, rawmanager.Suggest("127.0.0.2"))
		c := &Context{Daemon: &client.Daemon{Path: path, DecisionTimeout: 5 * time.Second}}
		defer func() { _ = c.Daemon.Close() }()
		if _, err := c.Getaddrinfo(t.Context(), "www.example.test", "80", nil); err != nil {
			t.Fatal(err)
		}
		first.Stop()
		_ = os.Remove(path)
		rawmanager.Start(t, path, false, rawmanager.Suggest("127.0.0.3"))
		ln, to := listen(t)
		fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context(), fd, to); err != nil {
			t.Fatal(err)
		}
		if got := peer(t, ln); got != "127.0.0.3" {
			t.Errorf("came from %s: the new daemon was not asked", got)
		}
		_ = c.Close(fd)
	})
}

func withoutWorkingDaemon(t *testing.T, daemon *client.Daemon) {
	t.Helper()
	ln, to := listen(t)
	c := &Context{Daemon: daemon}
	list, err := c.Getaddrinfo(t.Context(), "localhost", "80", &Hints{Family: AFInet, Type: SockStream})
	if err != nil || len(list) != 1 || list[0].Addr.String() != "127.0.0.1:80" {
		t.Errorf("getaddrinfo: %v (%v)", list, err)
	}
	fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context(), fd, to); err != nil {
		t.Errorf("connect: %v", err)
	} else if got := peer(t, ln); got != "127.0.0.1" {
		t.Errorf("came from %s", got)
	}
	_ = c.Close(fd)

	list, err = Getaddrinfo(t.Context(), &client.Dialer{Daemon: daemon}, "localhost", "80", &Hints{Family: AFInet})
	if err != nil || len(list) == 0 || list[0].Addr.String() != "127.0.0.1:80" || list[0].Bind.IsValid() {
		t.Errorf("extended getaddrinfo: %v (%v)", list, err)
	}
}

// stale leaves a socket file behind at which nobody listens.
func stale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
}

// These are the rows of doc/original/client-and-socks.md 11 about simple_connect, and
// defects 15, 40 and 41.
func TestSimpleConnect(t *testing.T) {
	ln, to := listen(t)
	option := func(level int, optional bool) []client.SocketOption {
		return []client.SocketOption{{Level: level, Name: 2, Value: nativeInt(1), Optional: optional}}
	}
	for _, tt := range []struct {
		row  string
		ai   AddrInfo
		from string
		err  error
	}{
		{row: "no bind address", from: "127.0.0.1"},
		{row: "bind address", ai: AddrInfo{Bind: netip.MustParseAddr("127.0.0.2")}, from: "127.0.0.2"},
		{row: "foreign bind address", ai: AddrInfo{Bind: netip.MustParseAddr("192.0.2.99")}, err: unix.EADDRNOTAVAIL},
		{row: "option", ai: AddrInfo{Options: option(unix.SOL_SOCKET, false)}, from: "127.0.0.1"},
		{row: "failing option", ai: AddrInfo{Options: option(4711, false)}, err: unix.ENOPROTOOPT},
		{row: "failing optional option", ai: AddrInfo{Options: option(4711, true)}, from: "127.0.0.1"},
		{row: "intent among the options", ai: AddrInfo{Options: option(SolIntents, true)}, err: unix.ENOPROTOOPT},
		{row: "nothing listens", ai: AddrInfo{Addr: netip.MustParseAddrPort("127.0.0.1:1")}, err: unix.ECONNREFUSED},
	} {
		for _, nonblocking := range []bool{false, true} {
			t.Run(map[bool]string{false: tt.row, true: tt.row + ", non-blocking"}[nonblocking], func(t *testing.T) {
				ai := tt.ai
				ai.Family, ai.Type, ai.Protocol = AFInet, SockStream, ProtoMPTCP // or TCP
				if !ai.Addr.IsValid() {
					ai.Addr = to
				}
				fd, err := ai.Socket()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = unix.Close(fd) }()
				if nonblocking {
					var inProgress bool
					if inProgress, err = ai.SimpleConnectNonblock(fd); inProgress {
						if err != nil {
							t.Errorf("in progress, and %v", err)
						}
						err = await(fd)
					}
				} else {
					err = ai.SimpleConnect(fd)
				}
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if err == nil {
					if got := peer(t, ln); got != tt.from {
						t.Errorf("came from %s, want %s", got, tt.from)
					}
				}
			})
		}
	}
	if fd, err := (&AddrInfo{Family: -1, Type: SockStream}).Socket(); fd != -1 || !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("socket of no family: %d, %v", fd, err)
	}
}

func TestSockaddrZone(t *testing.T) {
	if _, err := sockaddr(netip.MustParseAddrPort("[fe80::1%7]:80")); err != nil {
		t.Error(err)
	}
	if _, err := sockaddr(netip.MustParseAddrPort("[::1%lo]:80")); err != nil {
		t.Error(err)
	}
	if _, err := sockaddr(netip.MustParseAddrPort("[fe80::1%nonsense]:80")); err == nil {
		t.Error("a zone that is not an interface")
	}
	if got := sockAddr(netip.MustParseAddrPort("[fe80::1%lo]:80")); got.AddrPort.Addr().Zone() != "" {
		t.Errorf("%v cannot travel", got)
	}
}
