package proxy

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/rules"
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
		{"nor to its other addresses", homeAndLAN, remote, false, socks.CommandConnect, "example.org", "192.0.2.1", want{true, false}},
		{"nor by a literal", homeAndLAN, remote, false, socks.CommandConnect, "192.0.2.1", "", want{false, false}},
		{"nor with a datagram", homeAndLAN, remote, false, socks.CommandUDPAssociate, "0.0.0.0", "192.0.2.1", want{true, false}},
		{"nor to be connected to", homeAndLAN, remote, false, socks.CommandBind, "192.0.2.1", "", want{false, false}},
		{"nor with a password", "", remote, true, socks.CommandConnect, "192.0.2.1", "", want{false, false}},
		{"unless a rule names the address", homeAndLAN, remote, false, socks.CommandConnect, "printer.example", "127.0.0.1", want{true, false}},
		{"a rule that names everything names nothing", "rule \"x\" {\n action = \"allow\"\n destination = [\"0.0.0.0/0\", \"::/0\"]\n}", remote, false, socks.CommandConnect, "x.example", "192.0.2.1", want{true, false}},
		{"this host gets at itself", homeAndLAN, local, false, socks.CommandConnect, "192.0.2.1", "", want{true, true}},
		{"nobody sends to all of a network", "", local, false, socks.CommandUDPAssociate, "0.0.0.0", "192.0.2.255", want{true, false}},
		{"or to a group", "", local, false, socks.CommandUDPAssociate, "0.0.0.0", "224.0.0.251", want{true, false}},
		{"unless a rule names it", "rule \"x\" {\n action = \"allow\"\n destination = \"224.0.0.0/4\"\n}", local, false, socks.CommandUDPAssociate, "0.0.0.0", "224.0.0.251", want{true, true}},
		{"others are still kept out", homeAndLAN, "203.0.113.1:1", false, socks.CommandConnect, "198.51.100.1", "", want{false, false}},
		{"an association is decided by datagram", homeAndLAN, remote, false, socks.CommandUDPAssociate, "0.0.0.0", "10.0.0.1", want{true, false}},
		{"a rule that denies lets nobody in", "rule \"x\" {\n action = \"deny\"\n destination = \"10.0.0.0/8\"\n}", remote, false, socks.CommandConnect, "example.org", "198.51.100.1", want{false, false}},
		{"nor to have a name resolved", "rule \"x\" {\n action = \"deny\"\n destination = \"10.0.0.0/8\"\n}", remote, false, socks.CommandResolve, "example.org", "198.51.100.1", want{false, false}},
		{"nor to an association", "rule \"x\" {\n action = \"deny\"\n port = \"25\"\n}", remote, false, socks.CommandUDPAssociate, "0.0.0.0", "198.51.100.1", want{false, false}},
		{"but this host", "rule \"x\" {\n action = \"deny\"\n destination = \"10.0.0.0/8\"\n}", local, false, socks.CommandConnect, "example.org", "198.51.100.1", want{true, true}},
		{"a rule by user lets in nobody who is unknown", "rule \"x\" {\n action = \"allow\"\n destination = \"198.51.100.0/24\"\n uid = \"0\"\n}", remote, false, socks.CommandResolve, "example.org", "198.51.100.1", want{false, false}},
		{"a network may have the name", "rule \"x\" {\n action = \"allow\"\n destination = \"198.51.100.0/24\"\n}", remote, false, socks.CommandResolve, "example.org", "203.0.113.1", want{true, false}},
		{"and may be allowed", homeAndLAN, remote, false, socks.CommandUDPAssociate, "0.0.0.0", "198.51.100.1", want{true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &access{rules: parse(t, tt.rules).rules, who: func(*socks.Request) rules.Caller { return rules.Caller{} }, kind: fakeKind}
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

// A name in a datagram is resolved only for whom the rules may let there.
func TestRulesAboutNamesInDatagrams(t *testing.T) {
	const (
		local  = "127.0.0.1:4000"
		remote = "192.0.2.7:4000"
		one    = "rule \"x\" {\n action = \"allow\"\n destination = \"*.example.org\"\n}"
		lan    = "rule \"x\" {\n action = \"deny\"\n destination = \"*.lan\"\n}"
	)
	for _, tt := range []struct {
		name, rules, client, host string
		port                      uint16
		want                      bool
	}{
		{"no rule, this host", "", local, "example.org", 53, true},
		{"the name that is allowed", one, remote, "a.Example.org.", 53, true},
		{"another name", one, remote, "b.example.com", 53, false},
		{"another name, this host", one, local, "b.example.com", 53, true},
		{"a name that is denied", lan, local, "nas.lan", 53, false},
		{"a name that is not denied", lan, local, "nas.example.org", 53, true},
		{"nobody is let in", lan, remote, "nas.example.org", 53, false},
		{"a network may have the name", "rule \"x\" {\n action = \"allow\"\n destination = \"198.51.100.0/24\"\n}", remote, "b.example.com", 53, true},
		{"a port that is allowed", "rule \"x\" {\n action = \"allow\"\n port = \"53\"\n}", remote, "b.example.com", 53, true},
		{"another port", "rule \"x\" {\n action = \"allow\"\n port = \"53\"\n}", remote, "b.example.com", 54, false},
		{"nobody knows who asks", "rule \"x\" {\n action = \"deny\"\n destination = \"*.lan\"\n uid = \"7\"\n}", local, "nas.lan", 53, false},
	} {
		a := &access{rules: parse(t, tt.rules).rules, who: func(*socks.Request) rules.Caller { return rules.Caller{} }, kind: fakeKind}
		r := &socks.Request{Command: socks.CommandUDPAssociate, Dest: socks.Addr{Host: "0.0.0.0"}, Client: netip.MustParseAddrPort(tt.client)}
		err := a.AllowName(t.Context(), r, socks.Addr{Host: tt.host, Port: tt.port})
		if (err == nil) != tt.want || err != nil && !errors.Is(err, socks.ErrNotAllowed) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// fakeKind answers like a host that has 192.0.2.1/24.
func fakeKind(ip netip.Addr) addrKind {
	switch {
	case ip.IsMulticast() || ip == netip.MustParseAddr("192.0.2.255"):
		return group
	case ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("192.0.2.1"):
		return ownHost
	}
	return others
}

func TestKindOf(t *testing.T) {
	for text, want := range map[string]addrKind{
		"127.0.0.1": ownHost, "127.3.4.5": ownHost, "::1": ownHost, "0.0.0.0": ownHost, "::": ownHost, "fe80::1": ownHost, "169.254.1.1": ownHost,
		"::ffff:127.0.0.1": ownHost, "224.0.0.251": group, "ff02::fb": group, "255.255.255.255": group, "192.0.2.7": others, "2001:db8::7": others,
	} {
		if got := kindOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if got := kindOf(ip); got != ownHost {
			t.Errorf("%v, which this host has: %v", ip, got)
		}
	}
}

func TestRulesByPort(t *testing.T) {
	a := &access{rules: parse(t, "rule \"x\" {\n action = \"deny\"\n port = [\"25\", \"100-200\"]\n}").rules, kind: fakeKind}
	for port, allowed := range map[uint16]bool{24: true, 25: false, 26: true, 99: true, 100: false, 150: false, 200: false, 201: true} {
		r := &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: port}, Client: netip.MustParseAddrPort("127.0.0.1:1")}
		if err := a.Allow(t.Context(), r); (err == nil) != allowed {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

func TestRulesByCaller(t *testing.T) {
	a := &access{rules: parse(t, `users = "/passwords"
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
}`).rules, kind: fakeKind}
	for _, tt := range []struct {
		who     rules.Caller
		user    string
		allowed bool
	}{
		{rules.Caller{Elsewhere: true}, "", true},
		{rules.Caller{}, "", false}, // it may be root's
		{rules.Caller{Known: true, UID: 0}, "", false},
		{rules.Caller{Known: true, UID: 1000}, "", false}, // it may be curl's
		{rules.Caller{Known: true, UID: 1000, Executable: "/usr/bin/curl"}, "", false},
		{rules.Caller{Known: true, UID: 1000, Executable: "/opt/x"}, "", false},
		{rules.Caller{Known: true, UID: 1000, Executable: "/usr/bin/x"}, "", true},
		{rules.Caller{Elsewhere: true}, "alice", false},
		{rules.Caller{Elsewhere: true}, "alice,category=query", false},
		{rules.Caller{Elsewhere: true}, "category=query", true},
	} {
		a.who = func(*socks.Request) rules.Caller { return tt.who }
		r := &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: 443}, Client: netip.MustParseAddrPort("127.0.0.1:1"), User: tt.user, Authenticated: true}
		if err := a.Allow(t.Context(), r); (err == nil) != tt.allowed {
			t.Errorf("%+v, user %q: %v", tt.who, tt.user, err)
		}
	}
}

// A name that nobody has checked counts for nothing. It lets nobody in, and giving another
// name does not get around a rule that denies.
func TestRulesByUncheckedName(t *testing.T) {
	for _, tt := range []struct {
		action, user           string
		authenticated, allowed bool
	}{
		{"allow", "alice", true, true},
		{"allow", "alice", false, false},
		{"allow", "bob", false, false},
		{"allow", "", false, false},
		{"deny", "alice", true, false},
		{"deny", "alice", false, false},
		{"deny", "bob", true, true},
		{"deny", "bob", false, false},
		{"deny", "", false, false},
	} {
		told := 0
		a := &access{
			rules: parse(t, "users = \"/passwords\"\nrule \"x\" {\n action = \""+tt.action+"\"\n user = \"alice\"\n}").rules, kind: fakeKind,
			who: func(*socks.Request) rules.Caller { return rules.Caller{Elsewhere: true} }, unknown: func(*socks.Request, string) { told++ },
		}
		r := &socks.Request{
			Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: 443},
			Client: netip.MustParseAddrPort("192.0.2.7:4000"), User: tt.user, Authenticated: tt.authenticated,
		}
		before, after := a.Allow(t.Context(), r), a.AllowAddr(t.Context(), r, netip.MustParseAddrPort("198.51.100.1:443"))
		if (before == nil) != tt.allowed || (after == nil) != tt.allowed {
			t.Errorf("%s alice, who is %q, checked %v: %v, %v", tt.action, tt.user, tt.authenticated, before, after)
		}
		if (told > 0) == tt.authenticated {
			t.Errorf("%s alice, who is %q, checked %v: told %d times", tt.action, tt.user, tt.authenticated, told)
		}
	}
}

// Such a rule is a mistake if nobody checks names.
func TestRuleByNameWithoutPasswords(t *testing.T) {
	err := config.ParseFile([]byte("rule \"x\" {\n  action = \"allow\"\n  user   = \"alice\"\n}\n"), "test.conf", defaults().describe)
	if err == nil || !strings.Contains(err.Error(), "nobody checks the names") || !strings.Contains(err.Error(), "test.conf:1,") {
		t.Errorf("%v", err)
	}
}

// If it cannot be found out who a client is, a rule that asks for it does not let the
// client in.
func TestRulesByUnknownCaller(t *testing.T) {
	const remote = "192.0.2.7:4000" // may be this host's other address
	for _, tt := range []struct {
		name, rules string
		who         rules.Caller
		allowed     bool
	}{
		{"allow root, whose it is", "uid = \"0\"", rules.Caller{Known: true}, true},
		{"allow root, unknown", "uid = \"0\"", rules.Caller{}, false},
		{"allow root, elsewhere", "uid = \"0\"", rules.Caller{Elsewhere: true}, false},
		{"allow a program, unknown", "process = \"curl\"", rules.Caller{Known: true}, false},
		{"allow a program, another one", "process = \"curl\"", rules.Caller{Known: true, Executable: "/bin/wget"}, false},
		{"allow a program of a user, of another one", "process = \"curl\"\n uid = \"1\"", rules.Caller{Known: true, UID: 2}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := 0
			a := &access{
				rules: parse(t, "rule \"x\" {\n action = \"allow\"\n "+tt.rules+"\n}").rules, kind: fakeKind,
				who: func(*socks.Request) rules.Caller { return tt.who }, unknown: func(*socks.Request, string) { told++ },
			}
			r := &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: "example.org", Port: 443}, Client: netip.MustParseAddrPort(remote)}
			err := a.Allow(t.Context(), r)
			if (err == nil) != tt.allowed {
				t.Errorf("%v, want allowed: %v", err, tt.allowed)
			}
			unknown := !tt.who.Elsewhere && (!tt.who.Known || tt.who.Executable == "" && !tt.allowed && tt.who.UID == 0)
			if (told > 0) != unknown {
				t.Errorf("told %d times", told)
			}
		})
	}
}

