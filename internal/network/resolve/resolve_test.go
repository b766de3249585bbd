package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/policy"
)

var addrEqual = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

const soa = "example.com. 600 IN SOA ns.example.com. admin.example.com. 1 3600 600 86400 60"

func TestLookup(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, soa,
		"v4.example.com. 300 IN A 192.0.2.1",
		"v4.example.com. 300 IN A 192.0.2.2",
		"v4.example.com. 300 IN A 192.0.2.1",
		"dual.example.com. 300 IN A 192.0.2.3",
		"dual.example.com. 300 IN AAAA 2001:db8::3",
		"mapped.example.com. 300 IN AAAA ::ffff:192.0.2.4",
		"alias.example.com. 300 IN CNAME dual.example.com.",
		"far.example.com. 300 IN CNAME alias.example.com.",
		"loop.example.com. 300 IN CNAME pool.example.com.",
		"pool.example.com. 300 IN CNAME loop.example.com.",
		`odd.example.com. 300 IN CNAME a\000b.example.com.`,
	))
	hosts := write(t, "hosts", "192.0.2.50 Printer printer.home\n2001:db8::50 printer\n192.0.2.51 v4only\n192.0.2.52 1234567890123 box.1\n")
	r := resolver(t, Config{HostsFile: hosts}, s)

	tests := []struct {
		host   string
		family policy.Family
		want   []netip.Addr
		name   string
		err    error
	}{
		{host: "192.0.2.9", want: addrs("192.0.2.9")},
		{host: "2001:db8::9", family: policy.IPv6, want: addrs("2001:db8::9")},
		{host: "fe80::1%eth0", want: addrs("fe80::1%eth0")},
		{host: "192.0.2.9", family: policy.IPv6, err: errNoData},
		{host: "printer", want: addrs("192.0.2.50", "2001:db8::50"), name: "printer"},
		{host: "PRINTER.", family: policy.IPv6, want: addrs("2001:db8::50"), name: "printer"},
		{host: "v4only", family: policy.IPv6, err: errNoData},
		{host: "localhost", want: addrs("127.0.0.1", "::1"), name: "localhost"},
		{host: "a.localhost", family: policy.IPv4, want: addrs("127.0.0.1"), name: "a.localhost"},
		{host: "printer.local", err: errSpecial},
		{host: "example.onion", err: errSpecial},
		{host: "a.invalid", err: errSpecial},
		{host: "1234567890123", want: addrs("192.0.2.52"), name: "1234567890123"},
		{host: "Box.1.", want: addrs("192.0.2.52"), name: "box.1"},
		{host: "box.2", err: errNumber},
		{host: "v4.example.com", want: addrs("192.0.2.1", "192.0.2.2"), name: "v4.example.com"},
		{host: "V4.Example.COM.", family: policy.IPv4, want: addrs("192.0.2.1", "192.0.2.2"), name: "v4.example.com"},
		{host: "v4.example.com", family: policy.IPv6, err: errNoData},
		{host: "dual.example.com", want: addrs("192.0.2.3", "2001:db8::3"), name: "dual.example.com"},
		{host: "dual.example.com", family: policy.IPv6, want: addrs("2001:db8::3"), name: "dual.example.com"},
		{host: "mapped.example.com", family: policy.IPv6, err: errNoData},
		{host: "far.example.com", want: addrs("192.0.2.3", "2001:db8::3"), name: "dual.example.com"},
		{host: "loop.example.com", family: policy.IPv4, err: errAliases},
		{host: "odd.example.com", family: policy.IPv4, err: errAliasName},
		{host: "none.example.com", err: errNoHost},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.host, " ", tt.family), func(t *testing.T) {
			if tt.err != nil {
				e := lookupError(t, r, tt.host, tt.family)
				if !errors.Is(e, tt.err) {
					t.Errorf("error is %v, want %v", e, tt.err)
				}
				if want := tt.err != errAliases && tt.err != errAliasName; e.NotFound != want {
					t.Errorf("NotFound is %v, want %v: %v", e.NotFound, want, e)
				}
				return
			}
			a := lookup(t, r, tt.host, tt.family)
			if diff := cmp.Diff(tt.want, a.Addrs, addrEqual); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if a.Name != tt.name {
				t.Errorf("canonical name %q, want %q", a.Name, tt.name)
			}
		})
	}
	for _, q := range s.asked() {
		if !strings.HasSuffix(q.Name, ".example.com.") {
			t.Errorf("server was asked for %q", q.Name)
		}
	}
}

