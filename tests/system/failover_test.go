package system

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// laptop has two networks as a network manager sets them up: both have a default route,
// wlan0 is preferred, and there are no source rules. The link of wlan0 can be made to
// drop everything.
func laptop(t *testing.T) *testbed.Bed {
	t.Helper()
	return testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0", Emulate: &testbed.LinkConfig{}}, {Name: "wwan0"}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}, "www.example.net": {"A 192.0.2.1"}},
	})
}

const laptopConf = `policy "sample" {}
interface "wlan0" {
  default    = true
  link_dns   = false
  %s
}
interface "wwan0" {
  link_dns   = false
  %s
}
`

// plainConf names no resolvers, so nothing is probed.
var plainConf = fmt.Sprintf(laptopConf, "", "")

// resolverConf names the resolvers of the networks.
var resolverConf = fmt.Sprintf(laptopConf, `nameserver = ["10.1.0.1"]`, `nameserver = ["10.2.0.1"]`) + "probe {\n  interval = \"1s\"\n}\n"

const service = "192.0.2.1:80"

// asker asks the daemon over one connection which source address to use.
type asker struct {
	t   *testing.T
	c   net.Conn
	r   *wire.Reader
	bed *testbed.Bed
	b   []byte
}

func ask(t *testing.T, bed *testbed.Bed, d *daemon, remote string) *asker {
	t.Helper()
	c, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(3 * stage.Patience))
	to := netip.MustParseAddrPort(remote)
	domain := int32(wire.AFInet)
	if to.Addr().Is6() {
		domain = wire.AFInet6
	}
	m := wire.Message{Action: wire.ActionConnectRequest, Context: wire.Context{
		Calls: wire.CallSocket | wire.CallConnect, Domain: domain, Type: wire.SockStream, Remote: wire.SockAddr{AddrPort: to},
	}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &asker{t, c, wire.NewReader(c), bed, b}
}

// network returns the network of the suggestion, "" for none.
func (a *asker) network() string {
	a.t.Helper()
	addr := a.suggestion()
	if n := a.bed.NetworkOf(addr); n != nil {
		return n.Name
	}
	if addr.IsValid() {
		return addr.String()
	}
	return ""
}

// suggestion returns the suggested source address. It is invalid if there is none.
func (a *asker) suggestion() netip.Addr {
	a.t.Helper()
	if _, err := a.c.Write(a.b); err != nil {
		a.t.Fatal(err)
	}
	var m wire.Message
	if err := a.r.Read(&m); err != nil {
		a.t.Fatal(err)
	}
	return m.Context.BindSuggested.AddrPort.Addr()
}

// address asks until the suggestion is the wanted address.
func (a *asker) address(want netip.Addr) {
	a.t.Helper()
	var got netip.Addr
	for deadline := time.Now().Add(stage.Patience); time.Now().Before(deadline); {
		if got = a.suggestion(); got == want {
			return
		}
	}
	a.t.Fatalf("the suggestion stays %v, want %v", got, want)
}

// until asks until the answer is the wanted network. It returns the time of the first
// such answer.
func (a *asker) until(want string) time.Time {
	a.t.Helper()
	got := ""
	for deadline := time.Now().Add(stage.Patience); time.Now().Before(deadline); {
		if got = a.network(); got == want {
			return time.Now()
		}
	}
	a.t.Fatalf("the suggestion stays %q, want %q", got, want)
	return time.Time{}
}

// linkEvents sends the time whenever the kernel reports that a link of the namespace is
// down.
func linkEvents(t *testing.T, n *testbed.Namespace, name string) <-chan time.Time {
	t.Helper()
	updates, done, at := make(chan netlink.LinkUpdate), make(chan struct{}), make(chan time.Time, 64)
	ns := netns.NsHandle(n.FD())
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &ns}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(done) })
	go func() {
		for u := range updates {
			if a := u.Attrs(); a.Name == name && a.RawFlags&unix.IFF_RUNNING == 0 {
				select {
				case at <- time.Now():
				default:
				}
			}
		}
	}()
	return at
}

