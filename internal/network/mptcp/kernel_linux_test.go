package mptcp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

var comparer = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// bed makes a host with two networks, in which MPTCP is enabled, or skips.
func bed(t *testing.T) *testbed.Bed {
	t.Helper()
	b := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	if err := b.Client.Do(func() error {
		on, err := mptcp.Enabled()
		if err == nil && !on {
			err = errors.New("net.mptcp.enabled is 0")
		}
		return err
	}); err != nil {
		required.Lacking(t, "needs a kernel with MPTCP: %v", err)
	}
	return b
}

// in opens something in the client's namespace.
func in[T io.Closer](t *testing.T, b *testbed.Bed, open func() (T, error)) T {
	t.Helper()
	var v T
	err := b.Client.Do(func() (err error) {
		v, err = open()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func TestEndpointsOfTheKernel(t *testing.T) {
	b := bed(t)
	c := in(t, b, mptcp.Dial)
	wlan, wwan := b.Networks[0], b.Networks[1]
	for _, e := range []mptcp.Endpoint{
		{Addr: wlan.Client4, Flags: mptcp.FlagSubflow},
		{Addr: wwan.Client4, Flags: mptcp.FlagSubflow | mptcp.FlagBackup, Index: wwan.Index},
		{ID: 77, Addr: wwan.Client6, Flags: mptcp.FlagSignal, Port: 4711},
	} {
		if err := c.AddEndpoint(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []mptcp.Endpoint{
		{ID: 1, Addr: wlan.Client4, Flags: mptcp.FlagSubflow},
		{ID: 2, Addr: wwan.Client4, Flags: mptcp.FlagSubflow | mptcp.FlagBackup, Index: wwan.Index},
		{ID: 77, Addr: wwan.Client6, Flags: mptcp.FlagSignal, Port: 4711},
	}
	check := func() {
		t.Helper()
		got, err := c.Endpoints()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, comparer, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("endpoints (-want +got)\n%s", diff)
		}
	}
	check()
	if err := c.AddEndpoint(mptcp.Endpoint{Addr: wlan.Client4, Flags: mptcp.FlagSubflow}); !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("the same address again: %v", err)
	}
	if err := c.SetFlags(mptcp.Endpoint{ID: 1, Flags: mptcp.FlagSubflow | mptcp.FlagBackup}); err != nil {
		t.Error(err)
	}
	if err := c.SetFlags(mptcp.Endpoint{ID: 2, Flags: mptcp.FlagSubflow}); err != nil {
		t.Error(err)
	}
	want[0].Flags, want[1].Flags = mptcp.FlagSubflow|mptcp.FlagBackup, mptcp.FlagSubflow
	check()
	if err := c.DeleteEndpoint(2); err != nil {
		t.Error(err)
	}
	want = append(want[:1], want[2])
	check()
	if err := c.DeleteEndpoint(2); err == nil || !strings.Contains(err.Error(), "delete MPTCP endpoint 2: ") {
		t.Errorf("deleting what is not there: %v", err)
	}
	if err := c.FlushEndpoints(); err != nil {
		t.Error(err)
	}
	want = nil
	check()
}

func TestLimitsOfTheKernel(t *testing.T) {
	c := in(t, bed(t), mptcp.Dial)
	want := mptcp.Limits{AddAddrs: 1, Subflows: mptcp.MaxSubflows}
	if err := c.SetLimits(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Limits(); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.SetLimits(mptcp.Limits{Subflows: mptcp.MaxSubflows + 1}); err == nil {
		t.Error("more subflows than the kernel allows: no error")
	}
}

// If the kernel has no room for more endpoints, the error says so.
func TestEndpointsFull(t *testing.T) {
	c := in(t, bed(t), mptcp.Dial)
	for i := range mptcp.MaxEndpoints + 2 {
		err := c.AddEndpoint(mptcp.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 99, byte(i), 2}), Flags: mptcp.FlagSubflow})
		if full := i >= mptcp.MaxEndpoints; full != errors.Is(err, mptcp.ErrFull) || !full && err != nil {
			t.Errorf("endpoint %d: %v", i, err)
		}
	}
}

func TestSelector(t *testing.T) {
	b := bed(t)
	s := in(t, b, mptcp.OpenSelector)
	for _, pm := range []mptcp.PathManager{mptcp.Userspace, mptcp.InKernel} {
		if err := s.Select(pm); err != nil { // on another thread, in another namespace
			t.Fatal(err)
		}
		if got, err := s.Selected(); err != nil || got != pm {
			t.Errorf("selected %v, %v; want %v", got, err, pm)
		}
		if got, err := in(t, b, mptcp.OpenSelector).Selected(); err != nil || got != pm {
			t.Errorf("selected in the namespace %v, %v; want %v", got, err, pm)
		}
	}
	if err := s.Select("nobody"); err == nil || !strings.Contains(err.Error(), "sysctl -w net.mptcp.") {
		t.Errorf("a path manager that does not exist: %v", err)
	}
}

// watch collects events of the client's namespace.
func watch(t *testing.T, b *testbed.Bed) <-chan mptcp.Event {
	t.Helper()
	l := in(t, b, mptcp.Listen)
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan mptcp.Event, 100), make(chan error, 1)
	go func() { done <- l.Run(ctx, func(e mptcp.Event) { events <- e }, func() {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("listener: %v", err)
		}
	})
	return events
}

