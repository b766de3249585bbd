package clientapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// oddity is a host on which odd things happen to the networks of a datagram socket.
type oddity struct {
	ctx  context.Context
	args args
	c    *client.PacketConn
	done []string
}

// await waits until the socket says that it is so.
func (o *oddity) await(what string, is func(client.Path) bool) error {
	for !is(o.c.Path()) {
		select {
		case <-o.c.Changes():
		case <-o.ctx.Done():
			return fmt.Errorf("%s: the socket says only %+v", what, o.c.Path())
		}
	}
	o.done = append(o.done, what)
	return o.write(what)
}

func (o *oddity) write(what string) error {
	if _, err := o.c.WriteToUDPAddrPort(make([]byte, 1400), o.c.Remote()); err != nil {
		return fmt.Errorf("%s: a write: %w", what, err)
	}
	return nil
}

// up sets an interface up, with routes if it has any.
func up(link netlink.Link, routes []route) error {
	err := netlink.LinkSetUp(link)
	for _, r := range routes {
		err = errors.Join(err, netlink.RouteReplace(r.in(link)))
	}
	return err
}

// odd has odd things happen. It runs in the client's namespace.
func odd(a args) (done []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	d := &client.Dialer{Daemon: &client.Daemon{Path: a.Socket, DecisionTimeout: patience}, Intents: a.intents()}
	defer func() { _ = d.Daemon.Close() }()
	c, err := d.ListenPacket(ctx, "udp", net.JoinHostPort(a.Host, "53"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	o := &oddity{ctx: ctx, args: a, c: c}
	wifi, err := netlink.LinkByName("wifi")
	if err != nil {
		return nil, err
	}
	lte, err := netlink.LinkByName("lte")
	if err != nil {
		return nil, err
	}
	routes, err := netlink.RouteList(lte, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return o.renamed(wifi) },
		func() error { return o.shrunk(wifi) },
		func() error { return o.bothDown(wifi, lte, routes) },
		o.restarted,
		func() error { return o.readdressed(wifi) },
	} {
		if err := step(); err != nil {
			return o.done, err
		}
	}
	return o.done, o.closed()
}

// renamed has the interface get another name. The network is the same one.
func (o *oddity) renamed(wifi netlink.Link) error {
	home := func(name string) func(client.Path) bool {
		return func(p client.Path) bool {
			return p.State == client.NetworkUp && p.Network.Interface == name && p.Best.Interface == name && !p.Better
		}
	}
	if err := o.await("up", home("wifi")); err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetDown(wifi), netlink.LinkSetName(wifi, "renamed"), up(wifi, o.args.Routes)); err != nil {
		return err
	}
	if err := o.await("renamed", home("renamed")); err != nil {
		return err
	}
	if name := o.c.Interface(); name != "renamed" {
		return fmt.Errorf("the interface is %q", name)
	}
	return nil
}

// shrunk has the network take smaller packets only. That is no reason to leave it.
func (o *oddity) shrunk(wifi netlink.Link) error {
	if err := netlink.LinkSetMTU(wifi, 1280); err != nil {
		return err
	}
	return o.await("smaller packets", func(p client.Path) bool { return p.State == client.NetworkUp && !p.Better })
}

// bothDown has all networks go, and come back in the other order.
func (o *oddity) bothDown(wifi, lte netlink.Link, routes []netlink.Route) error {
	if err := errors.Join(netlink.LinkSetDown(wifi), netlink.LinkSetDown(lte)); err != nil {
		return err
	}
	if err := o.await("all down", func(p client.Path) bool { return p.State == client.NetworkDown && p.Err != nil && !p.Better }); err != nil {
		return err
	}
	if err := up(lte, nil); err != nil {
		return err
	}
	for i := range routes {
		if r := &routes[i]; r.Gw != nil {
			if err := netlink.RouteReplace(r); err != nil {
				return err
			}
		}
	}
	if err := o.await("the other is back", func(p client.Path) bool {
		return p.State == client.NetworkDown && p.Better && p.Best.Interface == "lte"
	}); err != nil {
		return err
	}
	if err := up(wifi, o.args.Routes); err != nil {
		return err
	}
	return o.await("both are back", func(p client.Path) bool { return p.State == client.NetworkUp && !p.Better })
}

// restarted has the manager end and come back.
func (o *oddity) restarted() error {
	if err := os.WriteFile(o.args.Socket+restart, nil, 0o600); err != nil {
		return err
	}
	if err := o.await("the manager is gone", func(p client.Path) bool {
		return p.State == client.NetworkUp && p.Best.Interface == "" && p.Network.Interface == ""
	}); err != nil {
		return err
	}
	if err := os.WriteFile(o.args.Socket+again, nil, 0o600); err != nil {
		return err
	}
	return o.await("the manager is back", func(p client.Path) bool {
		return p.State == client.NetworkUp && p.Best.Interface == "renamed" && !p.Better
	})
}

// readdressed has the network get another address, as after another lease of DHCP.
func (o *oddity) readdressed(wifi netlink.Link) error {
	addrs, err := netlink.AddrList(wifi, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 {
		return fmt.Errorf("addresses %v: %w", addrs, err)
	}
	other, err := netlink.ParseAddr("192.168.0.99/24")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrAdd(wifi, other), netlink.AddrDel(wifi, &addrs[0])); err != nil {
		return err
	}
	return o.await("another address", func(p client.Path) bool { return p.State == client.NetworkDown && p.Err != nil })
}

// closed closes the socket while everything is done with it.
func (o *oddity) closed() error {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for o.write("") == nil {
				o.c.Path()
				o.c.Interface()
				o.c.Report(o.c.Remote(), client.Flow{RTT: time.Millisecond, Sent: 1})
			}
		})
		all.Go(func() {
			for range o.c.Changes() {
			}
		})
		all.Go(func() { _ = o.c.Close() })
	}
	all.Wait()
	o.done = append(o.done, "closed")
	return nil
}

// The files by which a job asks for the daemon to be ended, and to be started.
const restart, again = ".restart", ".again"

// A datagram socket tells the truth, and goes on, when its interface is renamed, its packets
// must be smaller, all networks are down and come back, the manager restarts, and the address
// of its network is another one.
func TestOddSequences(t *testing.T) {
	bed := twoNetworks(t, false)
	dir := t.TempDir()
	start := func() *stage.Daemon {
		d, err := stage.StartDaemon(t.Context(), bed.Client, bin+"/mamma", dir, "daemon", byCategory)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := start()
	actor := startActor(t, bed)
	var got []string
	failed := make(chan error, 1)
	go func() { failed <- actor.Do("odd", downArgs(t, bed, d, 1), &got) }()
	for _, ask := range []string{restart, again} {
		stage.Until(t, ask, func() bool {
			select {
			case err := <-failed:
				t.Fatalf("%v; done %q\n%s", err, got, d.Output())
			default:
			}
			_, err := os.Stat(d.Socket + ask)
			return err == nil
		})
		if ask == again {
			d = start()
		} else if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-failed; err != nil {
		t.Fatalf("%v; done %q\n%s", err, got, d.Output())
	}
	t.Logf("%q", got)
	if len(got) != 10 {
		t.Errorf("done %q", got)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
}
