package mam

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
)

func TestPort(t *testing.T) {
	for _, tt := range []struct {
		network, service string
		numeric          bool
		want             uint16
		ok               bool
	}{
		{"tcp", "http", false, 80, true},
		{"udp", "domain", false, 53, true},
		{"", "domain", false, 53, true},
		{"udp", "8080", false, 8080, true},
		{"tcp", "080", false, 80, true},
		{"tcp", "0", false, 0, true},
		{"tcp", "8080", true, 8080, true},
		{"tcp", "http", true, 0, false},
		{"udp", "telnet", false, 0, false},
		{"tcp", "65536", false, 0, false},
		{"tcp", "99999999999999999999", false, 0, false},
		{"tcp", "no-such-service", false, 0, false},
		{"", "ht\x00tp", false, 0, false},
		{"tcp", "", false, 0, false},
		{"tcp", "-1", false, 0, false},
		{"tcp", "+80", false, 0, false},
		{"tcp", " 80", false, 0, false},
		{"tcp", "0x50", false, 0, false},
		{"tcp", strings.Repeat("a", 10_000), false, 0, false},
	} {
		got, err := port(tt.network, tt.service, tt.numeric)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("port(%q, %.20q, %v) = %d, %v", tt.network, tt.service, tt.numeric, got, err)
		}
	}
}

func FuzzPort(f *testing.F) {
	for _, s := range []string{"http", "80", "-1", "", "65536", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, service string) {
		n, err := port("", service, true)
		if err != nil {
			return
		}
		if again, err := port("", strconv.Itoa(int(n)), true); err != nil || again != n {
			t.Fatalf("%q is %d, then %d, %v", service, n, again, err)
		}
	})
}

// Services are looked up for what the client asks for; what is none is refused with
// the error of the original, by all actions that resolve.
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
		empty    bool // it is there, as ""
		typ      int32
		protocol int32
		flags    int32
		host     string
		zone     string // of the result
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
		{service: "telnet", typ: wire.SockDgram, want: -1}, // of TCP only
		{empty: true, typ: wire.SockStream, want: -1},
		{service: "70000", typ: wire.SockStream, want: -1},
		{service: "-1", typ: wire.SockStream, want: -1},
		{service: "no-such-service", typ: wire.SockStream, want: -1},
		{service: "80x", typ: wire.SockStream, want: -1},
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

// A service without a name is one of this host, as getaddrinfo(3) has it; neither is an
// error, as is a name that is there and empty.
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
