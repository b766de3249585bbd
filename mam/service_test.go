package mam

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// These are the ports that libevent 2.1.12 finds for services; the original's daemon
// resolves with it. glibc 2.36 finds the same, unless a row says otherwise
// (findings/services-in-three-libraries.sh).
func TestPort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services")
	const text = `# name port/transport aliases
http		80/tcp		www		# WorldWideWeb HTTP
domain	53/tcp
domain	53/udp
telnet 23/tcp
biff 512/udp comsat
exec 512/tcp
http 8080/tcp # the first one counts
X11 6000/tcp Mixed-Case
broken tcp
odd 70000/tcp
80x 8000/tcp
`
	long := "long 90/tcp # " + strings.Repeat("x", 1<<17) + "\nbehind 91/tcp" // the last line has no newline
	if err := os.WriteFile(file, []byte(text+long), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &services{path: file}
	for _, tt := range []struct {
		network, service string
		numeric          bool
		want             uint16
		ok               bool
	}{
		{"tcp", "http", false, 80, true},
		{"tcp", "www", false, 80, true},
		{"tcp", "long", false, 90, true},
		{"tcp", "behind", false, 91, true},
		{"udp", "domain", false, 53, true},
		{"", "domain", false, 53, true},
		{"", "comsat", false, 512, true},
		{"udp", "8080", false, 8080, true},
		{"tcp", "0", false, 0, true},
		{"tcp", "8080", true, 8080, true},
		{"tcp", "http", true, 0, false},
		{"udp", "telnet", false, 0, false},
		{"tcp", "biff", false, 0, false},
		{"tcp", "no-such-service", false, 0, false},
		{"", "ht\x00tp", false, 0, false},
		{"tcp", "broken", false, 0, false},
		{"tcp", "odd", false, 0, false},
		// Upper and lower case are different.
		{"tcp", "HTTP", false, 0, false},
		{"tcp", "Http", false, 0, false},
		{"tcp", "X11", false, 6000, true},
		{"tcp", "Mixed-Case", false, 6000, true},
		{"tcp", "x11", false, 0, false},
		{"tcp", "ssh", false, 0, false}, // Go knows this one by itself
		// Numbers are parsed as strtol(3) does.
		{"tcp", "080", false, 80, true},
		{"tcp", "+80", false, 80, true},
		{"tcp", " 80", false, 80, true},
		{"tcp", "\t\n\v\f\r +080", false, 80, true},
		{"tcp", " 80", true, 80, true},
		{"tcp", "-0", false, 0, true},
		{"tcp", strings.Repeat("0", 10_000) + "80", false, 80, true},
		{"tcp", "80x", false, 8000, true}, // this is a name
		{"tcp", "80 ", false, 0, false},
		{"tcp", "+ 80", false, 0, false},
		{"tcp", "+-80", false, 0, false},
		{"tcp", "-80", false, 0, false},
		{"tcp", "-1", false, 0, false},
		{"tcp", "0x50", false, 0, false},
		{"tcp", "1e2", false, 0, false},
		{"tcp", "+", false, 0, false},
		{"tcp", " ", false, 0, false},
		{"tcp", "", false, 0, false},           // glibc: no service
		{"tcp", "65536", false, 0, false},      // glibc: cut off at 16 bits
		{"tcp", "4294967376", false, 0, false}, // both: cut off
		{"tcp", "99999999999999999999", false, 0, false},
		{"tcp", strings.Repeat("a", 10_000), false, 0, false},
	} {
		got, err := s.port(tt.network, tt.service, tt.numeric)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("port(%q, %.20q, %v) = %d, %v", tt.network, tt.service, tt.numeric, got, err)
		}
	}
	// When the file changes or is removed, that counts from then on.
	if err := os.WriteFile(file, []byte("http 81/tcp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.port("tcp", "http", false); got != 81 || err != nil {
		t.Errorf("after a change: %d, %v", got, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got, err := s.port("tcp", "https", false); got != 443 || err != nil {
		t.Errorf("without a file: %d, %v", got, err)
	}
	for _, name := range []string{"X11", "HTTPS", "4294967376", "+4294967376", "-4294967296", "+-80", "", "no such"} {
		if got, err := s.port("tcp", name, false); err == nil {
			t.Errorf("without a file %q is %d", name, got)
		}
	}
}

// A line that is too long is not misread: a part of it does not become an entry with
// another port, and a name in the rest does not count as one that does not exist.
func TestServicesFileTooLong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services")
	text := "first 79/tcp\n"
	text += strings.Repeat("#", maxServices-len(text)-len("\nhttp 80")) + "\nhttp 8080/tcp\nlast 81/tcp\n"
	// The bound is after the line that begins with "http 80", and then within its port.
	for _, more := range []string{"", "x"} {
		if err := os.WriteFile(file, []byte("#"+more+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &services{path: file}
		if got, err := s.port("tcp", "first", false); got != 79 || err != nil {
			t.Errorf("first: %d, %v", got, err)
		}
		for _, name := range []string{"http", "last", "https"} {
			if got, err := s.port("tcp", name, false); err == nil || !strings.Contains(err.Error(), "which is longer") {
				t.Errorf("%s: %d, %v", name, got, err)
			}
		}
	}
	if err := os.WriteFile(file, []byte("http 80/tcp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &services{path: file}
	if _, err := s.port("tcp", "last", false); err == nil || strings.Contains(err.Error(), "which is longer") {
		t.Errorf("a short file: %v", err)
	}
}

func FuzzPort(f *testing.F) {
	for _, s := range []string{"http", "80", "-1", "", "65536", "a b", "+80", " 080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, service string) {
		var s services
		n, err := s.port("", service, true)
		if err != nil {
			return
		}
		if again, err := s.port("", strconv.Itoa(int(n)), true); err != nil || again != n {
			t.Fatalf("%q is %d, then %d, %v", service, n, again, err)
		}
	})
}

func FuzzServices(f *testing.F) {
	f.Add("http 80/tcp www # web\n")
	f.Fuzz(func(t *testing.T, text string) {
		ports, cut := parseServices(strings.NewReader(text))
		if cut {
			t.Fatal("the end is missing")
		}
		for key := range ports {
			if len(key.name) > maxService || strings.ContainsAny(key.name, " \t\n#") || key.name == "" {
				t.Fatalf("name %q", key.name)
			}
		}
	})
}

// Services are looked up for the transport that the client asks for. All actions that
// resolve refuse an unknown service with the original's error.
func TestServicesOnTheWire(t *testing.T) {
	v := host(takeFirst)
	v.Zone = func(name string) (int, bool) { return 3, name == "wwan0" }
	d := start(t, v, Options{})
	answer := map[wire.Action]wire.Action{
		wire.ActionResolveRequest:       wire.ActionResolveResponse,
		wire.ActionSocketConnectRequest: wire.ActionSocketConnectResponse,
		wire.ActionSocketChooseRequest:  wire.ActionSocketChooseNew,
	}
	for _, tt := range []struct {
		service  string
		empty    bool // the service is there, as ""
		typ      int32
		protocol int32
		flags    int32
		host     string
		zone     string // zone of the result
		want     int    // port; -1: action 11
	}{
		{service: "http", typ: wire.SockStream, want: 80},
		{service: "https", want: 443},
		{service: "ftp", typ: wire.SockStream, want: 21},
		{service: "443", typ: wire.SockStream, want: 443},
		{service: "0", typ: wire.SockStream, want: 0},
		{typ: wire.SockStream, want: 0},
		{service: "domain", typ: wire.SockDgram, want: 53},
		{service: "domain", protocol: wire.ProtoUDP, want: 53},
		{service: "telnet", typ: wire.SockDgram, want: -1}, // exists for TCP only
		{service: "telnet", typ: wire.SockStream, protocol: wire.ProtoUDP, want: -1},
		{service: "telnet", typ: wire.SockStream, protocol: 132, want: -1},
		{service: "23", typ: wire.SockStream, protocol: 132, want: 23},
		{service: "telnet", typ: wire.SockStream, protocol: wire.ProtoMPTCP, want: 23},
		{empty: true, typ: wire.SockStream, want: -1},
		{service: "70000", typ: wire.SockStream, want: -1},
		{service: "-1", typ: wire.SockStream, want: -1},
		{service: "no-such-service", typ: wire.SockStream, want: -1},
		{service: "80x", typ: wire.SockStream, want: -1},
		{service: "HTTP", typ: wire.SockStream, want: -1},
		{service: "0x50", typ: wire.SockStream, want: -1},
		{service: "+80", typ: wire.SockStream, want: 80},
		{service: " 80", typ: wire.SockStream, want: 80},
		{service: "080", typ: wire.SockStream, flags: aiNumericServ, want: 80},
		{service: "http", typ: wire.SockStream, flags: aiNumericServ, want: -1},
		{service: "80", typ: wire.SockStream, flags: aiNumericServ, want: 80},
		{service: "80", typ: wire.SockStream, flags: aiNumericHost, want: -1},
		{service: "80", typ: wire.SockStream, flags: aiNumericHost, host: "192.0.2.7", want: 80},
		{service: "http", typ: wire.SockStream, host: "192.0.2.7", want: 80},
		{service: "bogus", typ: wire.SockStream, host: "192.0.2.7", want: -1},
		{service: "80", typ: wire.SockStream, host: "fe80::1%net0", want: -1},
		{service: "80", typ: wire.SockStream, host: "fe80::1%4294967296", want: -1},
		{service: "80", typ: wire.SockStream, host: "fe80::1%wwan0", zone: "3", want: 80},
		{service: "80", typ: wire.SockStream, host: "fe80::1%007", flags: aiNumericHost, zone: "7", want: 80},
	} {
		for action, good := range answer {
			t.Run(fmt.Sprint(action, tt), func(t *testing.T) {
				name := tt.host
				if name == "" {
					name = "four.test"
				}
				req := &wire.Message{Action: action, Context: wire.Context{
					Hostname: name, Service: tt.service, EmptyService: tt.empty, Type: tt.typ, Protocol: tt.protocol,
					Hint: []wire.AddrInfo{{Type: tt.typ, Protocol: tt.protocol, Flags: tt.flags}},
				}}
				got := d.dial(t).ask(req)
				if tt.want < 0 {
					if got.Action != wire.ActionErrorResolve || len(got.Context.Result) != 0 || got.Context.Remote.IsValid() {
						t.Errorf("got %v with %+v, remote %v", got.Action, got.Context.Result, got.Context.Remote)
					}
					return
				}
				if got.Action != good || len(got.Context.Result) == 0 {
					t.Fatalf("got %v with %+v", got.Action, got.Context.Result)
				}
				if p := int(got.Context.Result[0].Addr.AddrPort.Port()); p != tt.want || got.Context.Remote != got.Context.Result[0].Addr {
					t.Errorf("port %d, remote %v, want port %d", p, got.Context.Remote, tt.want)
				}
				if zone := got.Context.Remote.AddrPort.Addr().Zone(); zone != tt.zone {
					t.Errorf("zone %q, want %q", zone, tt.zone)
				}
				if got.Context.Service != tt.service || got.Context.EmptyService != tt.empty {
					t.Errorf("service %q is echoed", got.Context.Service)
				}
			})
		}
	}
	for _, f := range []int32{1, 16, -1} {
		req := socketConnectTo("four.test", "80")
		req.Context.Hint[0].Family = f
		if got := d.dial(t).ask(req); got.Action != wire.ActionErrorResolve {
			t.Errorf("family %d: %v", f, got.Action)
		}
	}
}

// A service without a name is one of this host, as with getaddrinfo(3). It is an error
// if both are missing, and if the name is there but empty.
func TestNameless(t *testing.T) {
	v := host(takeFirst)
	v.Routes.(nets)[netip.MustParsePrefix("::1/128")] = 0
	d := start(t, v, Options{})
	for _, tt := range []struct {
		action  wire.Action
		family  int32
		flags   int32
		service string
		emptied bool     // the name is there, as ""
		want    []string // nil: action 11
	}{
		{action: wire.ActionResolveRequest, service: "http", want: []string{"127.0.0.1:80", "[::1]:80"}},
		{action: wire.ActionResolveRequest, service: "80", flags: aiPassive, want: []string{"0.0.0.0:80", "[::]:80"}},
		{action: wire.ActionResolveRequest, service: "80", flags: aiPassive | aiNumericHost, family: wire.AFInet6, want: []string{"[::]:80"}},
		{action: wire.ActionResolveRequest, service: "80", family: wire.AFInet, want: []string{"127.0.0.1:80"}},
		{action: wire.ActionSocketConnectRequest, service: "80", want: []string{"127.0.0.1:80"}},
		{action: wire.ActionSocketConnectRequest, service: "80", flags: aiPassive, want: []string{"0.0.0.0:80"}},
		{action: wire.ActionSocketConnectRequest, service: "80", family: wire.AFInet6, want: []string{"[::1]:80"}},
		{action: wire.ActionSocketChooseRequest, service: "80", want: []string{"127.0.0.1:80"}},
		{action: wire.ActionResolveRequest},
		{action: wire.ActionSocketConnectRequest},
		{action: wire.ActionResolveRequest, service: "bogus"},
		{action: wire.ActionResolveRequest, service: "80", emptied: true},
		{action: wire.ActionSocketConnectRequest, service: "80", emptied: true},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			got := d.dial(t).ask(&wire.Message{Action: tt.action, Context: wire.Context{
				Service: tt.service, EmptyHostname: tt.emptied, Domain: tt.family, Type: wire.SockStream,
				Hint: []wire.AddrInfo{{Family: tt.family, Type: wire.SockStream, Flags: tt.flags}},
			}})
			if failed := got.Action == wire.ActionErrorResolve; failed != (tt.want == nil) {
				t.Fatalf("answer %v", got.Action)
			}
			var list []string
			for _, r := range got.Context.Result {
				list = append(list, r.Addr.AddrPort.String())
			}
			if diff := cmp.Diff(tt.want, list); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if tt.want != nil && got.Context.Remote.AddrPort.String() != tt.want[0] {
				t.Errorf("remote %v", got.Context.Remote)
			}
			if got.Context.BindSuggested.IsValid() {
				t.Errorf("suggested %v", got.Context.BindSuggested)
			}
			if got.Context.EmptyHostname != tt.emptied {
				t.Error("the name is not echoed as it came")
			}
		})
	}
}

// With AI_ADDRCONFIG, results are only of the family that the host has addresses of. A
// family without addresses is refused.
func TestAddrConfig(t *testing.T) {
	for _, tt := range []struct {
		configured string
		family     int32
		host       string
		want       string // addresses; "": action 11
	}{
		{"both", 0, "host.test", "192.0.2.1 2001:db8::1"},
		{"four", 0, "host.test", "192.0.2.1"},
		{"six", 0, "host.test", "2001:db8::1"},
		{"none", 0, "host.test", "192.0.2.1 2001:db8::1"},
		{"four", wire.AFInet, "host.test", "192.0.2.1"},
		{"four", wire.AFInet6, "host.test", ""},
		{"six", wire.AFInet, "host.test", ""},
		{"none", wire.AFInet, "host.test", ""},
		{"four", 0, "six.test", ""},
		{"four", 0, "2001:db8::1", ""},
		{"six", 0, "2001:db8::1", "2001:db8::1"},
		{"four", 0, "", "127.0.0.1"},
		{"six", 0, "", "::1"},
	} {
		for _, action := range []wire.Action{wire.ActionResolveRequest, wire.ActionSocketConnectRequest, wire.ActionSocketChooseRequest} {
			t.Run(fmt.Sprint(tt, action), func(t *testing.T) {
				v := host(chooser(func(*policy.Request) policy.Decision { return policy.Decision{} }))
				v.Routes.(nets)[netip.MustParsePrefix("::1/128")] = 0
				v.Configured = func(f policy.Family) bool {
					return tt.configured == "both" || tt.configured == "four" && f == policy.IPv4 || tt.configured == "six" && f == policy.IPv6
				}
				d := start(t, v, Options{})
				got := d.dial(t).ask(&wire.Message{Action: action, Context: wire.Context{
					Hostname: tt.host, Service: "80", Type: wire.SockStream, Domain: tt.family,
					Hint: []wire.AddrInfo{{Family: tt.family, Type: wire.SockStream, Flags: aiAddrConfig}},
				}})
				var list []string
				for _, r := range got.Context.Result {
					list = append(list, r.Addr.AddrPort.Addr().String())
				}
				if all := strings.Join(list, " "); all != tt.want || (got.Action == wire.ActionErrorResolve) != (tt.want == "") {
					t.Errorf("%v with %q, want %q", got.Action, all, tt.want)
				}
			})
		}
	}
}
