package mptcp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// The next daemon takes over what a killed one has left in the kernel, and removes it
// at its own end. If the next one does not manage paths, it removes the rest itself.
func TestKilled(t *testing.T) {
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		foreign := []mptcp.Endpoint{
			{ID: 77, Addr: netip.MustParseAddr("10.9.0.1"), Flags: mptcp.FlagSignal},
			{ID: 78, Addr: netip.MustParseAddr("10.2.0.2"), Flags: mptcp.FlagSubflow | mptcp.FlagFullmesh},
		}
		const config = `policy "mptcp_simple" {}` + networks
		s := set(t, mode, config, foreign...)
		// This is the state of a host in a new namespace before there was a daemon.
		idle := kernelState{mptcp.Limits{Subflows: 2}, mptcp.InKernel}
		busy := kernelState{mptcp.Limits{Subflows: 4}, mptcp.InKernel}
		if mode == mptcp.Userspace {
			busy = kernelState{idle.Limits, mptcp.Userspace}
		}
		running := func(when string) {
			t.Helper()
			s.awaitEndpoints(t, when, s.withOwn(mode, foreign))
			s.awaitState(t, when, busy)
		}
		gone := func(when string) {
			t.Helper()
			s.awaitEndpoints(t, when, foreign)
			s.awaitState(t, when, idle)
		}
		running("at first")
		s.kill(t)
		running("after it was killed")
		left := s.endpoints(t)
		s.start(t, string(mode), config)
		running("with the next one")
		// They are the same endpoints, not others in their place.
		if diff := cmp.Diff(left, s.endpoints(t), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("endpoints left and taken over (-left +now)\n%s", diff)
		}
		if err := s.daemon.Stop(); err != nil {
			t.Error(err)
		}
		gone("after its end")

		s.start(t, string(mode), config)
		running("with a third one")
		s.kill(t)
		s.start(t, "off", config)
		gone("with one that manages no paths")
		if err := s.daemon.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func (s *stageFor) endpoints(t *testing.T) []mptcp.Endpoint {
	t.Helper()
	list, err := s.kernel.Endpoints()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// kernelState is what a daemon changes in the kernel besides endpoints.
type kernelState struct {
	Limits   mptcp.Limits
	Selected mptcp.PathManager
}

func (s *stageFor) awaitState(t *testing.T, when string, want kernelState) {
	t.Helper()
	var selector *mptcp.Selector
	if err := s.Client.Do(func() (err error) {
		selector, err = mptcp.OpenSelector()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer selector.Close() //nolint:errcheck // only read
	s.await(t, "limits and path manager "+when, func() string {
		var got kernelState
		var err error
		if got.Limits, err = s.kernel.Limits(); err == nil {
			got.Selected, err = selector.Selected()
		}
		if err != nil {
			t.Fatal(err)
		}
		return cmp.Diff(want, got)
	})
}

// kill kills the daemon as the kernel does when memory is short, and waits until it has
// ended.
func (s *stageFor) kill(t *testing.T) {
	t.Helper()
	c, err := net.Dial("unix", s.daemon.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the other end is gone
	peer, err := unixsocket.PeerCred(c.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(int(peer.PID), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := s.daemon.Stop(); err == nil {
		t.Fatal("the daemon has ended in peace")
	}
}
