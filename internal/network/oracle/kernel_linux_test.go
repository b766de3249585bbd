package oracle_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // tests that need more are skipped and say so
	goleak.VerifyTestMain(m)
}

// host is a namespace with the links wlan0, wwan0 and tun0, and a kernel to ask.
type host struct {
	*testing.T
	*oracle.Kernel
	ns *testbed.Namespace
}

func newHost(t *testing.T, setup string) *host {
	t.Helper()
	h := &host{T: t, ns: testbed.ForTest(t, testbed.Config{}).Client}
	for _, link := range []string{"wlan0", "wwan0", "tun0"} {
		h.ip(fmt.Sprintf("link add %s type veth peer name %s-peer\nlink set %[1]s-peer up\nlink set %[1]s up", link, link))
	}
	h.ip(setup)
	k, err := oracle.Open(h.ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	h.Kernel = k
	return h
}

// ip runs ip(8) in the namespace, once for each line. Lines that begin with -6 are about
// IPv6.
func (h *host) ip(lines string) {
	h.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		testbed.SkipOrFail(h.T, fmt.Errorf("%w: %w", testbed.ErrUnavailable, err))
	}
	var four, six []string
	for line := range strings.Lines(lines) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "-6 "); ok {
			six = append(six, rest)
		} else {
			four = append(four, strings.TrimSpace(line))
		}
	}
	for i, list := range [][]string{four, six} {
		err := h.ns.Do(func() error {
			cmd := exec.Command(path, [][]string{{"-batch", "-"}, {"-6", "-batch", "-"}}[i]...)
			cmd.Stdin = strings.NewReader(strings.Join(list, "\n"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			h.Fatal(err)
		}
	}
}

func (h *host) index(name string) int {
	h.Helper()
	l, err := h.ns.Handle().LinkByName(name)
	if err != nil {
		h.Fatal(err)
	}
	return l.Attrs().Index
}

func (h *host) name(index int) string {
	if index == 0 {
		return "-"
	}
	l, err := h.ns.Handle().LinkByIndex(index)
	if err != nil {
		return "?"
	}
	return l.Attrs().Name
}

// shown writes an answer roughly as ip(8) would.
func (h *host) shown(a oracle.Answer) string {
	if a.Verdict != oracle.Sent {
		return a.Verdict.String()
	}
	hop := func(o oracle.Hop) string {
		text := h.name(o.Index)
		if o.Gateway.IsValid() {
			text = o.Gateway.String() + " " + text
		}
		return text
	}
	text := fmt.Sprintf("%v: %s", a.Prefix, hop(a.Hop))
	for _, o := range a.More {
		text += ", " + hop(o)
	}
	if a.Table != 254 {
		text += fmt.Sprintf(" table %d", a.Table)
	}
	if a.Metric != 0 {
		text += fmt.Sprintf(" metric %d", a.Metric)
	}
	return text
}

// uplinks makes two networks, the first one preferred.
const uplinks = `
address add 192.168.0.23/24 dev wlan0
address add 10.64.3.9/24 dev wwan0
route add default via 192.168.0.1 dev wlan0 metric 100
route add default via 10.64.3.1 dev wwan0 metric 700
`

// user is the user whom a rule is about, and other is another user.
var user, other = uint32(1000), uint32(1001)

// userRule returns a rule about a user, with what follows the user. If that user does not
// exist, it returns "", and a skipped subtest says so: the kernel accepts rules only about
// users of the user namespace. The namespace of a user without rights has root alone, and
// every question that names no other user is about root.
func userRule(t *testing.T, rest string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	var first, outside, n uint32
	if _, err := fmt.Sscan(string(b), &first, &outside, &n); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if first <= user && uint64(other) < uint64(first)+uint64(n) {
		return fmt.Sprintf("rule add uidrange %d-%[1]d %s\n", user, rest)
	}
	t.Run("users", func(t *testing.T) {
		t.Skipf("missing capability: rules about user %d, whom this user namespace does not have", user)
	})
	return ""
}

func TestMatch(t *testing.T) {
	t.Parallel()
	users := userRule(t, "lookup 54 priority 102")
	h := newHost(t, uplinks+users+`
route add blackhole 198.18.1.0/24
route add prohibit 198.18.2.0/24
route add unreachable 198.18.3.0/24
route add 198.18.4.0/24 nexthop via 192.168.0.7 dev wlan0 nexthop via 10.64.3.7 dev wwan0
route add 198.18.5.0/24 via inet6 fe80::7 dev wwan0
route add 198.18.6.0/24 dev tun0 table 52
rule add to 198.18.6.0/24 lookup 52 priority 100
rule add fwmark 0x5 lookup 53 priority 101
rule add ipproto tcp dport 443 lookup 55 priority 103
rule add from 192.168.0.99 prohibit priority 104
route add default dev tun0 table 53
route add default dev tun0 table 54
route add default dev tun0 table 55
address add 192.168.0.99/24 dev wlan0
-6 address add 2001:db8:1::23/64 dev wlan0 nodad
-6 address add 2001:db8:2::9/64 dev wwan0 nodad
-6 route add default via fe80::1 dev wlan0 metric 100
-6 route add default via fe80::2 dev wwan0 metric 700
-6 route add blackhole 2001:db8:9::/48
-6 route add 2001:db8:8::/48 via fe80::9 dev wwan0 expires 100
`)
	addr := netip.MustParseAddr
	wwan := h.index("wwan0")
	// The kernel adds the route to an IPv6 address of its own later than the address
	// itself.
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		a, err := h.Match(oracle.Question{Dst: addr("2001:db8:2::9")})
		if err != nil || a.Verdict == oracle.Local {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the host's own address is not local")
		}
	}
	for _, tt := range []struct {
		name string
		q    oracle.Question
		want string
	}{
		{"default", oracle.Question{Dst: addr("198.18.0.1")}, "0.0.0.0/0: 192.168.0.1 wlan0 metric 100"},
		{"mapped", oracle.Question{Dst: addr("::ffff:198.18.0.1")}, "0.0.0.0/0: 192.168.0.1 wlan0 metric 100"},
		{"neighbour", oracle.Question{Dst: addr("10.64.3.77")}, "10.64.3.0/24: wwan0"},
		{"own address", oracle.Question{Dst: addr("10.64.3.9")}, "local"},
		{"source, which no rule is about", oracle.Question{Dst: addr("198.18.0.1"), Src: addr("10.64.3.9")}, "0.0.0.0/0: 192.168.0.1 wlan0 metric 100"},
		{"device", oracle.Question{Dst: addr("198.18.0.1"), Src: addr("10.64.3.9"), Device: wwan}, "0.0.0.0/0: 10.64.3.1 wwan0 metric 700"},
		{"device without a route: no neighbour is made up", oracle.Question{Dst: addr("198.18.0.1"), Device: h.index("tun0")}, "no route"},
		{"device that is not there", oracle.Question{Dst: addr("198.18.0.1"), Device: 999}, "no route"},
		{"source that is not there", oracle.Question{Dst: addr("198.18.0.1"), Src: addr("10.64.3.10")}, "no route"},
		{"blackhole", oracle.Question{Dst: addr("198.18.1.1")}, "blackhole"},
		{"prohibit", oracle.Question{Dst: addr("198.18.2.1")}, "prohibited"},
		{"unreachable", oracle.Question{Dst: addr("198.18.3.1")}, "unreachable"},
		{"several next hops", oracle.Question{Dst: addr("198.18.4.1")}, "198.18.4.0/24: 192.168.0.7 wlan0, 10.64.3.7 wwan0"},
		{"several next hops, one of them on the device", oracle.Question{Dst: addr("198.18.4.1"), Device: wwan}, "198.18.4.0/24: 10.64.3.7 wwan0"},
		{"gateway of the other family", oracle.Question{Dst: addr("198.18.5.1")}, "198.18.5.0/24: fe80::7 wwan0"},
		{"rule by destination", oracle.Question{Dst: addr("198.18.6.1")}, "198.18.6.0/24: tun0 table 52"},
		{"mark", oracle.Question{Dst: addr("198.18.0.1"), Mark: 5}, "0.0.0.0/0: tun0 table 53"},
		{"user", oracle.Question{Dst: addr("198.18.0.1"), User: &user}, "0.0.0.0/0: tun0 table 54"},
		{"other user", oracle.Question{Dst: addr("198.18.0.1"), User: &other}, "0.0.0.0/0: 192.168.0.1 wlan0 metric 100"},
		{"port", oracle.Question{Dst: addr("198.18.0.1"), Protocol: unix.IPPROTO_TCP, Port: 443}, "0.0.0.0/0: tun0 table 55"},
		{"other port", oracle.Question{Dst: addr("198.18.0.1"), Protocol: unix.IPPROTO_TCP, Port: 80}, "0.0.0.0/0: 192.168.0.1 wlan0 metric 100"},
		{"prohibiting rule", oracle.Question{Dst: addr("198.18.0.1"), Src: addr("192.168.0.99")}, "prohibited"},
		{"IPv6", oracle.Question{Dst: addr("2001:db8:7::1")}, "::/0: fe80::1 wlan0 metric 100"},
		{"IPv6 by device", oracle.Question{Dst: addr("2001:db8:7::1"), Device: wwan}, "::/0: fe80::2 wwan0 metric 700"},
		{"IPv6 own address", oracle.Question{Dst: addr("2001:db8:2::9")}, "local"},
		{"IPv6 blackhole", oracle.Question{Dst: addr("2001:db8:9::1")}, "blackhole"},
		{"IPv6 that expires", oracle.Question{Dst: addr("2001:db8:8::1")}, "2001:db8:8::/48: fe80::9 wwan0 metric 1024"},
	} {
		if tt.q.User != nil && users == "" {
			continue
		}
		a, err := h.Match(tt.q)
		if got := h.shown(a); err != nil || got != tt.want {
			t.Errorf("%s: %q, want %q (%v)", tt.name, got, tt.want, err)
		}
	}
	if a, err := h.Match(oracle.Question{Dst: addr("2001:db8:8::1")}); err != nil || a.Expires <= 0 || a.Expires.Seconds() > 100 {
		t.Errorf("a route with a lifetime of 100 s expires in %v, %v", a.Expires, err)
	}
	for _, q := range []oracle.Question{{}, {Dst: addr("198.18.0.1"), Src: addr("2001:db8:2::9")}} {
		if _, err := h.Match(q); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
	source, hop, err := h.Source(oracle.Question{Dst: addr("198.18.0.1"), Device: wwan})
	if want := (oracle.Hop{Index: wwan, Gateway: addr("10.64.3.1")}); err != nil || source != addr("10.64.3.9") || hop != want {
		t.Errorf("source %v by %+v, %v", source, hop, err)
	}
}

// With nexthop_compat_mode = 0, routes do not say what their next-hop objects contain.
func TestNextHopObjects(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks)
	if err := h.ns.Sysctl("net.ipv4.nexthop_compat_mode", "0"); err != nil {
		testbed.SkipOrFail(t, fmt.Errorf("%w: %w", testbed.ErrUnavailable, err))
	}
	h.ip(`
nexthop add id 10 via 192.168.0.1 dev wlan0
nexthop add id 11 via 10.64.3.1 dev wwan0
nexthop add id 12 group 10/11,3
nexthop add id 13 blackhole
-6 nexthop add id 14 via fe80::1 dev wlan0
-6 nexthop add id 15 via fe80::2 dev wwan0
-6 address add 2001:db8:1::23/64 dev wlan0 nodad
route add 198.18.1.0/24 nhid 11
route add 198.18.2.0/24 nhid 13
route add 198.18.3.0/24 nhid 12
-6 route add 2001:db8:7::/48 nhid 14
`)
	h.ip("-6 nexthop add id 17 via fe80::1 dev wlan0")
	h.ip("nexthop add id 16 group 17,2/15")
	h.ip("-6 route add 2001:db8:8::/48 nhid 16\n-6 route add 2001:db8:9::/48 nexthop via fe80::1 dev wlan0 nexthop via fe80::2 dev wwan0")
	match := func(dst string, device int) string {
		a, err := h.Match(oracle.Question{Dst: netip.MustParseAddr(dst), Device: device})
		if err != nil {
			t.Fatal(err)
		}
		return h.shown(a)
	}
	for dst, want := range map[string]string{
		"198.18.1.1": "198.18.1.0/24: 10.64.3.1 wwan0", "198.18.2.1": "blackhole",
		"198.18.3.1":    "198.18.3.0/24: 10.64.3.1 wwan0, 192.168.0.1 wlan0", // the heavier one first
		"2001:db8:7::1": "2001:db8:7::/48: fe80::1 wlan0 metric 1024",
		"2001:db8:8::1": "2001:db8:8::/48: fe80::1 wlan0, fe80::2 wwan0 metric 1024",
	} {
		if got := match(dst, 0); got != want {
			t.Errorf("%s: %q, want %q", dst, got, want)
		}
	}
	for dst, want := range map[string]string{
		"198.18.3.1": "198.18.3.0/24: 192.168.0.1 wlan0",
		// The kernel may choose any member of a group, whatever device the socket is bound
		// to.
		"2001:db8:8::1": "2001:db8:8::/48: fe80::1 wlan0, fe80::2 wwan0 metric 1024",
		"2001:db8:9::1": "2001:db8:9::/48: fe80::1 wlan0 metric 1024",
	} {
		if got := match(dst, h.index("wlan0")); got != want {
			t.Errorf("%s bound to wlan0: %q, want %q", dst, got, want)
		}
	}
	// Answers about an object hold until the kernel reports a change.
	h.ip("nexthop replace id 11 via 10.64.3.7 dev wwan0")
	h.Void()
	if got, want := match("198.18.1.1", 0), "198.18.1.0/24: 10.64.3.7 wwan0"; got != want {
		t.Errorf("after the object changed: %q, want %q", got, want)
	}
	h.ip("nexthop del id 11")
	h.Void()
	if got := match("198.18.1.1", 0); got != "0.0.0.0/0: 192.168.0.1 wlan0 metric 100" {
		t.Errorf("after the object went: %q", got)
	}
	if got, want := match("198.18.3.1", 0), "198.18.3.0/24: 192.168.0.1 wlan0"; got != want {
		t.Errorf("after a member of the group went: %q, want %q", got, want)
	}
}

// If two IPv6 routes have the same next-hop object, the kernel may name the wrong one of
// them. The interface and the gateway that it names are right.
func TestSharedObject(t *testing.T) {
	t.Parallel()
	h := newHost(t, `
-6 nexthop add id 14 via fe80::1 dev wlan0
-6 nexthop add id 15 via fe80::2 dev wwan0
-6 address add 2001:db8:1::23/64 dev wlan0 nodad
-6 route add 2001:db8:7::/48 nhid 14
-6 route add default nhid 14
`)
	h.ip("nexthop add id 16 group 14/15")
	h.ip("-6 route add 2001:db8:8::/48 nhid 16")
	wlan := h.index("wlan0")
	for _, dst := range []string{"2001:db8:7::1", "2001:db8:8::1", "2001:db8:7::1", "2a00::1", "2001:db8:8::1", "2001:db8:7::1", "2a00::1"} {
		for range 2 * runtime.NumCPU() {
			a, err := h.Match(oracle.Question{Dst: netip.MustParseAddr(dst)})
			if err != nil {
				t.Fatal(err)
			}
			if a.Prefix.IsValid() && !a.Prefix.Contains(netip.MustParseAddr(dst)) {
				t.Errorf("%s is said to match %v", dst, a.Prefix)
			}
			if dst != "2001:db8:8::1" && (a.Index != wlan || a.Shared()) {
				t.Errorf("%s: %s", dst, h.shown(a))
			}
		}
	}
	w, err := oracle.Everywhere{}.Far(h, true, oracle.Question{})
	if err != nil || w.Verdict != oracle.Sent || w.Index != wlan {
		t.Errorf("the way to everywhere: %+v, %v", w, err)
	}
	r := oracle.NewReacher(h.Kernel, oracle.Scope{})
	if got := r.Reach(oracle.Flow{Dst: netip.MustParseAddr("2600:7c0::9")}); got.Specific {
		t.Errorf("a destination like others: %+v", got)
	}
}

// A route may have more next hops than fit into an answer. Where packets go is known even
// so, and the route is in the list of routes.
func TestMoreNextHopsThanFit(t *testing.T) {
	t.Parallel()
	h := newHost(t, "address add 10.1.1.1/16 dev wlan0\n-6 address add 2001:db8:1::23/64 dev wlan0 nodad")
	for near, to := range map[string]string{"10.1.0.0": "0.0.0.0/0", "2001:db8:1::1:0": "::/0"} {
		_, everywhere, err := net.ParseCIDR(to)
		if err != nil {
			t.Fatal(err)
		}
		route := &netlink.Route{Dst: everywhere}
		gateway := netip.MustParseAddr(near)
		for range 250 {
			gateway = gateway.Next()
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: h.index("wlan0"), Gw: gateway.AsSlice()})
		}
		if err := h.ns.Handle().RouteAdd(route); err != nil {
			t.Fatal(err)
		}
	}
	k, err := oracle.Open(h.ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, six := range []bool{false, true} { // the first dumps of a socket
		found := false
		err := k.Routes(oracle.Filter{V6: six, Table: unix.RT_TABLE_MAIN}, func(r *oracle.Route) bool {
			found = found || len(r.Hops) == 250
			return true
		})
		if err != nil || !found {
			t.Errorf("IPv6: %v: the route is in the table: %v, %v", six, found, err)
		}
	}
	wlan := h.index("wlan0")
	for _, dst := range []string{"192.0.2.1", "2a00::1"} {
		a, err := h.Match(oracle.Question{Dst: netip.MustParseAddr(dst)})
		if err != nil || a.Verdict != oracle.Sent || a.Index != wlan || !a.Gateway.IsValid() {
			t.Errorf("%s: %+v, %v", dst, a, err)
		}
		w, err := oracle.Everywhere{}.Far(h, netip.MustParseAddr(dst).Is6(), oracle.Question{})
		if err != nil || w.Verdict != oracle.Sent || w.Index != wlan {
			t.Errorf("%s: the way to everywhere: %+v, %v", dst, w, err)
		}
	}
}

