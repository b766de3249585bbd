package bsd

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// resolving is a manager that resolves every name to these addresses.
func resolving(addrs ...string) func(*wire.Message) bool {
	return func(m *wire.Message) bool {
		m.Action = wire.ActionResolveResponse
		m.Context.Result = rawmanager.Resolve(&m.Context, addrs...)
		return true
	}
}

// short returns each AddrInfo as one line.
func short(list []AddrInfo) []string {
	var out []string
	for _, a := range list {
		s := netip.AddrPort(a.Addr).String()
		if a.Type == SockDgram {
			s += "/udp"
		}
		if a.Protocol == ProtoMPTCP {
			s += "/mptcp"
		}
		if a.Bind.IsValid() {
			s += " from " + a.Bind.String()
		}
		out = append(out, s)
	}
	return out
}

func TestGetaddrinfoWithManager(t *testing.T) {
	d := rawmanager.Start(t, "", false, resolving("192.0.2.1", "2001:db8::1"))
	daemon := &client.Daemon{Path: d.Path}
	defer func() { _ = daemon.Close() }()
	c := &Context{Daemon: daemon}
	if err := c.SetIntents(intent.Set{}.WithCategory(intent.CategoryBulkTransfer)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		hints *Hints
		want  []string
	}{
		{"no hints", nil, []string{"192.0.2.1:80", "[2001:db8::1]:80"}},
		{"the family of the hints holds", &Hints{Family: AFInet6}, []string{"[2001:db8::1]:80"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Getaddrinfo(t.Context(), "www.example.test", "80", tt.hints)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, short(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got[0].Flags < 0 {
				t.Errorf("flags %#x are the resolver's own", got[0].Flags)
			}
		})
	}
	r := d.Requests()[0]
	if r.Action != wire.ActionResolveRequest || r.Context.Hostname != "www.example.test" || r.Context.Service != "80" ||
		r.Context.Calls != wire.CallGetaddrinfo || r.Context.Hint != nil || r.Intents() != c.Intents() {
		t.Errorf("asked %+v", r)
	}
	if h := d.Requests()[1].Context.Hint; len(h) != 1 || h[0].Family != AFInet6 {
		t.Errorf("hint %+v", h)
	}
	if n := len(c.state.Result); n != 1 {
		t.Errorf("%d results are stored, want those of the last call", n)
	}
}

func TestGetaddrinfoAlone(t *testing.T) {
	c := &Context{Daemon: absent(t)}
	for _, tt := range []struct {
		name, node, service string
		hints               *Hints
		want                []string // nil: the name is not found
	}{
		{"address", "192.0.2.1", "80", &Hints{Type: SockStream}, []string{"192.0.2.1:80"}},
		{"both types", "192.0.2.1", "http", nil, []string{"192.0.2.1:80", "192.0.2.1:80/udp"}},
		{"no service", "192.0.2.1", "", &Hints{Type: SockDgram}, []string{"192.0.2.1:0/udp"}},
		{"name", "localhost", "1", &Hints{Family: AFInet, Type: SockStream}, []string{"127.0.0.1:1"}},
		{"loopback", "", "1", &Hints{Family: AFInet, Type: SockStream}, []string{"127.0.0.1:1"}},
		{"passive", "", "1", &Hints{Flags: AIPassive, Type: SockStream}, []string{"0.0.0.0:1", "[::]:1"}},
		{"neither", "", "", nil, nil},
		{"other family", "192.0.2.1", "80", &Hints{Family: AFInet6}, nil},
		{"numeric host", "localhost", "80", &Hints{Flags: AINumericHost}, nil},
		{"numeric service", "192.0.2.1", "http", &Hints{Flags: AINumericServ}, nil},
		{"unknown service", "192.0.2.1", "nonsense", nil, nil},
		{"port beyond 32 bits", "192.0.2.1", "4294967376", nil, nil},
		{"unknown service of a name", "localhost", "nonsense", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range []*Context{c, nil} {
				got, err := c.Getaddrinfo(t.Context(), tt.node, tt.service, tt.hints)
				if (err == nil) != (tt.want != nil) {
					t.Fatalf("error %v", err)
				}
				if err != nil {
					if _, ok := err.(*net.DNSError); !ok {
						t.Errorf("error %#v", err)
					}
				}
				if diff := cmp.Diff(tt.want, short(got)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
	got, err := c.Getaddrinfo(t.Context(), "192.0.2.1", "80", &Hints{Flags: AICanonName})
	if err != nil || got[0].CanonName != "192.0.2.1" || got[1].CanonName != "" {
		t.Errorf("%+v (%v)", got, err)
	}
}

// These are the rows of doc/original/client-and-socks.md 11, without its defects.
func TestExtendedGetaddrinfo(t *testing.T) {
	d := rawmanager.Start(t, "", false, func(m *wire.Message) bool {
		resolve := m.Action == wire.ActionResolveRequest
		rawmanager.Suggest("127.0.0.2", "127.0.0.3")(m)
		if !resolve {
			m.Context.Protocol = wire.ProtoMPTCP
			m.Context.OptionsSuggested = []wire.SockOpt{{Level: wire.SolSocket, Name: 8, Value: nativeInt(4096), Flags: wire.SockOptOptional}}
		}
		return true
	})
	daemon := &client.Daemon{Path: d.Path}
	defer func() { _ = daemon.Close() }()
	dialer := &client.Dialer{Daemon: daemon}
	for _, tt := range []struct {
		name          string
		dialer        *client.Dialer
		host, service string
		hints         *Hints
		want          []string
	}{
		{"success", dialer, "www.example.test", "80", &Hints{Intents: intent.Set{}.WithFileSize(7)}, []string{"127.0.0.1:80/mptcp from 127.0.0.2", "127.0.0.1:80"}},
		{"a given protocol holds", dialer, "127.0.0.1", "80", &Hints{Protocol: ProtoTCP}, []string{"127.0.0.1:80 from 127.0.0.2", "127.0.0.1:80 from 127.0.0.3", "127.0.0.1:80"}},
		{"datagrams", dialer, "127.0.0.1", "53", &Hints{Type: SockDgram}, []string{"127.0.0.1:53/udp from 127.0.0.2", "127.0.0.1:53/udp from 127.0.0.3", "127.0.0.1:53/udp"}},
		{"no service", &client.Dialer{Daemon: absent(t)}, "127.0.0.1", "", nil, []string{"127.0.0.1:0"}},
		{"no host", dialer, "", "80", nil, nil},
		{"manager not reachable", &client.Dialer{Daemon: absent(t)}, "localhost", "80", &Hints{Family: AFInet}, []string{"127.0.0.1:80"}},
		{"an address only", dialer, "127.0.0.1", "80", &Hints{Flags: AINumericHost}, []string{"127.0.0.1:80"}},
		{"no dialer, nothing to ask", nil, "", "80", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Getaddrinfo(t.Context(), tt.dialer, tt.host, tt.service, tt.hints)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, short(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	r := d.Requests()[0]
	if size, _ := r.Intents().FileSize(); size != 7 || r.Action != wire.ActionSocketConnectRequest {
		t.Errorf("asked %+v", r)
	}
}

// AIAddrConfig restricts results as in glibc. The daemon's tests compare the two.
func TestAddrConfig(t *testing.T) {
	for _, tt := range []struct {
		family    int
		four, six bool
		want      int // -1: an error
	}{
		{AFUnspec, true, true, AFUnspec},
		{AFUnspec, true, false, AFInet},
		{AFUnspec, false, true, AFInet6},
		{AFUnspec, false, false, AFUnspec},
		{AFInet, true, false, AFInet},
		{AFInet, false, true, -1},
		{AFInet, false, false, -1},
		{AFInet6, true, true, AFInet6},
		{AFInet6, true, false, -1},
	} {
		got, ok := addrConfig(tt.family, tt.four, tt.six)
		if ok != (tt.want >= 0) || ok && got != tt.want {
			t.Errorf("family %d with %v, %v: %d, %v", tt.family, tt.four, tt.six, got, ok)
		}
	}
	// The host has addresses of this family, because it has this one.
	var family int
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			family = AFInet
		}
	}
	if family == 0 {
		t.Skip("needs an IPv4 address other than loopback's")
	}
	got, err := (*Context)(nil).Getaddrinfo(t.Context(), "192.0.2.1", "80", &Hints{Flags: AIAddrConfig, Family: family, Type: SockStream})
	if err != nil || len(got) != 1 {
		t.Errorf("%+v (%v)", got, err)
	}
}
