package faults

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testbed"
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

// oneNetwork is a host with a network that can be done anything to.
func oneNetwork(t *testing.T) (*testbed.Bed, netlink.Link) {
	t.Helper()
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	return bed, link
}

// A thousand addresses come and go while clients ask. Nobody is refused or
// suggested what never was; in the end the daemon knows what is there.
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
	// What comes last is noticed.
	if err := h.AddrReplace(link, address(netip.MustParseAddr("10.201.0.1"))); err != nil {
		t.Fatal(err)
	}
	if err := h.AddrDel(link, &netlink.Addr{IPNet: netlink.NewIPNet(first.AsSlice())}); err != nil {
		// The address has its network's length.
		p := netip.PrefixFrom(first, bed.Networks[0].Prefix4.Bits())
		full, parseErr := netlink.ParseAddr(p.String())
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		if err := h.AddrDel(link, full); err != nil {
			t.Fatal(err)
		}
	}
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

// An interface that is renamed is the same network under another block.
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
			// Before Linux 6.2 only an interface that is down.
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
