package testbed_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		writeForEver(path)
	}
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

// twoNetworks has source rules, so binding an address is enough.
func twoNetworks(t *testing.T) *testbed.Bed {
	return testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{
			{Name: "wlan0", SourceRule: true, Zone: testbed.Zone{"where.example.net": {"A 10.1.0.1"}}},
			{Name: "wwan0", SourceRule: true, Zone: testbed.Zone{"where.example.net": {"A 10.2.0.1"}}},
		},
		Zone: testbed.Zone{
			"www.example.net":   {"300 IN CNAME host.example.net."},
			"host.example.net":  {"A 192.0.2.1", "AAAA 2001:db8:ffff::1"},
			"where.example.net": {"A 192.0.2.1"},
		},
	})
}

// get fetches a URL from the client, bound to the local address if that is valid.
func get(t *testing.T, b *testbed.Bed, url string, local netip.Addr, control func(string, string, syscall.RawConn) error) (testbed.Seen, error) {
	t.Helper()
	d := &net.Dialer{Timeout: 2 * time.Second, Control: control}
	if local.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return b.Client.Dial(ctx, d, network, addr)
	}}
	client := &http.Client{Transport: transport}
	resp, err := client.Get(url)
	if err != nil {
		return testbed.Seen{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	var seen testbed.Seen
	if err := json.Unmarshal(body, &seen); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	return seen, nil
}

func TestServiceSeesNetwork(t *testing.T) {
	t.Parallel()
	b := twoNetworks(t)
	for _, tt := range []struct {
		name  string
		url   string
		local netip.Addr
		want  testbed.Seen
	}{
		{"unbound", "http://192.0.2.1/x", netip.Addr{}, testbed.Seen{Server: "service", Network: "wlan0", Path: "/x"}},
		{"first", "http://192.0.2.1/", b.Networks[0].Client4, testbed.Seen{Server: "service", Network: "wlan0", Path: "/"}},
		{"second", "http://192.0.2.1/", b.Networks[1].Client4, testbed.Seen{Server: "service", Network: "wwan0", Path: "/"}},
		{"first, IPv6", "http://[2001:db8:ffff::1]/", b.Networks[0].Client6, testbed.Seen{Server: "service", Network: "wlan0", Path: "/"}},
		{"second, IPv6", "http://[2001:db8:ffff::1]/", b.Networks[1].Client6, testbed.Seen{Server: "service", Network: "wwan0", Path: "/"}},
		{"second's gateway", "http://10.2.0.1/", netip.Addr{}, testbed.Seen{Server: "wwan0", Network: "wwan0", Path: "/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := get(t, b, tt.url, tt.local, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.local.IsValid() && got.Client.Addr() != tt.local {
				t.Errorf("client seen as %s, want %s", got.Client.Addr(), tt.local)
			}
			ignore := cmpopts.IgnoreFields(testbed.Seen{}, "Time", "Client", "Local", "Host")
			if diff := cmp.Diff(tt.want, got, ignore); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := len(b.Service.HTTP.Requests()); got != 5 {
		t.Errorf("service remembers %d requests, want 5", got)
	}
}

// TestBindingAloneFails shows the host of most users. Without a source rule, a packet
// from the second network's address leaves by the first network and is dropped there.
// Binding the device as well helps.
func TestBindingAloneFails(t *testing.T) {
	t.Parallel()
	b := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "a"}, {Name: "b"}}})
	second := b.Network("b")
	for _, test := range []struct {
		url   string
		local netip.Addr
	}{{"http://192.0.2.1/", second.Client4}, {"http://[2001:db8:ffff::1]/", second.Client6}} {
		capture, err := b.Client.Capture()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = b.Client.Dial(ctx, &net.Dialer{LocalAddr: &net.TCPAddr{IP: test.local.AsSlice()}}, "tcp",
			netip.AddrPortFrom(map[bool]netip.Addr{true: testbed.ServiceAddr4, false: testbed.ServiceAddr6}[test.local.Is4()], 80).String())
		cancel()
		if err == nil {
			t.Errorf("%s from %s: connected", test.url, test.local)
		}
		left := ""
		for _, p := range capture.Close() {
			if p.SYN && p.Outgoing {
				left = p.Interface
			}
		}
		if left != "a" {
			t.Errorf("%s from %s left by %q, want a", test.url, test.local, left)
		}
		seen, err := get(t, b, test.url, test.local, func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) {
				err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "b")
			}), err)
		})
		if err != nil || seen.Network != "b" {
			t.Errorf("%s from %s by device b: seen %+v, %v", test.url, test.local, seen, err)
		}
	}
}

