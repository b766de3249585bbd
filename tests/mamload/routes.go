package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// table is a number of the host's routes, all through the gateway of one of its
// networks.
type table struct {
	handle *netlink.Handle
	routes []netlink.Route
}

// fill adds n routes to the host, each to one address in 44.0.0.0/8.
func fill(ctx context.Context, bed *testbed.Bed, n int) (*table, error) {
	h := bed.Client.Handle()
	via, err := gateway(h)
	if err != nil || n == 0 {
		return &table{handle: h}, err
	}
	t := &table{handle: h, routes: make([]netlink.Route, 0, n)}
	for i := range n {
		if i%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// In real tables, neighbouring destinations have different next hops, so their
		// routes cannot be joined. Here a gap between two addresses has the same
		// effect.
		a := i << 1
		r := netlink.Route{
			Dst:       &net.IPNet{IP: net.IPv4(44, byte(a>>16), byte(a>>8), byte(a)), Mask: net.CIDRMask(32, 32)},
			LinkIndex: via.LinkIndex, Gw: via.Gw, MTU: 1400,
		}
		if err := h.RouteAdd(&r); err != nil {
			return nil, fmt.Errorf("add route %d: %w", i, err)
		}
		t.routes = append(t.routes, r)
	}
	return t, nil
}

// gateway returns the default route that the kernel prefers.
func gateway(h *netlink.Handle) (netlink.Route, error) {
	all, err := h.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netlink.Route{}, err
	}
	all = slices.DeleteFunc(all, func(r netlink.Route) bool { return r.Gw == nil || r.Dst != nil && !r.Dst.IP.IsUnspecified() })
	if len(all) == 0 {
		return netlink.Route{}, errors.New("the host has no default route")
	}
	return slices.MinFunc(all, func(a, b netlink.Route) int { return a.Priority - b.Priority }), nil
}

// change changes that many routes per second until the returned function is called,
// which returns how many were changed. The kernel sends one message for each change.
func (t *table) change(perSecond int) (stop func() (int, error)) {
	if perSecond == 0 || len(t.routes) == 0 {
		return func() (int, error) { return 0, nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	changed := 0
	var err error
	done.Go(func() {
		const tick = 10 * time.Millisecond
		pace := time.NewTicker(max(tick, time.Second/time.Duration(perSecond)))
		defer pace.Stop()
		for begin := time.Now(); err == nil; {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
			for due := int(time.Since(begin).Seconds() * float64(perSecond)); changed < due && err == nil; changed++ {
				r := &t.routes[changed%len(t.routes)]
				r.MTU ^= 4 // alternates between 1400 and 1404
				err = t.handle.RouteReplace(r)
			}
		}
	})
	return func() (int, error) {
		cancel()
		done.Wait()
		return changed, err
	}
}

// resident returns how much of the machine's memory a process takes now (proc(5),
// VmRSS), and the most that it has taken (VmHWM), in units of a million bytes.
func resident(pid int) (now, peak float64, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, err
	}
	s, err := p.NewStatus()
	return float64(s.VmRSS) / 1e6, float64(s.VmHWM) / 1e6, err
}