// table collects the measurements.
type table struct {
	strings.Builder
	w *tabwriter.Writer
}

func newTable() *table {
	t := &table{}
	t.w = tabwriter.NewWriter(&t.Builder, 0, 0, 2, ' ', 0)
	return t
}

func (t *table) row(what string, d time.Duration, limit string) {
	_, _ = fmt.Fprintf(t.w, "%s\t%.1f ms\t%s\n", what, float64(d)/float64(time.Millisecond), limit)
}

// TestFailover measures how long a network that fails is still used, and when it is
// used again. With -v it prints a table of the measurements:
//
//	go test -count=1 -v -run TestFailover ./tests/system
func TestFailover(t *testing.T) {
	timed(t)
	times := newTable()
	t.Cleanup(func() {
		_ = times.w.Flush()
		t.Logf("fail-over times:\n%s", times)
	})
	t.Run("link down", func(t *testing.T) { failLink(t, times) })
	t.Run("silent, no probes", func(t *testing.T) { failSilently(t, times, plainConf, "no probes", 12*time.Second) })
	t.Run("silent, probes", func(t *testing.T) { failSilently(t, times, resolverConf, "probes each 1 s", 5*time.Second) })
	t.Run("resolver dead", func(t *testing.T) { failResolver(t, times) })
}

// failLink takes the link down while a client asks without pause. Because a busy
// machine may be slow once or twice, it tries again.
func failLink(t *testing.T, times *table) {
	const limit = 50 * time.Millisecond
	best, back := linkRound(t)
	for tries := 1; best > limit && tries < 4; tries++ {
		next, _ := linkRound(t)
		best = min(best, next)
	}
	times.row("link down: last decision for it after the kernel's event", best, "at most 50 ms")
	times.row("link up again: first decision for it", back, "seconds")
	if best > limit {
		t.Errorf("decisions name a dead link for %v, want at most %v", best, limit)
	}
}

// linkRound returns the best of two rounds. More rounds would count as flapping.
func linkRound(t *testing.T) (best, back time.Duration) {
	t.Helper()
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, service)
	a.until("wlan0")
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	best, back = time.Hour, time.Hour
	for range 2 {
		down := linkEvents(t, bed.Client, "wlan0")
		if err := bed.Client.Handle().LinkSetDown(link); err != nil {
			t.Fatal(err)
		}
		at := a.until("wwan0")
		var since time.Time
		select {
		case since = <-down:
		case <-time.After(stage.Patience):
			t.Fatal("the kernel reports nothing")
		}
		best = min(best, max(at.Sub(since), 0))
		if err := bed.Client.Handle().LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
		def := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gw: bed.Networks[0].Gateway4.AsSlice(), Priority: 100}
		if err := bed.Client.Handle().RouteReplace(def); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		back = min(back, a.until("wlan0").Sub(begun))
	}
	return best, back
}

// failSilently makes the preferred network drop everything.
func failSilently(t *testing.T, times *table, conf, how string, limit time.Duration) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", conf))
	c := startDialer(t, bed, d.socket)
	if n, took := c.dial(service); n != "wlan0" {
		t.Fatalf("at first: %s after %v", n, took)
	}
	if err := bed.Networks[0].Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	// Each of these connections waits for the attempt delay, at least 100 ms, until
	// enough have failed.
	slow := 0
	for i := range 20 {
		n, took := c.dial(service)
		if n != "wwan0" {
			t.Fatalf("connection %d: %s after %v", i, n, took)
		}
		if i == 0 {
			times.row("silent ("+how+"): first connection", took, "attempt delay, 250 ms")
		}
		if took < 75*time.Millisecond {
			times.row(fmt.Sprintf("silent (%s): connection %d", how, i+1), took, "nothing")
			break
		}
		slow++
		if took > time.Second {
			t.Errorf("connection %d takes %v", i, took)
		}
	}
	if slow > 6 {
		t.Errorf("%d connections have waited for the dead network", slow)
	}
	if err := bed.Networks[0].Link.Set(testbed.Shape{}, testbed.Shape{}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := ""; n != "wlan0"; <-tick.C {
		if n, _ = c.dial(service); time.Since(begun) > stage.Patience {
			t.Fatalf("still %s %v after recovery", n, time.Since(begun))
		}
	}
	back := time.Since(begun)
	times.row("silent ("+how+"): used again after recovery", back, "seconds")
	if back > limit {
		t.Errorf("used again after %v, want %v", back, limit)
	}
}