func await(t *testing.T, events <-chan mptcp.Event, what mptcp.EventType) mptcp.Event {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e := <-events:
			t.Logf("%+v", e)
			if e.Type == what {
				return e
			}
		case <-timeout:
			t.Fatalf("no event %v", what)
		}
	}
}

// echo dials the service with MPTCP from the first network and exchanges a byte. After
// that, more subflows can be opened.
func echo(t *testing.T, b *testbed.Bed, network string, multipath bool) *net.TCPConn {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	var l net.Listener
	err := b.Service.Do(func() (err error) {
		l, err = lc.Listen(context.Background(), network, net.JoinHostPort("", "7"))
		return err
	})
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
	var d net.Dialer
	d.SetMultipathTCP(true)
	c, err := b.Client.Dial(context.Background(), &d, "tcp", netip.AddrPortFrom(testbed.ServiceAddr4, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = l.Close()
	})
	exchange(t, c)
	return c.(*net.TCPConn)
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

func TestUserspacePathManager(t *testing.T) {
	b := bed(t)
	if err := in(t, b, mptcp.OpenSelector).Select(mptcp.Userspace); err != nil {
		t.Fatal(err)
	}
	pm, diag, events := in(t, b, mptcp.Dial), in(t, b, mptcp.OpenDiag), watch(t, b)
	c := echo(t, b, "tcp4", true)
	wwan := b.Networks[1]
	e := await(t, events, mptcp.Established)
	if e.Local.String() != c.LocalAddr().String() || e.Remote.String() != c.RemoteAddr().String() || e.Server {
		t.Errorf("established: %+v", e)
	}
	if err := pm.CreateSubflow(e.Token, mptcp.Endpoint{ID: 3, Addr: wwan.Client4, Index: wwan.Index}, e.Remote); err != nil {
		t.Fatal(err)
	}
	sub := await(t, events, mptcp.SubflowEstablished)
	if sub.Token != e.Token || sub.LocalID != 3 || sub.Local.Addr() != wwan.Client4 || sub.Remote != e.Remote || sub.Backup || sub.Index != wwan.Index {
		t.Errorf("subflow: %+v", sub)
	}
	if err := pm.SetSubflowFlags(e.Token, sub.Local, sub.Remote, mptcp.FlagBackup); err != nil {
		t.Error(err)
	}
	list, err := diag.Connections()
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	got := list[0]
	for i := range got.Subflows {
		if got.Subflows[i].RTT == 0 {
			t.Errorf("no round-trip time: %+v", got.Subflows[i])
		}
		got.Subflows[i].RTT = 0
	}
	want := mptcp.Connection{
		Token: e.Token, Local: e.Local, Remote: e.Remote, UID: uint32(os.Getuid()), Inode: got.Inode, Sent: 1, Received: 1,
		Subflows: []mptcp.SubflowInfo{
			{Local: e.Local, Remote: e.Remote, First: true, Established: true, Sent: 1, Received: 1},
			{Local: sub.Local, Remote: e.Remote, LocalID: 3, Index: wwan.Index, Backup: true, Established: true},
		},
	}
	if diff := cmp.Diff(want, got, comparer); diff != "" {
		t.Errorf("connection (-want +got)\n%s", diff)
	}
	// When a path is given up, the peer is told first, and then the subflow is closed here.
	// The connection goes on, in this case even without its first subflow.
	if err := pm.Remove(e.Token, 0); err != nil {
		t.Error(err)
	}
	if err := pm.DestroySubflow(e.Token, e.Local, e.Remote); err != nil {
		t.Error(err)
	}
	if gone := await(t, events, mptcp.SubflowClosed); gone.Local != e.Local || gone.LocalID != 0 {
		t.Errorf("closed: %+v", gone)
	}
	exchange(t, c)
	if err := pm.Announce(e.Token, mptcp.Endpoint{ID: 9, Addr: wwan.Client4, Port: 0}); err == nil {
		t.Error("the same address with another ID: no error")
	}
	if err := pm.Remove(e.Token, 200); err == nil || !strings.Contains(err.Error(), "remove address 200 of MPTCP connection") {
		t.Errorf("an address that is not there: %v", err)
	} else {
		t.Log(err)
	}
	_ = c.Close()
	if closed := await(t, events, mptcp.Closed); closed.Token != e.Token {
		t.Errorf("closed: %+v", closed)
	}
}

// The user of a connection is the one who made its socket.
func TestUID(t *testing.T) {
	b := bed(t)
	diag, events := in(t, b, mptcp.OpenDiag), watch(t, b)
	echo(t, b, "tcp", true)
	token := await(t, events, mptcp.Established).Token
	if uid, err := diag.UID(token); err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("user %d, %v", uid, err)
	}
	if uid, err := diag.UID(token + 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no connection: user %d, %v", uid, err)
	}

	const other = 4711
	var d net.Dialer
	d.SetMultipathTCP(true)
	var c net.Conn
	err := b.Client.Do(func() (err error) {
		// This concerns only this thread. The kernel does not say whether it succeeded.
		_ = unix.Setfsuid(other)
		defer unix.Setfsuid(os.Getuid()) //nolint:errcheck // as before
		if now, _ := unix.SetfsuidRetUid(-1); now != other {
			return nil
		}
		c, err = d.DialContext(t.Context(), "tcp", netip.AddrPortFrom(testbed.ServiceAddr4, 7).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		t.Skip("cannot make sockets for another user: needs root, not only in a user namespace")
	}
	defer c.Close() //nolint:errcheck // only opened
	exchange(t, c)
	if uid, err := diag.UID(await(t, events, mptcp.Established).Token); err != nil || uid != other {
		t.Errorf("another user's connection: user %d, %v", uid, err)
	}
}

// Commands for a path manager in user space are refused while the kernel's own is selected,
// and the error says so.
func TestUserspaceNotSelected(t *testing.T) {
	b := bed(t)
	pm, events := in(t, b, mptcp.Dial), watch(t, b)
	echo(t, b, "tcp", true) // the service's side is an IPv6 socket
	e := await(t, events, mptcp.Established)
	err := pm.CreateSubflow(e.Token, mptcp.Endpoint{ID: 3, Addr: b.Networks[1].Client4}, e.Remote)
	if err == nil || !strings.Contains(err.Error(), "userspace") {
		t.Errorf("got %v", err)
	}
}

func TestFallback(t *testing.T) {
	b := bed(t)
	counters, diag := in(t, b, mptcp.OpenCounters), in(t, b, mptcp.OpenDiag)
	c := echo(t, b, "tcp4", false)
	if on, err := c.MultipathTCP(); err != nil || on {
		t.Errorf("MPTCP with a peer that does not speak it: %v, %v", on, err)
	}
	got, err := counters.Read()
	if err != nil || got.Opened != 1 || got.NoPeer != 1 || got.Fallbacks["MPCapableFallbackSYNACK"] != 1 {
		t.Errorf("counters: %+v, %v", got, err)
	}
	list, err := diag.Connections()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if !c.Fallback {
			t.Errorf("listed as MPTCP: %+v", c)
		}
	}
	t.Logf("%+v", list)
}

// The owner of a socket is found by its inode, as long as a process has the socket open.
func TestSocketOwner(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", network)
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		defer func() { _ = l.Close() }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if uid, err := mptcp.SocketOwner(st.Ino); uid != uint32(os.Getuid()) || err != nil {
			t.Errorf("%s: user %d, %v", network, uid, err)
		}
		_ = c.Close()
		if uid, err := mptcp.SocketOwner(st.Ino); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s, closed: user %d, %v", network, uid, err)
		}
	}
	for _, inode := range []uint64{0, 1 << 40} {
		if uid, err := mptcp.SocketOwner(inode); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("inode %d: user %d, %v", inode, uid, err)
		}
	}
}
