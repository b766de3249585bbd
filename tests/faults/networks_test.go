package faults

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const networksConf = `policy "sample" {
}
interface "wlan*" {
  default = true
}
interface "other*" {
  default = true
}
`

var toService = request(netip.AddrPortFrom(testbed.ServiceAddr4, 80))

// oneNetwork makes a host with one network, which a test may change in any way.
func oneNetwork(t *testing.T) (*testbed.Bed, netlink.Link) {
	t.Helper()
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	return bed, link
}

// A thousand addresses come and go while clients ask. No client is refused, and none gets
// an address that was never there. In the end the daemon knows what is there.
func TestThousandAddresses(t *testing.T) {
	bed, link := oneNetwork(t)
	first := bed.Networks[0].Client4
	d := start(t, options{in: bed.Client}, write(t, filepath.Join(t.TempDir(), "policy.conf"), networksConf))
	stop := inLoop(2, func() error {
		l, err := open(d.socket)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		for range 50 {
			if a, err := l.ask(toService); err != nil || a != first && !passing.Contains(a) {
				return fmt.Errorf("suggested %v, %w", a, err)
			}
		}
		return nil
	})
	h := bed.Client.Handle()
	for _, change := range []func(netlink.Link, *netlink.Addr) error{h.AddrAdd, h.AddrDel} {
		for n := range 1000 {
			a := netip.AddrFrom4([4]byte{10, 200, byte(n / 250), byte(n%250 + 1)})
			if err := change(link, address(a)); err != nil {
				t.Fatalf("%v: %v", a, err)
			}
		}
	}
	if err := stop(); err != nil {
		t.Errorf("%v\n%s", err, d.Log)
	}
	// The last change is noticed.
	if err := h.AddrReplace(link, address(netip.MustParseAddr("10.201.0.1"))); err != nil {
		t.Fatal(err)
	}
	removeAddress(t, bed, link)
	stage.Until(t, "the address that is left is suggested", func() bool {
		a := suggestion(t, d.socket, toService)
		return a == netip.MustParseAddr("10.201.0.1")
	})
}

// passing holds the addresses that come and go.
var passing = netip.MustParsePrefix("10.200.0.0/16")

func address(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())}
}

// While the daemon is stopped, there are more events than the kernel keeps for it, and the
// network that it knows goes away. Afterwards it reads everything again and is right.
func TestNetlinkOverrun(t *testing.T) {
	bed, link := oneNetwork(t)
	first, last := bed.Networks[0].Client4, netip.MustParseAddr("10.201.0.1")
	d := start(t, options{in: bed.Client}, "--log-level", "debug", write(t, filepath.Join(t.TempDir(), "policy.conf"), networksConf))
	if a := suggestion(t, d.socket, toService); a != first {
		t.Fatalf("suggested %v", a)
	}
	d.Signal(t, syscall.SIGSTOP)
	h := bed.Client.Handle()
	a := address(netip.MustParseAddr("10.200.0.1"))
	for changes := 0; d.lostEvents(t) == 0; changes++ {
		if changes == 100_000 {
			t.Fatalf("%d changes overrun no buffer", 2*changes)
		}
		if err := h.AddrAdd(link, a); err != nil {
			t.Fatal(err)
		}
		if err := h.AddrDel(link, a); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel reports the following changes to nobody.
	if err := h.AddrAdd(link, address(last)); err != nil {
		t.Fatal(err)
	}
	removeAddress(t, bed, link)
	d.Signal(t, syscall.SIGCONT)
	stage.Until(t, "the address that is left is suggested", func() bool { return suggestion(t, d.socket, toService) == last })
	d.Log.Await(t, "network events lost; reading all anew", 1)
	// The daemon still receives events.
	if err := h.AddrDel(link, address(last)); err != nil {
		t.Fatal(err)
	}
	stage.Until(t, "nothing is suggested", func() bool { return !suggestion(t, d.socket, toService).IsValid() })
}

// lostEvents counts the messages that the kernel could not give to the daemon's
// netlink sockets (proc(5), /proc/net/netlink).
func (d *daemon) lostEvents(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	const drops = 8 // the column
	lost := 0
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > drops {
			n, _ := strconv.Atoi(f[drops]) // the heading is none
			lost += n
		}
	}
	return lost
}

// removeAddress removes the network's own IPv4 address.
func removeAddress(t *testing.T, bed *testbed.Bed, link netlink.Link) {
	t.Helper()
	n := bed.Networks[0]
	own, err := netlink.ParseAddr(netip.PrefixFrom(n.Client4, n.Prefix4.Bits()).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Client.Handle().AddrDel(link, own); err != nil {
		t.Fatal(err)
	}
}

// An interface that is renamed is the same network, to which another block applies.
func TestInterfaceRenamed(t *testing.T) {
	bed, link := oneNetwork(t)
	want := bed.Networks[0].Client4
	d := start(t, options{in: bed.Client}, write(t, filepath.Join(t.TempDir(), "policy.conf"), networksConf))
	h := bed.Client.Handle()
	for _, step := range []struct {
		name string
		want netip.Addr
	}{{"other0", want}, {"eth7", netip.Addr{}}, {"wlan9", want}} {
		if err := h.LinkSetName(link, step.name); err != nil {
			// Before Linux 6.2, only an interface that is down can be renamed.
			if err := h.LinkSetDown(link); err != nil {
				t.Fatal(err)
			}
			if err := h.LinkSetName(link, step.name); err != nil {
				t.Fatal(err)
			}
			if err := h.LinkSetUp(link); err != nil {
				t.Fatal(err)
			}
		}
		stage.Until(t, "the network is known as "+step.name, func() bool { return suggestion(t, d.socket, toService) == step.want })
	}
}
