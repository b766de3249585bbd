package hostfacts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

var sameAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// described reads the description of one interface, with index 4.
func described(text string) networkdFacts {
	f := networkdFacts{links: map[string]networkdState{}, dns: map[int]DNS{}, unmanaged: map[int]string{}}
	f.add(4, "wlan0", []byte(text))
	return f
}

func TestNetworkdDescription(t *testing.T) {
	captured, err := os.ReadFile("testdata/networkd-252.json")
	if err != nil {
		t.Fatal(err)
	}
	const server = `"DNS":[{"Family":2,"Address":[192,0,2,53],"ConfigSource":"DHCPv4","ConfigProvider":[192,0,2,1]}]`
	one := addrPorts("192.0.2.53:53")
	search := make([]string, maxDomains)
	full := make([]Domain, maxDomains)
	for i := range search {
		full[i] = Domain{Name: fmt.Sprint("d", i)}
		search[i] = fmt.Sprintf(`{"Domain":"d%d"}`, i)
	}
	for _, tt := range []struct {
		name, text string
		dns        DNS
		state      networkdState
	}{
		{
			"captured from version 252", string(captured),
			DNS{Source: Networkd, Servers: addrPorts("10.1.0.1:53", "[2001:db8::53]:5353"), Domains: []Domain{{Name: "lan"}, {Name: "corp.example", RouteOnly: true}}, DefaultRoute: true, TLS: true},
			networkdState{online: "online"},
		},
		{"nothing", `{}`, DNS{}, networkdState{}},
		{"no JSON", `{`, DNS{}, networkdState{}},
		{"another type altogether", `[]`, DNS{}, networkdState{}},
		{"a server for all names", `{` + server + `}`, DNS{Source: Networkd, Servers: one, DefaultRoute: true}, networkdState{}},
		{
			"a server for a domain", `{` + server + `,"RouteDomains":[{"Domain":"Corp.Example."}]}`,
			DNS{Source: Networkd, Servers: one, Domains: []Domain{{Name: "corp.example", RouteOnly: true}}}, networkdState{},
		},
		{
			"and for all others", `{` + server + `,"RouteDomains":[{"Domain":"corp.example"},{"Domain":"."}]}`,
			DNS{Source: Networkd, Servers: one, Domains: []Domain{{Name: "corp.example", RouteOnly: true}}, Root: true, DefaultRoute: true}, networkdState{},
		},
		{
			"and for all others, although not by default", `{` + server + `,"RouteDomains":[{"Domain":"."}],"DNSSettings":[{"DNSDefaultRoute":false}]}`,
			DNS{Source: Networkd, Servers: one, Root: true, DefaultRoute: true}, networkdState{},
		},
		{
			"and for all others, behind more than are kept", `{` + server + `,"SearchDomains":[` + strings.Join(search, ",") + `],"RouteDomains":[{"Domain":"."}]}`,
			DNS{Source: Networkd, Servers: one, Domains: full, Root: true, DefaultRoute: true}, networkdState{},
		},
		{
			"as somebody has set", `{` + server + `,"DNSSettings":[{"LLMNR":"yes"},{"DNSDefaultRoute":false},{"DNSOverTLS":"opportunistic"}]}`,
			DNS{Source: Networkd, Servers: one}, networkdState{},
		},
		{
			"a server for a domain behind more than are kept", `{` + server + `,"SearchDomains":[` + strings.Join(search, ",") + `],"RouteDomains":[{"Domain":"corp.example"}]}`,
			DNS{Source: Networkd, Servers: one, Domains: full}, networkdState{},
		},
		{"domains without a server", `{"RouteDomains":[{"Domain":"corp.example"}]}`, DNS{}, networkdState{}},
		{"over another interface", `{"DNS":[{"Family":2,"Address":[192,0,2,53],"InterfaceIndex":5}]}`, DNS{}, networkdState{}},
		{
			"some entries of other types", `{"OnlineState":7,"SearchDomains":"lan","DNSSettings":{},"DNS":[null,7,{"Family":"2"},{"Family":2,"Address":[192,0,2,256]},{"Family":2,"Address":"wAACNQ=="},{"Family":10,"Address":[192,0,2,1]},{"Family":2,"Address":[192,0,2,7],"Port":65536},{"Family":2,"Address":[192,0,2,8],"Port":0}]}`,
			DNS{Source: Networkd, Servers: addrPorts("192.0.2.8:53"), DefaultRoute: true}, networkdState{},
		},
		{"a word that nobody knows", `{"OnlineState":"\u001b[2J"}`, DNS{}, networkdState{}},
		{"a portal", `{"OnlineState":"partial","CaptivePortal":"https://portal.example/api?x=1"}`, DNS{}, networkdState{"partial", "https://portal.example/api?x=1"}},
		{"no portal", `{"CaptivePortal":"urn:ietf:params:capport:unrestricted"}`, DNS{}, networkdState{}},
		{"a portal that a terminal takes for a command", `{"CaptivePortal":"https://x\u001b[2J/"}`, DNS{}, networkdState{}},
		{"a portal without a host", `{"CaptivePortal":"https:///x"}`, DNS{}, networkdState{}},
		{"a portal of any length", `{"CaptivePortal":"https://x/` + strings.Repeat("a", maxText) + `"}`, DNS{}, networkdState{}},
		{"a program for a portal", `{"CaptivePortal":"javascript://x/"}`, DNS{}, networkdState{}},
	} {
		f := described(tt.text)
		if diff := cmp.Diff(tt.dns, f.dns[4], sameAddrPort); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
		if got := f.links["wlan0"]; got != tt.state {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// Interfaces of another network namespace do not count, and no more interfaces are asked
// about than any host has.
func TestNetworkdList(t *testing.T) {
	link := func(index int) dbus.ObjectPath {
		return dbus.ObjectPath(fmt.Sprintf("%s/link/_%d", networkdPath, index))
	}
	list := [][]any{
		{int32(1), "lo", link(1)}, {int32(2), "eth0", link(2)}, {int32(3), "theirs", link(3)}, {int32(9), "wlan0", link(9)},
		{int32(4), "wlan0"}, {"4", "wlan0", link(4)}, {int32(4), []byte("wlan0"), link(4)}, {int32(4), "wlan0", "x"}, {int32(-4), "wlan0", link(4)},
		{int32(5), "gone", link(5)}, {int32(4), "wlan0", link(4)},
	}
	asked := 0
	n := &networkd{
		list: func(context.Context) ([][]any, error) { return list, nil },
		describe: func(_ context.Context, path dbus.ObjectPath) (string, error) {
			asked++
			if path == link(5) {
				return "", errors.New("no such object")
			}
			return fmt.Sprintf(`{"OnlineState":"online","DNS":[{"Family":2,"Address":[192,0,2,%d]}]}`, min(asked, 255)), nil
		},
		ours: func() (map[int]string, error) {
			return map[int]string{1: "lo", 2: "eth0", 3: "ours", 4: "wlan0", 5: "gone"}, nil
		},
	}
	f, err := n.read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.links) != 3 || f.links["wlan0"].online != "online" || len(f.dns) != 3 || len(f.dns[4].Servers) != 1 {
		t.Errorf("%+v", f)
	}
	list, asked = nil, 0
	ours := map[int]string{}
	for i := 1; i < 4*maxObjects; i++ {
		name := fmt.Sprint("veth", i)
		ours[i] = name
		list = append(list, []any{int32(i), name, link(i)})
	}
	n.ours = func() (map[int]string, error) { return ours, nil }
	// One of the interfaces is the one that has gone.
	if f, err = n.read(t.Context(), nil); err != nil || asked != maxObjects || len(f.dns) != maxDNS || len(f.links) != maxObjects-1 {
		t.Errorf("asked %d times: %d interfaces, %d with servers; %v", asked, len(f.links), len(f.dns), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.describe = func(ctx context.Context, _ dbus.ObjectPath) (string, error) { return "", ctx.Err() }
	if _, err = n.read(ctx, nil); err == nil {
		t.Error("read without an answer")
	}
}

// Whatever a description contains, what is taken in is bounded and can be shown.
func FuzzNetworkd(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		all := described(text)
		for _, d := range all.dns {
			if len(d.Servers) == 0 || len(d.Servers) > maxServers || len(d.Domains) > maxDomains {
				t.Errorf("%d servers, %d domains", len(d.Servers), len(d.Domains))
			}
			for _, s := range d.Servers {
				if !s.IsValid() || s.Port() == 0 {
					t.Errorf("server %v", s)
				}
			}
			for _, domain := range d.Domains {
				if domain.Name == "" || domain.Name != domainName(domain.Name) {
					t.Errorf("domain %q", domain.Name)
				}
			}
		}
		for _, s := range all.links {
			if len(s.portal) > maxText || s.portal != printable(s.portal) || s.online != printable(s.online) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// mockNetworkd is a scripted systemd-networkd that knows the loopback interface.
type mockNetworkd struct {
	conn  *dbus.Conn
	asked atomic.Int64 // how often the interfaces were listed
	text  atomic.Pointer[string]
}

const loopbackLink = networkdPath + "/link/_31"

func serveNetworkd(t *testing.T, b *testBus, text string) *mockNetworkd {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil || lo.Index != 1 {
		t.Skipf("needs the loopback interface as every network namespace has it: %v, %v", lo, err)
	}
	type link struct {
		Index int32
		Name  string
		Path  dbus.ObjectPath
	}
	m := &mockNetworkd{conn: b.Connect(t)}
	m.text.Store(&text)
	list := func() ([]link, *dbus.Error) {
		m.asked.Add(1)
		return []link{{1, "lo", loopbackLink}, {2, "not ours", networkdPath + "/link/_32"}}, nil
	}
	if err := m.conn.ExportMethodTable(map[string]any{"ListLinks": list}, networkdPath, networkdManager); err != nil {
		t.Fatal(err)
	}
	describe := func() (string, *dbus.Error) { return *m.text.Load(), nil }
	if err := m.conn.ExportMethodTable(map[string]any{"Describe": describe}, loopbackLink, networkdLink); err != nil {
		t.Fatal(err)
	}
	if _, err := m.conn.RequestName(networkdName, 0); err != nil {
		t.Fatal(err)
	}
	return m
}

// say changes the description, and signals that the state has changed.
func (m *mockNetworkd) say(t *testing.T, text string) {
	t.Helper()
	m.text.Store(&text)
	changed := map[string]dbus.Variant{"OnlineState": dbus.MakeVariant("online")}
	if err := m.conn.Emit(loopbackLink, busName+".Properties.PropertiesChanged", networkdLink, changed, []string{}); err != nil {
		t.Fatal(err)
	}
}

// systemd-networkd is followed, forgotten when it goes, and found again. A flood of its
// signals, or an answer of any size, costs a bounded effort, and at the end the latest
// facts are known. If systemd-resolved has servers for an interface, these are preferred.
func TestNetworkdIsFollowed(t *testing.T) {
	const one, two = `{"OnlineState":"online","DNS":[{"Family":2,"Address":[192,0,2,1]}]}`, `{"OnlineState":"partial","DNS":[{"Family":2,"Address":[192,0,2,2]}]}`
	asks := func(server, source string) func(*Facts) bool {
		return func(f *Facts) bool {
			d := f.DNS(1)
			return len(d.Servers) == 1 && d.Servers[0].Addr().String() == server && d.Source == source
		}
	}
	b := startBus(t)
	w := New(b.Path, nil)
	w.limit = time.Second
	runWith(t, w)
	m := serveNetworkd(t, b, one)
	await(t, w, "a server", asks("192.0.2.1", Networkd))
	m.say(t, two)
	await(t, w, "another one", asks("192.0.2.2", Networkd))
	if l := w.Facts().Link("lo"); l.Online != "partial" {
		t.Errorf("state %q", l.Online)
	}

	began, asked := time.Now(), m.asked.Load()
	for range 2000 {
		m.say(t, two)
	}
	m.say(t, one)
	await(t, w, "the last word of a flood", asks("192.0.2.1", Networkd))
	if n, most := m.asked.Load()-asked, int64(time.Since(began)/minGap)+3; n > most {
		t.Errorf("asked %d times, more than %d", n, most)
	}

	m.say(t, `{"x":"`+strings.Repeat("x", 2*systembus.MaxMessage)+`",`+one[1:])
	await(t, w, "an answer of two megabytes", func(f *Facts) bool { return len(f.DNS(1).Servers) == 0 && f.Link("lo") == (Link{}) })
	m.say(t, one)
	await(t, w, "an answer of usual size", asks("192.0.2.1", Networkd))

	type entry struct {
		Index, Family int32
		Addr          []byte
		Port          uint16
		Name          string
	}
	resolved := b.serve(t, resolvedName, objects{
		resolvedPath + " " + resolvedManager:       {"DNSEx": []entry{{1, 2, []byte{192, 0, 2, 9}, 0, ""}}},
		resolvedPath + "/link/_31 " + resolvedLink: {"DefaultRoute": true, "DNSOverTLS": "no"},
	})
	await(t, w, "that of systemd-resolved", asks("192.0.2.9", Resolved))
	_ = resolved.conn.Close()
	await(t, w, "that of systemd-networkd again", asks("192.0.2.1", Networkd))

	_ = m.conn.Close()
	await(t, w, "its end", gone)
	serveNetworkd(t, b, two)
	await(t, w, "its return", asks("192.0.2.2", Networkd))
}
