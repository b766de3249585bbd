package clienttest_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.VerifyMain(m) }

// listen accepts connections and sends the addresses that they come from.
func listen(t testing.TB) (port string, from chan netip.Addr) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from = make(chan netip.Addr, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			from <- nc.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			defer func() { _ = nc.Close() }()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port, from
}

// dialer returns a Dialer that asks m and waits long enough on a busy host.
func dialer(t testing.TB, m *clienttest.Manager) *client.Dialer {
	d := &client.Dialer{Daemon: &client.Daemon{Path: m.Path, DecisionTimeout: 5 * time.Second}}
	t.Cleanup(func() { _ = d.Daemon.Close() })
	return d
}

func TestAnswers(t *testing.T) {
	port, from := listen(t)
	for _, test := range []struct {
		name      string
		script    clienttest.Script
		host      string
		from      string
		candidate client.Candidate
		reason    string
	}{
		{"source", clienttest.From("127.0.0.2", "127.0.0.3"), "127.0.0.1", "127.0.0.2", client.FirstChoice, "clienttest"},
		{"name", clienttest.From("127.0.0.2"), "host.test", "127.0.0.2", client.FirstChoice, "clienttest"},
		{"nothing to suggest", func(clienttest.Request) clienttest.Answer { return clienttest.Answer{Reason: "none"} }, "127.0.0.1", "127.0.0.1", client.FirstChoice, "none"},
		{"alternate", func(clienttest.Request) clienttest.Answer {
			return clienttest.Answer{
				Source: netip.MustParseAddr("127.0.0.2"), Device: "nosuchinterface",
				Alternates: []clienttest.Alternate{{Source: netip.MustParseAddr("127.0.0.3")}},
			}
		}, "127.0.0.1", "127.0.0.3", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			nc, err := dialer(t, clienttest.Start(t, test.script)).DialContext(t.Context(), "tcp", net.JoinHostPort(test.host, port))
			if err != nil {
				t.Fatal(err)
			}
			info, _ := client.InfoOf(nc)
			_ = nc.Close()
			if peer := (<-from).String(); peer != test.from || info.Candidate != test.candidate || info.Reason != test.reason || info.ID.IsZero() {
				t.Errorf("from %s, want %s; info %+v", peer, test.from, info)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	port, from := listen(t)
	m := clienttest.Start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.From("127.0.0.2")(r)
		a.Reuse = len(r.Idle)
		return a
	})
	intents := intent.Set{}.WithFileSize(1000)
	p := &client.Pool{Dialer: dialer(t, m)}
	p.Dialer.Intents = intents
	for _, reused := range []bool{false, true} {
		c, err := p.Get(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if c.Reused() != reused {
			t.Errorf("reused %v, want %v", c.Reused(), reused)
		}
		_ = c.Release()
	}
	_ = p.Close()
	<-from
	remote := netip.MustParseAddrPort("127.0.0.1:" + port)
	want := []clienttest.Request{
		{Kind: clienttest.Connect, Host: "127.0.0.1", Port: remote.Port(), Intents: intents},
		{
			Kind: clienttest.Choose, Host: "127.0.0.1", Port: remote.Port(), Intents: intents,
			Idle: []clienttest.Idle{{Source: netip.MustParseAddr("127.0.0.2"), Remote: remote}},
		},
	}
	equal := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, m.Requests(), equal, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b intent.Set) bool { return a == b })); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// The script sees which networks a connection may take, and can say that none is
// permitted.
func TestSelection(t *testing.T) {
	port, from := listen(t)
	m := clienttest.Start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.From("127.0.0.2")(r)
		a.NotPermitted = r.Selection == "require network work"
		return a
	})
	for name, permitted := range map[string]bool{"home": true, "work": false} {
		d := dialer(t, m)
		d.Selection = client.SelectionProperties{}.WithNetwork(name, client.Require)
		nc, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if permitted != (err == nil) || permitted == errors.Is(err, client.ErrNotPermitted) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = nc.Close()
			<-from
		}
	}
}

func TestSilentAndStopped(t *testing.T) {
	port, from := listen(t)
	m := clienttest.Start(t, clienttest.Silent)
	d := dialer(t, m)
	d.Daemon.DecisionTimeout = time.Millisecond
	for range 2 {
		nc, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := client.InfoOf(nc); info.Decided || info.Err == nil {
			t.Errorf("info %+v", info)
		}
		_ = nc.Close()
		<-from
		m.Stop()
	}
	if n := m.Connections(); n > 1 {
		t.Errorf("%d connections, want one at most", n)
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[clienttest.Kind]string{clienttest.Connect: "connect", clienttest.ConnectFD: "connect descriptor", -1: "kind -1", 6: "kind 6"} {
		if got := fmt.Sprint(k); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The test of a program says which network the program gets, and looks at what the
// program asked.
func Example() {
	var t testing.TB // of the test
	manager := clienttest.Start(t, clienttest.From("127.0.0.2"))
	dialer := &client.Dialer{Daemon: &client.Daemon{Path: manager.Path}}
	// ... let the program dial with it, then
	_ = dialer
	for _, r := range manager.Requests() {
		fmt.Println(r.Kind, r.Host, r.Intents)
	}
}

// Clients are told the networks that were set, and each change of these.
func TestSetNetworks(t *testing.T) {
	m := clienttest.Start(t, clienttest.Silent)
	home := clienttest.Network{
		Interface: "wlan0", Index: 3, Prefix: netip.MustParsePrefix("192.0.2.7/24"), Name: "home", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		Cost: clienttest.Cost{Level: clienttest.Metered, Budget: 50}, RTT: 20 * time.Millisecond,
	}
	m.SetNetworks(home)
	d := client.Dialer{Daemon: &client.Daemon{Path: m.Path}}
	defer func() { _ = d.Daemon.Close() }()
	step := 0
	for list, err := range d.Watch(t.Context(), "udp", 0) {
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		n := list[0]
		if step++; step == 1 {
			if n.Interface != "wlan0" || n.Index != 3 || n.Prefix.String() != "192.0.2.0/24" || n.Name != "home" || n.State != client.NetworkUp || !n.Usable ||
				n.Cost != client.CostMetered || !n.Limited || n.Left != 50 || n.RTT != home.RTT || n.Addrs[0] != home.Addrs[0] {
				t.Errorf("%+v", n)
			}
			home.State, home.Unusable = clienttest.Down, true
			m.SetNetworks(home)
			continue
		}
		if n.State != client.NetworkDown || n.Usable {
			t.Errorf("%+v", n)
		}
		break
	}
}