func TestDNS(t *testing.T) {
	t.Parallel()
	b := twoNetworks(t)
	capture, err := b.Client.Capture()
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	first, second := b.Networks[0], b.Networks[1]
	for _, tt := range []struct {
		name, transport string
		server, local   netip.Addr
		question        string
		qtype           uint16
		want            []string
		rcode           int
	}{
		{"same name, first network", "udp", first.Gateway4, first.Client4, "where.example.net.", dns.TypeA, []string{"10.1.0.1"}, 0},
		{"same name, second network", "udp", second.Gateway4, second.Client4, "WHERE.example.net.", dns.TypeA, []string{"10.2.0.1"}, 0},
		{"same name, service", "tcp", testbed.ServiceAddr4, second.Client4, "where.example.net.", dns.TypeA, []string{"192.0.2.1"}, 0},
		{"alias over IPv6", "tcp", second.Gateway6, second.Client6, "www.example.net.", dns.TypeAAAA, []string{"host.example.net.", "2001:db8:ffff::1"}, 0},
		{"no such type", "udp", first.Gateway4, first.Client4, "where.example.net.", dns.TypeAAAA, nil, 0},
		{"no such name", "udp", first.Gateway4, first.Client4, "nowhere.example.net.", dns.TypeA, nil, dns.RcodeNameError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := dialDNS(t.Context(), b, tt.transport, tt.server, tt.local)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			m := new(dns.Msg).SetQuestion(tt.question, tt.qtype)
			r, _, err := new(dns.Client).ExchangeWithConn(m, &dns.Conn{Conn: c})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rr := range r.Answer {
				fields := strings.Fields(rr.String())
				got = append(got, fields[len(fields)-1])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || r.Rcode != tt.rcode {
				t.Errorf("rcode %d, want %d; answer (-want +got):\n%s", r.Rcode, tt.rcode, diff)
			}
		})
	}
	queries := second.Server.DNS.Queries()
	if len(queries) != 2 {
		t.Fatalf("second network's server was asked %v", queries)
	}
	want := testbed.Query{Name: "where.example.net.", Type: dns.TypeA, Network: "udp", Local: netip.AddrPortFrom(second.Gateway4, 53)}
	if diff := cmp.Diff(want, queries[0], cmpopts.IgnoreFields(testbed.Query{}, "Time", "Remote"), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	for _, p := range capture.Packets() {
		if p.Question == "" || !p.Outgoing {
			continue
		}
		if want := b.NetworkOf(p.Src.Addr()).Name; p.Interface != want {
			t.Errorf("%v: left by another network than %s", p, want)
		}
	}
}

func dialDNS(ctx context.Context, b *testbed.Bed, transport string, server, local netip.Addr) (net.Conn, error) {
	d := &net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.UDPAddr{IP: local.AsSlice()}}
	if transport == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	return b.Client.Dial(ctx, d, transport, netip.AddrPortFrom(server, 53).String())
}

func TestBytes(t *testing.T) {
	t.Parallel()
	b := twoNetworks(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: b.Client.DialContext}}
	resp, err := client.Get("http://192.0.2.1/bytes/300000")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if n != 300000 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	resp, err = client.Post("http://192.0.2.1/sink", "", strings.NewReader(strings.Repeat("x", 5000)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if string(body) != "5000\n" || err != nil {
		t.Errorf("sink answered %q, %v", body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

// TestHomeIsUntouched checks that threads return to their namespace, and that commands
// run and end in the namespace of the bed.
func TestHomeIsUntouched(t *testing.T) {
	t.Parallel()
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	b := twoNetworks(t)
	inside := 0
	err = b.Client.Do(func() error {
		return b.Networks[0].Server.Do(func() error {
			list, err := net.Interfaces()
			inside = len(list)
			return err
		})
	})
	if err != nil || inside < 3 {
		t.Errorf("gateway has %d interfaces, %v", inside, err)
	}
	after, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("host changed:\n%s", diff)
	}
	out := &strings.Builder{}
	cmd := exec.Command("cat", "/proc/net/dev")
	cmd.Stdout = out
	if err := b.Client.Run(cmd); err != nil || !strings.Contains(out.String(), "wwan0") {
		t.Errorf("command sees %q, %v", out, err)
	}
	sleeper := exec.Command("sleep", "600")
	if err := b.Client.Start(sleeper); err != nil {
		t.Fatal(err)
	}
	b.Close()
	var exit *exec.ExitError
	if err := sleeper.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("command ended with %v, want a signal", err)
	}
}
