package clientapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// packetStory tells how a datagram socket fared on a network, in milliseconds.
type packetStory struct {
	Source       string
	Interface    string
	DownAfter    float64 // the link went down, until the socket said so
	UpAfter      float64
	DeletedAfter float64 // the address was deleted, until the socket said so
	Lost         uint64
	Best         string // once the network was gone
}

// packets makes the network of a datagram socket go down and come back, and lose its
// address. It runs in the client's namespace.
func packets(a args) (got packetStory, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	d := &client.Dialer{Daemon: &client.Daemon{Path: a.Socket, DecisionTimeout: patience}, Intents: a.intents()}
	defer func() { _ = d.Daemon.Close() }()
	c, err := d.ListenPacket(ctx, "udp", net.JoinHostPort(a.Host, "53"))
	if err != nil {
		return got, err
	}
	defer func() { _ = c.Close() }()
	got.Source, got.Interface = c.Info().Source.String(), c.Interface()
	link, err := netlink.LinkByName(c.Interface())
	if err != nil {
		return got, err
	}
	write := func() error {
		_, err := c.WriteToUDPAddrPort([]byte{0, 0}, c.Remote())
		return err
	}
	await := func(is func(client.Path) bool) (client.Path, float64, error) {
		begun := time.Now()
		for {
			// One change may report two things, and the test waits for the second one
			// later.
			if p := c.Path(); is(p) {
				return p, float64(time.Since(begun).Microseconds()) / 1e3, nil
			}
			select {
			case <-c.Changes():
			case <-ctx.Done():
				return client.Path{}, 0, fmt.Errorf("the socket says only %+v", c.Path())
			}
		}
	}
	if _, _, err = await(func(p client.Path) bool { return p.State == client.NetworkUp && p.Network.Interface == got.Interface }); err != nil {
		return got, err
	}
	if err := errors.Join(write(), netlink.LinkSetDown(link)); err != nil {
		return got, err
	}
	if _, got.DownAfter, err = await(func(p client.Path) bool { return p.State == client.NetworkDown }); err != nil {
		return got, err
	}
	if err := write(); err != nil {
		return got, fmt.Errorf("a write while the link is down: %w", err)
	}
	if _, _, err = await(func(p client.Path) bool { return p.Best.Interface != got.Interface && p.Best.Interface != "" }); err == nil {
		got.Best = c.Path().Best.Interface
	}
	got.Lost = c.Path().Lost
	if err := errors.Join(err, netlink.LinkSetUp(link)); err != nil {
		return got, err
	}
	for _, r := range a.Routes {
		if err := netlink.RouteReplace(r.in(link)); err != nil {
			return got, err
		}
	}
	if _, got.UpAfter, err = await(func(p client.Path) bool { return p.State == client.NetworkUp }); err != nil {
		return got, err
	}
	if err := deleteAddress(link, got.Source); err != nil {
		return got, err
	}
	if _, got.DeletedAfter, err = await(func(p client.Path) bool { return p.State == client.NetworkDown }); err != nil {
		return got, err
	}
	if err := write(); err != nil {
		return got, fmt.Errorf("a write without an address: %w", err)
	}
	return got, nil
}

// A datagram socket survives when its network goes and comes back, and when its address is
// deleted. It reports all of that.
func TestListenPacket(t *testing.T) {
	bed := twoNetworks(t, false)
	d := startDaemon(t, bed, byCategory)
	actor := startActor(t, bed)
	var got packetStory
	if err := actor.Do("packets", downArgs(t, bed, d, 1), &got); err != nil {
		t.Fatalf("%v; %+v", err, got)
	}
	t.Logf("%+v", got)
	if got.Source != testbedWifi || got.Interface != "wifi" || got.Best != "lte" || got.Lost == 0 {
		t.Errorf("%+v", got)
	}
}

// deleteAddress takes an address from a link.
func deleteAddress(link netlink.Link, address string) error {
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for i := range addrs {
		if addrs[i].IP.String() == address {
			return netlink.AddrDel(link, &addrs[i])
		}
	}
	return fmt.Errorf("%s is none of %v", address, addrs)
}

// addressStory tells how a datagram socket of IPv6 fared when its address was deleted.
type addressStory struct {
	Source string
	Kernel string // what the kernel answers to a write of a plain connected socket then
	State  client.NetworkState
	Write  string // what the write of the socket under test returned
}

// packets6 deletes the IPv6 address of a datagram socket. It runs in the client's namespace.
func packets6(a args) (got addressStory, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := &client.Dialer{Daemon: &client.Daemon{Path: a.Socket, DecisionTimeout: patience}, Intents: a.intents()}
	defer func() { _ = d.Daemon.Close() }()
	c, err := d.ListenPacket(ctx, "udp6", net.JoinHostPort(a.Host, "53"))
	if err != nil {
		return got, err
	}
	defer func() { _ = c.Close() }()
	got.Source = c.Info().Source.String()
	plain, err := net.DialUDP("udp6", &net.UDPAddr{IP: c.Info().Source.AsSlice()}, net.UDPAddrFromAddrPort(c.Remote()))
	if err != nil {
		return got, err
	}
	defer func() { _ = plain.Close() }()
	link, err := netlink.LinkByName(c.Interface())
	if err != nil {
		return got, err
	}
	changes := c.Changes()
	if err := deleteAddress(link, got.Source); err != nil {
		return got, err
	}
	_, err = plain.Write([]byte{0, 0})
	got.Kernel = fmt.Sprint(err)
	for got.State = c.Path().State; got.State != client.NetworkDown; got.State = c.Path().State {
		select {
		case <-changes:
		case <-ctx.Done():
			return got, fmt.Errorf("the socket says only %+v", c.Path())
		}
	}
	_, err = c.WriteToUDPAddrPort([]byte{0, 0}, c.Remote())
	got.Write = fmt.Sprint(err)
	return got, nil
}

// The kernel lets a connected socket of IPv6 send from an address that was deleted, so no
// error tells of that. The change of addresses does.
func TestListenPacketIPv6(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{
		{Name: "wifi", Prefix6: netip.MustParsePrefix("2001:db8:1::17/64")},
		{Name: "lte", Prefix6: netip.MustParsePrefix("2001:db8:2::9/64")},
	}})
	d := startDaemon(t, bed, `policy "intents" {}
prefix "2001:db8:1::/64" {
  default = true
  options { category = "query" }
}
prefix "2001:db8:2::/64" {
  options { category = "bulktransfer" }
}
`)
	a := downArgs(t, bed, d, 1)
	a.Host = testbed.ServiceAddr6.String()
	var got addressStory
	if err := startActor(t, bed).Do("packets of IPv6", a, &got); err != nil {
		t.Fatalf("%v; %+v", err, got)
	}
	if want := (addressStory{"2001:db8:1::17", "<nil>", client.NetworkDown, "<nil>"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
