package system

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// A program that watches networks is told when one goes down and when it returns.
func TestWatchNetworks(t *testing.T) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*stage.Patience)
	defer cancel()
	dialer := client.Dialer{Daemon: &client.Daemon{Path: d.socket, DecisionTimeout: stage.Patience}}
	defer func() { _ = dialer.Daemon.Close() }()
	usable := func(list []client.Network, name string) bool {
		return slices.ContainsFunc(list, func(n client.Network) bool {
			return n.Interface == name && n.Prefix.Addr().Is4() && n.Usable && n.State == client.NetworkUp
		})
	}
	steps := []struct {
		name string
		is   func(list []client.Network) bool
		then func() error
	}{
		{
			"both are there, wlan0 first", func(list []client.Network) bool {
				return usable(list, "wlan0") && usable(list, "wwan0") && list[0].Interface == "wlan0" && list[0].Default
			}, func() error { return bed.Client.Handle().LinkSetDown(link) },
		},
		{
			"wlan0 is gone", func(list []client.Network) bool {
				return !usable(list, "wlan0") && usable(list, "wwan0") && list[0].Interface == "wwan0"
			}, func() error {
				if err := bed.Client.Handle().LinkSetUp(link); err != nil {
					return err
				}
				return bed.Client.Handle().RouteReplace(&netlink.Route{
					LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gw: bed.Networks[0].Gateway4.AsSlice(), Priority: 100,
				})
			},
		},
		{"wlan0 is back", func(list []client.Network) bool { return usable(list, "wlan0") }, nil},
	}
	for list, err := range dialer.Watch(ctx, "tcp", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !steps[0].is(list) {
			continue
		}
		t.Logf("%s: %v", steps[0].name, list)
		if steps[0].then == nil {
			return
		}
		if err := steps[0].then(); err != nil {
			t.Fatal(err)
		}
		steps = steps[1:]
	}
	t.Fatalf("not heard: %s", steps[0].name)
}
