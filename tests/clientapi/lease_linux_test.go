package clientapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// avoidance tells how a client with a lease fared when its network went down, in
// microseconds since the kernel reported that.
type avoidance struct {
	Decided   []float64 // until the lease was void, and another network was decided on
	Connected []float64 // until a dial that began then was done
}

// linkDown makes the network of a lease go down and come back, Times times. It runs in the
// client's namespace.
func linkDown(a args) (got avoidance, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(a.Times)*patience)
	defer cancel()
	d := &client.Dialer{Daemon: &client.Daemon{Path: a.Socket, DecisionTimeout: patience}, Intents: a.intents()}
	defer func() { _ = d.Daemon.Close() }()
	link, err := netlink.LinkByName("wifi")
	if err != nil {
		return got, err
	}
	updates, done := make(chan netlink.LinkUpdate, 100), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return got, err
	}
	for range a.Times {
		if err := leasedOver(ctx, d, a, testbedWifi); err != nil {
			return got, err
		}
		if err := netlink.LinkSetDown(link); err != nil {
			return got, err
		}
		for u := range updates {
			if u.Attrs().Index == link.Attrs().Index && u.Flags&unix.IFF_UP == 0 {
				break
			}
		}
		begun := time.Now()
		for over := testbedWifi; over == testbedWifi; {
			dec, err := d.Decide(ctx, "tcp", a.address())
			if err != nil {
				return got, err
			}
			over = dec.Source().String()
		}
		got.Decided = append(got.Decided, float64(time.Since(begun).Nanoseconds())/1e3)
		nc, err := d.DialContext(ctx, "tcp", a.address())
		if err != nil {
			return got, err
		}
		got.Connected = append(got.Connected, float64(time.Since(begun).Nanoseconds())/1e3)
		info, _ := client.InfoOf(nc)
		_ = nc.Close()
		if info.Source.String() == testbedWifi {
			return got, fmt.Errorf("connected over the dead network: %+v", info)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return got, err
		}
		// The kernel has removed the routes of the network.
		for _, r := range a.Routes {
			if err := netlink.RouteReplace(r.in(link)); err != nil {
				return got, fmt.Errorf("route %+v: %w", r, err)
			}
		}
	}
	return got, nil
}

// leasedOver returns when decisions are leased, for the network with this address.
func leasedOver(ctx context.Context, d *client.Dialer, a args, source string) error {
	for ctx.Err() == nil {
		var ids []client.DecisionID
		for range 2 {
			nc, err := d.DialContext(ctx, "tcp", a.address())
			if err != nil {
				return err
			}
			info, _ := client.InfoOf(nc)
			_ = nc.Close()
			if info.Source.String() == source {
				ids = append(ids, info.ID)
			}
		}
		if len(ids) == 2 && ids[0] == ids[1] {
			return nil
		}
	}
	return errors.Join(errors.New("no lease"), ctx.Err())
}

const testbedWifi = "192.168.0.23"

// route is a default route of a network.
type route struct {
	Gateway  string
	Priority int
}

func (r route) in(link netlink.Link) *netlink.Route {
	return &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(r.Gateway), Priority: r.Priority}
}

// defaultRoutes returns the default routes of the first network of a bed.
func defaultRoutes(t testing.TB, bed *testbed.Bed) (routes []route) {
	t.Helper()
	link, err := bed.Client.Handle().LinkByName("wifi")
	if err != nil {
		t.Fatal(err)
	}
	list, err := bed.Client.Handle().RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Gw != nil {
			routes = append(routes, route{r.Gw.String(), r.Priority})
		}
	}
	return routes
}

func downArgs(t testing.TB, bed *testbed.Bed, d *stage.Daemon, times int) args {
	return args{Socket: d.Socket, Host: testbed.ServiceAddr4.String(), Category: intent.CategoryQuery, Times: times, Routes: defaultRoutes(t, bed)}
}

// A client that follows a lease leaves a network that has gone down, and uses it again when
// it is back.
func TestLeaseEndsWithItsNetwork(t *testing.T) {
	bed := twoNetworks(t, false)
	d := startDaemon(t, bed, byCategory)
	actor := startActor(t, bed)
	var got avoidance
	if err := actor.Do("link down", downArgs(t, bed, d, 2), &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("decided %v us after the event, connected %v us after it", got.Decided, got.Connected)
}

// BenchmarkLinkDown measures how long after the kernel's event a client with a lease
// decides otherwise. The aim is at most a millisecond.
func BenchmarkLinkDown(b *testing.B) {
	bed := twoNetworks(b, false)
	d, err := stage.StartDaemon(b.Context(), bed.Client, bin+"/mamma", b.TempDir(), "daemon", byCategory)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Stop() }()
	actor, err := stage.StartActor(bed.Client)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = actor.Close() }()
	var got avoidance
	if err := actor.Do("link down", downArgs(b, bed, d, b.N), &got); err != nil {
		b.Fatal(err)
	}
	for name, list := range map[string][]float64{"decided": got.Decided, "connected": got.Connected} {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2], name+"_us")
		b.ReportMetric(list[len(list)-1], name+"_worst_us")
	}
}