func TestLookupInvalidNames(t *testing.T) {
	s := serve(t, "127.0.0.2", mute)
	r := resolver(t, Config{}, s)
	for _, host := range []string{
		"", ".", "..", "a..b", ".a", "a b", "a\x00b", "a/b", "bücher.example",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 126) + "aa", strings.Repeat("1", 100_000),
		"127.1", "0x7f.1", "1.2.3.4.5", "12345", "[::1]", "fe80::1%", "127.0.0.1:80",
	} {
		e := lookupError(t, r, host, policy.Unspecified)
		if !e.NotFound {
			t.Errorf("Lookup(%.20q): NotFound is not set: %.100v", host, e)
		}
		if len(e.Error()) > 5*maxName {
			t.Errorf("Lookup(%.20q): error text has %d bytes", host, len(e.Error()))
		}
	}
	if got := s.asked(); len(got) > 0 {
		t.Errorf("server was asked %v", got)
	}
}

func TestSearchList(t *testing.T) {
	s := serve(t, "127.0.0.2", zone(t, soa,
		"www.b.example.com. 300 IN A 192.0.2.1",
		"x.y.a.example.com. 300 IN A 192.0.2.2",
	))
	conf := func(options string) Config {
		return Config{ResolvConf: write(t, "resolv.conf",
			fmt.Sprintf("nameserver %v\nsearch a.example.com b.example.com\n%s\n", s.addr, options))}
	}
	tests := []struct {
		name, options, host, want string
		asked                     []string
	}{
		{name: "second domain", host: "www", want: "www.b.example.com", asked: []string{"www.a.example.com.", "www.b.example.com."}},
		{name: "own name first", host: "x.y", want: "x.y.a.example.com", asked: []string{"x.y.", "x.y.a.example.com."}},
		{name: "ndots", options: "options ndots:2", host: "x.y", want: "x.y.a.example.com", asked: []string{"x.y.a.example.com."}},
		{name: "own name last", host: "nix", asked: []string{"nix.a.example.com.", "nix.b.example.com.", "nix."}},
		{name: "final dot", host: "www.", asked: []string{"www."}},
		{name: "too long for the list", host: strings.Repeat("a.", 122) + "b", asked: []string{strings.Repeat("a.", 122) + "b."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.asked())
			r := resolver(t, conf(tt.options))
			a, err := r.Lookup(t.Context(), tt.host, policy.IPv4)
			if (err == nil) != (tt.want != "") || a.Name != tt.want {
				t.Errorf("got %q, %v; want %q", a.Name, err, tt.want)
			}
			var asked []string
			for _, q := range s.asked()[before:] {
				asked = append(asked, q.Name)
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	one := serve(t, "127.0.0.2", zone(t, "www.example.com. 300 IN A 192.0.2.1"))
	two := serve(t, "127.0.0.3", zone(t, "www.example.com. 300 IN A 192.0.2.2"))
	var c clock
	dir := t.TempDir()
	conf, hosts := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "hosts")
	r := resolver(t, Config{ResolvConf: conf, HostsFile: hosts, Now: c.now})

	// replace puts a file in place in one step, as well-behaved tools do.
	replace := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	want := func(addr string) {
		t.Helper()
		a := lookup(t, r, "www.example.com", policy.IPv4)
		if diff := cmp.Diff(addrs(addr), a.Addrs, addrEqual); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}

	if e := lookupError(t, r, "www.example.com", policy.IPv4); !errors.Is(e, errNoServer) || e.NotFound {
		t.Errorf("without files: %v", e)
	}
	replace(conf, fmt.Sprintf("nameserver %v\n", one.addr))
	c.advance(fileInterval)
	want("192.0.2.1")
	replace(conf, fmt.Sprintf("nameserver %v\n", two.addr))
	want("192.0.2.1") // not yet looked at
	c.advance(fileInterval)
	want("192.0.2.2") // the cache is forgotten, too
	if got := r.Servers(); !slices.Equal(got, []netip.AddrPort{two.addr}) {
		t.Errorf("Servers() = %v", got)
	}
	replace(hosts, "192.0.2.3 www.example.com\n")
	c.advance(fileInterval)
	want("192.0.2.3")
	if err := os.Remove(hosts); err != nil {
		t.Fatal(err)
	}
	c.advance(fileInterval)
	want("192.0.2.2")
}

func TestClose(t *testing.T) {
	reached := make(chan struct{}, 1)
	s := serve(t, "127.0.0.2", func(dns.ResponseWriter, *dns.Msg) { reached <- struct{}{} })
	r := resolver(t, Config{}, s)
	done := make(chan error)
	go func() {
		_, err := r.Lookup(context.Background(), "www.example.com", policy.IPv4)
		done <- err
	}()
	<-reached
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("lookup that was under way: %v", err)
	}
	if e := lookupError(t, r, "www.example.com", policy.IPv4); !errors.Is(e, errClosed) {
		t.Errorf("lookup after Close: %v", e)
	}
}

func TestDefaults(t *testing.T) {
	bound := netip.MustParseAddr("192.0.2.7")
	local := netip.MustParseAddrPort("127.0.0.1:53")
	other := netip.MustParseAddrPort("198.51.100.1:53")
	tests := []struct {
		name    string
		cfg     Config
		content *resolvConf // of the resolv.conf that the Config leads to; nil: none is read
		want    []netip.AddrPort
	}{
		{name: "zero value", content: &resolvConf{servers: []netip.AddrPort{other}}, want: []netip.AddrPort{other}},
		{name: "no server anywhere", content: &resolvConf{}, want: []netip.AddrPort{local}},
		// doc/original/daemon.md D30
		{name: "bound only", cfg: Config{BindTo: bound}, content: &resolvConf{servers: []netip.AddrPort{other}}, want: []netip.AddrPort{other}},
		{name: "bound, no server anywhere", cfg: Config{BindTo: bound}, content: &resolvConf{}},
		{name: "servers only", cfg: Config{Servers: []netip.AddrPort{netip.AddrPortFrom(other.Addr(), 0)}}, want: []netip.AddrPort{other}},
		{name: "servers and file", cfg: Config{Servers: []netip.AddrPort{local}, ResolvConf: "/x"},
			content: &resolvConf{servers: []netip.AddrPort{other}}, want: []netip.AddrPort{local, other}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := New(tt.cfg, nil)
			defer func() { _ = r.Close() }()
			if (r.conf != nil) != (tt.content != nil) {
				t.Fatalf("reads %q", r.cfg.ResolvConf)
			}
			st := r.cfg.settings(tt.content)
			if diff := cmp.Diff(tt.want, st.servers, addrEqual); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if st.timeout != time.Second || st.attempts != 3 {
				t.Errorf("time-out %v, %d attempts", st.timeout, st.attempts)
			}
		})
	}
}

func BenchmarkLookupCached(b *testing.B) {
	s := serve(b, "127.0.0.2", zone(b, "www.example.com. 300 IN A 192.0.2.1", "www.example.com. 300 IN AAAA 2001:db8::1"))
	r := resolver(b, Config{}, s)
	for _, family := range []policy.Family{policy.IPv4, policy.Unspecified} {
		b.Run(family.String(), func(b *testing.B) {
			lookup(b, r, "www.example.com", family)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Lookup(context.Background(), "www.example.com", family); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