// Each of many concurrent callers gets its own answer.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 100 {
				want := [...]string{"192.168.0.0/24", "10.64.3.0/24"}[(i+j)%2]
				a, err := h.Match(oracle.Question{Dst: netip.MustParsePrefix(want).Addr().Next()})
				if err != nil || a.Prefix.String() != want {
					t.Errorf("%v, %v, want %s", a.Prefix, err, want)
					return
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

func TestClosed(t *testing.T) {
	t.Parallel()
	k, err := oracle.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	k.Close()
	if _, err := k.Match(oracle.Question{Dst: netip.MustParseAddr("127.0.0.1")}); !errors.Is(err, oracle.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if _, err := oracle.Open(1 << 20); err == nil {
		t.Error("a namespace that is not there was opened")
	}
}

// Far finds the way to the whole Internet on hosts as people have them.
func TestFar(t *testing.T) {
	t.Parallel()
	const v6 = `
-6 address add 2001:db8:1::23/64 dev wlan0 nodad
-6 route add default via fe80::1 dev wlan0 metric 100
`
	pieces := "address add 10.6.0.2/32 dev tun0\n"
	for _, p := range []string{
		"0.0.0.0/5", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/3", "160.0.0.0/5", "168.0.0.0/6",
		"172.0.0.0/12", "172.32.0.0/11", "172.64.0.0/10", "172.128.0.0/9", "173.0.0.0/8", "174.0.0.0/7", "176.0.0.0/4",
		"192.0.0.0/9", "192.128.0.0/11", "192.160.0.0/13", "192.169.0.0/16", "192.170.0.0/15", "192.172.0.0/14", "192.176.0.0/12", "192.192.0.0/10",
		"193.0.0.0/8", "194.0.0.0/7", "196.0.0.0/6", "200.0.0.0/5", "208.0.0.0/4",
	} {
		pieces += "route add " + p + " dev tun0\n"
	}
	for _, tt := range []struct {
		name, setup string
		want        string // IPv4 by verdict and interface
		pieces      bool
		shared      bool
	}{
		{"two defaults", uplinks, "sent wlan0", false, false},
		{"none", "address add 192.168.0.23/24 dev wlan0", "no route -", false, false},
		{"two halves", uplinks + "route add 0.0.0.0/1 dev tun0\nroute add 128.0.0.0/1 dev tun0", "sent tun0", false, false},
		{"halves and blackholed addresses for documentation", uplinks + `
			route add 0.0.0.0/1 dev tun0
			route add 128.0.0.0/1 dev tun0
			route add blackhole 192.0.2.0/24
			route add blackhole 198.51.100.0/24
			route add blackhole 203.0.113.0/24`, "sent tun0", false, false},
		{"pieces without the private networks", uplinks + pieces, "sent tun0", true, false},
		{"half of everything, and the other half in pieces", uplinks + "route add 0.0.0.0/1 dev tun0\nroute add 128.0.0.0/2 dev tun0\nroute add 192.0.0.0/9 dev tun0\nroute add 208.0.0.0/4 dev tun0", "sent tun0", true, false},
		{"halves, and a network besides", uplinks + "route add 0.0.0.0/1 dev tun0\nroute add 128.0.0.0/1 dev tun0\nroute add 131.107.0.0/16 dev tun0", "sent tun0", false, false},
		{"two kinds of quarters: no majority", "address add 192.168.0.23/24 dev wlan0\naddress add 10.64.3.9/24 dev wwan0\n" +
			"route add 0.0.0.0/2 dev wlan0\nroute add 64.0.0.0/2 dev wwan0\nroute add 192.0.0.0/2 dev tun0", "no route -", false, false},
		{"by a rule for what has no mark", uplinks + "rule add not fwmark 51820 lookup 51820 priority 100\nroute add default dev tun0 table 51820\n" +
			"rule add lookup main suppress_prefixlength 0 priority 99", "sent tun0", false, false},
		{"by a rule for a mark", uplinks + "rule add fwmark 9 lookup 99\nroute add default dev tun0 table 99 metric 1", "sent wlan0", false, false},
		{"by a rule for another source", uplinks + "address add 10.8.0.6/24 dev tun0\nrule add from 10.8.0.6 lookup 77\nroute add default dev tun0 table 77", "sent wlan0", false, false},
		{"prohibited", "route add prohibit default", "prohibited -", false, false},
		{"spread over both", "address add 192.168.0.23/24 dev wlan0\naddress add 10.64.3.9/24 dev wwan0\n" +
			"route add default nexthop via 192.168.0.1 dev wlan0 nexthop via 10.64.3.1 dev wwan0", "sent *", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, tt.setup+v6)
			w, err := oracle.Everywhere{}.Far(h.Kernel, false, oracle.Question{})
			got := w.Verdict.String() + " " + h.name(w.Index)
			if tt.shared && w.Index != 0 {
				got = w.Verdict.String() + " *"
			}
			if err != nil || got != tt.want || w.Pieces != tt.pieces || w.Shared != tt.shared {
				t.Errorf("%s, pieces %v, shared %v, %v; want %s", got, w.Pieces, w.Shared, err, tt.want)
			}
			w, err = oracle.Destinations().Far(h.Kernel, true, oracle.Question{})
			want := oracle.Way{
				Verdict: oracle.Sent, Hop: oracle.Hop{Index: h.index("wlan0"), Gateway: netip.MustParseAddr("fe80::1")}, Table: 254, Metric: 100,
				Source: netip.MustParseAddr("2001:db8:1::23"),
			}
			if diff := cmp.Diff(want, w, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
				t.Errorf("IPv6: %v %s", err, diff)
			}
		})
	}
}

