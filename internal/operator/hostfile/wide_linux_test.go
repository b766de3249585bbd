package hostfile

import (
	"net"
	"os"
	"testing"

	rt "github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // tests that need more are skipped and say so
	os.Exit(m.Run())
}

// A route with more next hops than a page has room for is read, and so are those after it.
func TestReadWideRoute(t *testing.T) {
	ns := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}}).Client
	link, err := ns.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	gateways, err := ns.Handle().RouteList(link, rt.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	wide := &rt.Route{Dst: &net.IPNet{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}, Priority: 1}
	for _, r := range gateways {
		for r.Gw != nil && len(wide.MultiPath) < 300 {
			wide.MultiPath = append(wide.MultiPath, &rt.NexthopInfo{LinkIndex: r.LinkIndex, Gw: r.Gw})
		}
	}
	if err := ns.Handle().RouteAdd(wide); err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error {
		h, err := Read()
		if err != nil {
			return err
		}
		found := 0
		for _, s := range h.State {
			if s.Verb != "route" {
				continue
			}
			hops := 0
			for _, a := range s.Args {
				if a.Key == "nexthop" {
					hops++
				}
			}
			if hops == 300 {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the route is there %d times: %v", found, h.State)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
