package proxy

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/socks"
)

// parse reads a configuration.
func parse(t *testing.T, text string) *settings {
	t.Helper()
	c := defaults()
	if err := config.ParseFile([]byte(text), "test.conf", c.describe); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRules(t *testing.T) {
	const (
		local  = "127.0.0.1:4000"
		remote = "192.0.2.7:4000"
	)
	const homeAndLAN = `
rule "no mail" {
  action = "deny"
  port = "25"
}
rule "no lan" {
  action = "deny"
  destination = ["10.0.0.0/8", "*.lan"]
}
rule "printer" {
  action = "allow"
  client = "192.0.2.0/24"
  destination = "127.0.0.1"
  port = "631"
}
rule "home" {
  action = "allow"
  client = "192.0.2.0/24"
}`
	type want struct{ before, after bool } // allowed, before and after the address is known
	for _, tt := range []struct {
		name, rules   string
		client        string
		authenticated bool
		command       socks.Command
		dest, addr    string // addr is what dest resolves to, "" if dest is an address
		want          want
	}{
		{"no rules, this host", "", local, false, socks.CommandConnect, "example.org", "198.51.100.1", want{true, true}},
		{"no rules, this host to itself", "", local, false, socks.CommandConnect, "127.0.0.1", "", want{true, true}},
		{"no rules, elsewhere", "", remote, false, socks.CommandConnect, "example.org", "198.51.100.1", want{false, false}},
		{"no rules, elsewhere with a password", "", remote, true, socks.CommandConnect, "example.org", "198.51.100.1", want{true, true}},
		{"a password does not open this host", "", remote, true, socks.CommandConnect, "example.org", "127.0.0.1", want{true, false}},
		{"nor its links", "", remote, true, socks.CommandConnect, "fe80::1", "", want{false, false}},
		{"a rule lets in", homeAndLAN, remote, false, socks.CommandConnect, "example.org", "198.51.100.1", want{true, true}},
		{"but not to this host", homeAndLAN, remote, false, socks.CommandConnect, "localhost", "127.0.0.1", want{true, false}},
		{"nor by address", homeAndLAN, remote, false, socks.CommandConnect, "::1", "", want{false, false}},
		{"a name may turn out to be forbidden", homeAndLAN, remote, false, socks.CommandConnect, "rebind.example.org", "10.0.0.1", want{true, false}},
		{"a name is forbidden whatever its address", homeAndLAN, remote, false, socks.CommandConnect, "NAS.lan.", "198.51.100.1", want{false, false}},
		{"an address is forbidden", homeAndLAN, local, false, socks.CommandConnect, "10.1.2.3", "", want{false, false}},
		{"others are still kept out", homeAndLAN, "203.0.113.1:1", false, socks.CommandConnect, "198.51.100.1", "", want{false, false}},
		{"an association is decided by datagram", homeAndLAN, remote, false, socks.CommandUDPAssociate, "0.0.0.0", "10.0.0.1", want{true, false}},
		{"and may be allowed", homeAndLAN, remote, false, socks.CommandUDPAssociate, "0.0.0.0", "198.51.100.1", want{true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &access{rules: parse(t, tt.rules).rules, who: func(*socks.Request) caller { return caller{} }}
			r := &socks.Request{Command: tt.command, Dest: socks.Addr{Host: tt.dest, Port: 443}, Client: netip.MustParseAddrPort(tt.client), Authenticated: tt.authenticated}
			addr := tt.addr
			if addr == "" {
				addr = tt.dest
			}
			before := a.Allow(t.Context(), r)
			after := a.AllowAddr(t.Context(), r, netip.AddrPortFrom(netip.MustParseAddr(addr), 443))
			if got := (want{before == nil, after == nil}); got != tt.want {
				t.Errorf("allowed %v, want %v (%v, %v)", got, tt.want, before, after)
			}
			for _, err := range []error{before, after} {
				if err != nil && !errors.Is(err, socks.ErrNotAllowed) {
					t.Errorf("error %v is not ErrNotAllowed", err)
				}
			}
		})
	}
}

func TestRulesByPort(t *testing.T) {
	a := &access{rules: parse(t, "rule \"x\" {\n action = \"deny\"\n port = [\"25\", \"100-200\"]\n}").rules}
	for port, allowed := range map[uint16]bool{24: true, 25: false, 26: true, 99: true, 100: false, 150: false, 200: false, 201: true} {
		r := &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: port}, Client: netip.MustParseAddrPort("127.0.0.1:1")}
		if err := a.Allow(t.Context(), r); (err == nil) != allowed {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

func TestRulesByCaller(t *testing.T) {
	a := &access{rules: parse(t, `
rule "root" {
  action = "deny"
  uid = "0"
}
rule "curl" {
  action = "deny"
  process = ["curl", "/opt/x"]
}
rule "alice" {
  action = "deny"
  user = "alice"
}`).rules}
	for _, tt := range []struct {
		who     caller
		user    string
		allowed bool
	}{
		{caller{}, "", true},
		{caller{known: true, uid: 0}, "", false},
		{caller{known: true, uid: 1000}, "", true},
		{caller{known: true, uid: 1000, executable: "/usr/bin/curl"}, "", false},
		{caller{known: true, uid: 1000, executable: "/opt/x"}, "", false},
		{caller{known: true, uid: 1000, executable: "/usr/bin/x"}, "", true},
		{caller{}, "alice", false},
		{caller{}, "alice,category=query", false},
		{caller{}, "category=query", true},
	} {
		a.who = func(*socks.Request) caller { return tt.who }
		r := &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: 443}, Client: netip.MustParseAddrPort("127.0.0.1:1"), User: tt.user}
		if err := a.Allow(t.Context(), r); (err == nil) != tt.allowed {
			t.Errorf("%+v, user %q: %v", tt.who, tt.user, err)
		}
	}
}