// The answer has the source address that routes name, whatever source the question has.
func TestFarNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, setup string
		named       string
		parts       bool
		devices     int
	}{
		{"nothing", uplinks, "invalid IP", false, 1},
		{"IPsec by policy, as strongSwan has it", uplinks + `
			address add 10.10.0.5/32 dev wlan0
			rule add lookup 220 priority 220
			route add default via 192.168.0.1 dev wlan0 table 220 src 10.10.0.5`, "10.10.0.5", false, 1},
		{"the same, as libreswan has it", uplinks + `
			address add 10.10.0.5/32 dev lo
			route add 0.0.0.0/1 via 192.168.0.1 dev wlan0 src 10.10.0.5
			route add 128.0.0.0/1 via 192.168.0.1 dev wlan0 src 10.10.0.5`, "10.10.0.5", true, 1},
		{"one destination names none", `
			address add 192.168.0.23/24 dev wlan0
			route add default via 192.168.0.1 dev wlan0 src 192.168.0.23
			route add 5.188.10.1 via 192.168.0.1 dev wlan0`, "192.168.0.23", false, 1},
		{"spread over both", `
			address add 192.168.0.23/24 dev wlan0
			address add 10.64.3.9/24 dev wwan0
			address add 203.0.113.20/32 dev lo
			route add default src 203.0.113.20 nexthop via 192.168.0.1 dev wlan0 nexthop via 10.64.3.1 dev wwan0`, "203.0.113.20", false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, tt.setup)
			for _, src := range []string{"", "192.168.0.23"} {
				q := oracle.Question{}
				if src != "" {
					q.Src = netip.MustParseAddr(src)
				}
				w, err := oracle.Everywhere{}.Far(h.Kernel, false, q)
				if err != nil || w.Named.String() != tt.named || w.Parts != tt.parts {
					t.Errorf("from %q: names %v, parts %v, %v; want %s, %v", src, w.Named, w.Parts, err, tt.named, tt.parts)
				}
				if list, err := (oracle.Everywhere{}).Devices(h.Kernel, false, q, w); err != nil || len(list) != tt.devices {
					t.Errorf("from %q: by %v, %v; want %d interfaces", src, list, err, tt.devices)
				}
			}
		})
	}
}