// failResolver makes the preferred network's name server fall silent. A dial by name
// waits for it no longer than a dial by address waits for a connection. Because a busy
// machine may be slow once or twice, failResolver tries again.
func failResolver(t *testing.T, times *table) {
	const limit = 450 * time.Millisecond // less than two attempt delays
	byName, byAddress := resolverRound(t)
	for tries := 1; byName > limit && tries < 4; tries++ {
		next, address := resolverRound(t)
		byName, byAddress = min(byName, next), min(byAddress, address)
	}
	// The network's IPv6 prefix is next. The resolution delay gives it a chance to be
	// better than the IPv4 prefix.
	times.row("resolver dead: first connection by name", byName, "attempt and resolution delay, 300 ms")
	times.row("resolver dead: connection by address", byAddress, "nothing")
	if byName > limit {
		t.Errorf("by name: %v, want at most %v", byName, limit)
	}
	if byAddress > time.Second {
		t.Errorf("by address: %v", byAddress)
	}
}

func resolverRound(t *testing.T) (byName, byAddress time.Duration) {
	t.Helper()
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", resolverConf))
	c := startDialer(t, bed, d.socket)
	bed.Networks[0].Server.DNS.SetHandler(dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) {}))
	n, byName := c.dial("www.example.net:80")
	if n != "wwan0" {
		t.Errorf("by name: %s after %v", n, byName)
	}
	_, byAddress = c.dial(service)
	return byName, byAddress
}

// state waits until the daemon judges a network as wanted.
func (d *daemon) state(t *testing.T, iface, state, reason string) {
	t.Helper()
	d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		h := p[iface].Health
		why := ""
		if h.Reason != nil {
			why = *h.Reason
		}
		if h.State != state || !strings.Contains(why, reason) {
			return fmt.Sprintf("%s is %q (%s), want %q (%s)", iface, h.State, why, state, reason)
		}
		return ""
	})
}

// The kernel itself shows that a network fails, by an established connection that is no
// longer acknowledged. No client reports anything.
func TestStalledConnection(t *testing.T) {
	timed(t)
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	c, err := bed.Client.DialContext(t.Context(), "tcp", service)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	send := func(text string) {
		t.Helper()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send("GET / HTTP/1.1\r\n") // the rest of the request is never sent
	d.state(t, "wlan0", "up", "")
	if err := bed.Networks[0].Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	send("X-Lost: yes\r\n")
	d.state(t, "wlan0", "suspect", "open connections get no acknowledgements")
	if err := bed.Networks[0].Link.Set(testbed.Shape{}, testbed.Shape{}); err != nil {
		t.Fatal(err)
	}
	d.state(t, "wlan0", "up", "")
}

// A link that goes up and down is left alone for a while.
func TestFlapping(t *testing.T) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, service)
	a.until("wlan0")
	far := bed.Networks[1].Server.Handle()
	link, err := far.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := far.LinkSetDown(link); err != nil {
			t.Fatal(err)
		}
		d.state(t, "wwan0", "down", "")
		if err := far.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
		d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			if h := p["wwan0"].Health; h.State == "down" && strings.Contains(*h.Reason, "carrier") {
				return "no carrier"
			}
			return ""
		})
	}
	d.state(t, "wwan0", "down", "flapping")
	if got := a.network(); got != "wlan0" {
		t.Errorf("suggested %q", got)
	}
}
