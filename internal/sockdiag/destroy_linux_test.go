package sockdiag

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// find returns the connection among the established ones of its local address.
func find(t *testing.T, c *Conn, local, remote netip.AddrPort) (Established, bool) {
	t.Helper()
	list, err := c.Established([]netip.Addr{local.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Local.Addr() != local.Addr() {
			t.Errorf("%v is not from %v", e.Local, local.Addr())
		}
		if e.Local == local && e.Remote == remote {
			return e, true
		}
	}
	return Established{}, false
}

// needsDestroy skips a test if connections cannot be ended here.
func needsDestroy(t *testing.T, c *Conn) {
	t.Helper()
	switch err := c.Able(); {
	case errors.Is(err, ErrRights):
		t.Skip("needs CAP_NET_ADMIN")
	case errors.Is(err, ErrUnsupported):
		t.Skip("needs a kernel with CONFIG_INET_DIAG_DESTROY")
	case err != nil:
		t.Fatal(err)
	}
}

// A connection that is destroyed ends at once with an error. A later connection with
// the same addresses is not destroyed in its place.
func TestDestroy(t *testing.T) {
	c := dial(t)
	needsDestroy(t, c)
	for _, tt := range []struct{ network, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "[::ffff:127.0.0.1]:0"}} {
		t.Run(tt.network+tt.address, func(t *testing.T) {
			client, _ := pair(t, tt.network, tt.address)
			other, _ := pair(t, tt.network, tt.address)
			local, remote := ends(t, client)
			e, ok := find(t, c, local, remote)
			if !ok || e.Multipath || e.Heard < 0 || e.Device != 0 {
				t.Fatalf("%+v, %v", e, ok)
			}
			stale := e
			stale.id[sizeID-1] ^= 1 // of the cookie
			if err := c.Destroy(stale); !errors.Is(err, ErrNotFound) {
				t.Errorf("another cookie: %v", err)
			}
			if _, ok := find(t, c, local, remote); !ok {
				t.Fatal("another cookie ends the connection")
			}
			if err := c.Destroy(e); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("the program is told %v", err)
			}
			if err := c.Destroy(e); !errors.Is(err, ErrNotFound) {
				t.Errorf("a second time: %v", err)
			}
			local, remote = ends(t, other)
			if _, ok := find(t, c, local, remote); !ok {
				t.Error("another connection has ended, too")
			}
		})
	}
}

// The kernel's filter takes the addresses asked for, one and many, and so does the check of
// what it returns if there are too many for it.
func TestEstablishedFrom(t *testing.T) {
	c := dial(t)
	client, _ := pair(t, "tcp4", "127.0.0.1:0")
	local, remote := ends(t, client)
	for _, others := range []int{0, 1, maxFilter - 1, maxFilter, 3 * maxFilter} {
		addrs := []netip.Addr{}
		for i := range others {
			addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		has := func(addrs []netip.Addr) bool {
			list, err := c.Established(addrs)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if e.Local == local && e.Remote == remote {
					return true
				}
			}
			return false
		}
		if others > 0 && has(addrs) {
			t.Errorf("%d other addresses: found", others)
		}
		if !has(append(addrs, local.Addr())) {
			t.Errorf("beside %d other addresses: not found", others)
		}
	}
}

// A subflow of Multipath TCP is told apart.
func TestEstablishedMultipath(t *testing.T) {
	c := dial(t)
	needsDestroy(t, c)
	if on, err := os.ReadFile("/proc/sys/net/mptcp/enabled"); err != nil || on[0] != '1' {
		t.Skip("needs Multipath TCP (net.mptcp.enabled = 1)")
	}
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var d net.Dialer
	d.SetMultipathTCP(true)
	client, err := d.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if is, err := client.(*net.TCPConn).MultipathTCP(); err != nil || !is {
		t.Fatalf("no Multipath TCP came about, although net.mptcp.enabled is 1: %v, %v", is, err)
	}
	local, remote := ends(t, client)
	if e, ok := find(t, c, local, remote); !ok || !e.Multipath {
		t.Errorf("%+v, %v", e, ok)
	}
}

func FuzzParseEstablished(f *testing.F) {
	f.Add(make([]byte, messageSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEstablished(b)
		switch {
		case err != nil && e != (Established{}):
			t.Errorf("%+v beside %v", e, err)
		case err == nil && (!e.Local.Addr().IsValid() || e.Local.Addr().Is4In6() || e.Heard < -1):
			t.Errorf("%+v", e)
		}
	})
}
