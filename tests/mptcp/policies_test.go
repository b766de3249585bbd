package mptcp

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// A policy that wants no subflow gets none. When it changes its mind, a running connection
// gets one.
func TestVeto(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, `policy "mptcp_default_flow" {}`+networks)
		from := serve(t, s.Bed, true, 100e3)
		type result struct {
			r   received
			err error
		}
		done := make(chan result, 1)
		const size = 300e3
		go func() {
			var r result
			r.err = s.actor.Do("download", order{s.daemon.Socket, "", from.addr, size}, &r.r)
			done <- r
		}()
		select {
		case <-from.paused:
		case r := <-done:
			t.Fatalf("%+v, %v", r.r, r.err)
		}
		if first, joins := s.opened("wlan0", from), s.opened("wwan0", from); first != 1 || joins != 0 {
			t.Errorf("%d connections over wlan0, %d subflows over wwan0 against the policy's veto", first, joins)
		}
		// Opening the FIFO does not wait for the daemon, which has the other end.
		fifo, err := os.OpenFile(s.fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fifo.WriteString(s.Network("wwan0").Client4.String() + "\n"); err != nil {
			t.Fatal(err)
		}
		_ = fifo.Close()
		s.awaitJoin(t, "wwan0", from)
		s.awaitShown(t, "wlan0", "wwan0")
		close(from.resume)
		if r := <-done; r.err != nil || r.r.Sum != sumOf(size) || !r.r.Multipath || r.r.Source != s.Network("wlan0").Client4 {
			t.Errorf("%+v, %v", r.r, r.err)
		}
	})
}

// awaitJoin waits until a subflow was opened over a network.
func (s *stageFor) awaitJoin(t *testing.T, network string, from *server) {
	t.Helper()
	s.await(t, "subflows over "+network, func() string {
		if s.opened(network, from) == 0 {
			return "none"
		}
		return ""
	})
}

// awaitShown waits until the control socket shows one connection with a subflow on each of
// these networks.
func (s *stageFor) awaitShown(t *testing.T, networks ...string) {
	t.Helper()
	c := s.control()
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		var m control.Multipath
		if _, err := c.Get(ctx, "/v1/mptcp", &m); err != nil {
			t.Fatalf("%v; last %+v", err, m)
		}
		var shown []string
		if len(m.Connections) == 1 && m.Managed && m.Connections[0].Received > 0 && m.Connections[0].Decision != nil {
			for _, f := range m.Connections[0].Subflows {
				if f.Established && f.Interface != nil {
					shown = append(shown, *f.Interface)
				}
			}
		}
		if slices.Equal(shown, networks) {
			return
		}
	}
}

func (s *stageFor) control() *control.Client {
	return control.NewClient(filepath.Join(filepath.Dir(s.daemon.Socket), "control.sock"))
}

// Endpoints of others stay as they are while the daemon runs and after it has ended. The
// daemon's own endpoints do not stay.
func TestForeignEndpoint(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		// One is for an address that nobody has, and one for an address that the daemon
		// would use.
		foreign := []mptcp.Endpoint{
			{ID: 77, Addr: netip.MustParseAddr("10.9.0.1"), Flags: mptcp.FlagSignal},
			{ID: 78, Addr: netip.MustParseAddr("10.2.0.2"), Flags: mptcp.FlagSubflow | mptcp.FlagFullmesh},
		}
		s := set(t, mode, `policy "mptcp_simple" {}`+networks, foreign...)
		s.awaitEndpoints(t, "while the daemon runs", s.withOwn(mode, foreign))
		if err := s.daemon.Stop(); err != nil {
			t.Error(err)
		}
		s.awaitEndpoints(t, "after its end", foreign)
	})
}

// withOwn returns the endpoints while a daemon manages all of the host's networks except
// IPv4 over the second one, whose address is taken. The kernel chooses the IDs.
func (s *stageFor) withOwn(mode mptcp.PathManager, foreign []mptcp.Endpoint) []mptcp.Endpoint {
	list := slices.Clone(foreign)
	if mode == mptcp.InKernel {
		for i, n := range s.Networks {
			if i == 0 {
				list = append(list, mptcp.Endpoint{Addr: n.Client4, Flags: mptcp.FlagSubflow})
			}
			list = append(list, mptcp.Endpoint{Addr: n.Client6, Flags: mptcp.FlagSubflow})
		}
	}
	return list
}

// awaitEndpoints waits until the kernel has these endpoints, because the daemon may answer
// before it has made them.
func (s *stageFor) awaitEndpoints(t *testing.T, when string, want []mptcp.Endpoint) {
	t.Helper()
	s.await(t, "endpoints "+when, func() string {
		got, err := s.kernel.Endpoints()
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			if !slices.ContainsFunc(want, func(w mptcp.Endpoint) bool { return w.ID == e.ID }) {
				got[i].ID = 0
			}
		}
		return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(mptcp.Endpoint{}, "Index"),
			cmpopts.SortSlices(func(a, b mptcp.Endpoint) bool { return a.Addr.Less(b.Addr) }))
	})
}

// await waits until check finds no difference from what is wanted.
func (s *stageFor) await(t *testing.T, what string, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for diff := check(); diff != ""; diff = check() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s (-want +got)\n%s\n%s", what, diff, s.daemon.Output())
		}
	}
}