// Only the client of an association can use it: on this host, the user of the client;
// elsewhere, the client's address.
func TestSenders(t *testing.T) {
	local, remote := netip.MustParseAddrPort("127.0.0.1:4000"), netip.MustParseAddrPort("192.0.2.7:4000")
	for _, tt := range []struct {
		name    string
		client  netip.AddrPort
		who     rules.Caller
		from    netip.AddrPort
		owner   uint32
		err     error
		allowed bool
	}{
		{"its user", local, rules.Caller{Known: true, UID: 1000}, local, 1000, nil, true},
		{"another user", local, rules.Caller{Known: true, UID: 1000}, local, 1001, nil, false},
		{"root", local, rules.Caller{Known: true, UID: 1000}, local, 0, nil, false},
		{"nobody any more", local, rules.Caller{Known: true}, local, 0, errNoOwner, false},
		{"nobody knows whose association", local, rules.Caller{}, local, 0, nil, false},
		{"elsewhere", remote, rules.Caller{Elsewhere: true}, remote, 0, errNoOwner, true},
		{"elsewhere, another address", remote, rules.Caller{Elsewhere: true}, netip.MustParseAddrPort("192.0.2.8:4000"), 0, errNoOwner, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &access{
				who:    func(*socks.Request) rules.Caller { return tt.who },
				sender: func(netip.AddrPort, netip.AddrPort, *portOwner) (uint32, error) { return tt.owner, tt.err },
			}
			err := a.AllowSender(t.Context(), &socks.Request{Client: tt.client}, tt.from, local)
			if (err == nil) != tt.allowed || err != nil && !errors.Is(err, socks.ErrNotAllowed) {
				t.Errorf("%v, want allowed: %v", err, tt.allowed)
			}
		})
	}
}

// Rules see the name to which a datagram goes.
func TestRulesByNameOfDatagram(t *testing.T) {
	a := &access{kind: fakeKind, who: func(*socks.Request) rules.Caller { return rules.Caller{Elsewhere: true} }, rules: parse(t, `
rule "no lan" {
  action = "deny"
  destination = "*.lan"
}
rule "good" {
  action = "allow"
  destination = "*.example.org"
}`).rules}
	r := &socks.Request{Command: socks.CommandUDPAssociate, Dest: socks.Addr{Host: "0.0.0.0"}, Client: netip.MustParseAddrPort("192.0.2.7:1")}
	if err := a.Allow(t.Context(), r); err != nil {
		t.Error(err)
	}
	for name, allowed := range map[string]bool{"nas.lan": false, "www.example.org": true, "www.example.com": false, "198.51.100.1": false} {
		s := newSubject(r, netip.MustParseAddrPort("198.51.100.1:53"), socks.Addr{Host: name, Port: 53}, nil)
		if err := a.decide(r, s, false); (err == nil) != allowed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
