// Package clienttest is a Multi Access Manager for tests of programs that use package
// client. It speaks the real protocol on a real socket, and a script decides its
// answers. For a client.Daemon, set its Path to Manager.Path. For a whole program, set the
// environment variable MAMMA_SOCKET to Manager.Path.
//
//	m := clienttest.Start(t, clienttest.From("127.0.0.2"))
//	dialer := &client.Dialer{Daemon: &client.Daemon{Path: m.Path}}
//
// On Linux all addresses of 127.0.0.0/8 belong to this host, so they can stand for
// networks.
package clienttest

import (
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// Script answers a request. The Manager calls the script for one request at a time, and
// not for reports.
type Script func(Request) Answer

// Manager is a running manager. Its methods are safe for concurrent use.
type Manager struct {
	// Path is the path of the manager's socket, for client.Daemon.Path.
	Path string

	raw *rawmanager.Daemon
}

// Start starts a manager that ends with the test. Its socket is in a temporary folder
// of that test.
func Start(t testing.TB, script Script) *Manager {
	t.Helper()
	return StartAt(t, "", script)
}

// StartAt is like Start, but the socket is at path. Nothing may exist at that path.
func StartAt(t testing.TB, path string, script Script) *Manager {
	t.Helper()
	mgr := &Manager{}
	ready := make(chan struct{}) // closed once mgr is complete, because a client may connect before that
	mgr.raw = rawmanager.Start(t, path, false, func(m *wire.Message) bool {
		<-ready
		r := request(m)
		if r.Kind == Report {
			m.Action = wire.ActionReportResponse
			return true
		}
		a := script(r)
		a.fill(m, r)
		if a.Lease > 0 && r.Kind != Resolve && !a.Refused && mgr.raw.Page != nil {
			m.Lease = mgr.raw.Lease(a.Lease)
			m.Lease.Uses = uint32(max(0, a.Uses))
		}
		return !a.Silent
	})
	mgr.Path = mgr.raw.Path
	close(ready)
	return mgr
}

// VoidLeases ends all leases granted so far, as a manager does when a network fails or
// its configuration is reloaded. On systems without shared memory no leases are
// granted, so VoidLeases does nothing.
func (m *Manager) VoidLeases() {
	if m.raw.Page != nil {
		m.raw.Page.Raise(generation.View)
	}
}

// Stop ends the manager as if it were killed: connections break, and the socket
// refuses further ones. It may be called more than once.
func (m *Manager) Stop() { m.raw.Stop() }

// Requests returns the requests so far, in order, without the reports.
func (m *Manager) Requests() []Request { return m.requests(false) }

// Reports returns the reports so far, in order. A client sends a report shortly after
// the event. client.Daemon.Close sends the reports that are still waiting.
func (m *Manager) Reports() []Request { return m.requests(true) }

func (m *Manager) requests(reports bool) (list []Request) {
	for _, msg := range m.raw.All() {
		if r := request(&msg); (r.Kind == Report) == reports {
			list = append(list, r)
		}
	}
	return list
}

// Connections returns how many connections were made to the manager so far.
func (m *Manager) Connections() int { return m.raw.Connections() }

// From returns a script that suggests the first source address, with the others as
// alternates, and resolves every name to 127.0.0.1. From panics if a source is not an
// address, or if there is none.
func From(sources ...string) Script {
	var addrs []netip.Addr
	for _, s := range sources {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	_ = addrs[0]
	return func(Request) Answer {
		a := Answer{Source: addrs[0], Reason: "clienttest", Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}}
		for _, s := range addrs[1:] {
			a.Alternates = append(a.Alternates, Alternate{Source: s})
		}
		return a
	}
}

// Silent is a script that never answers.
func Silent(Request) Answer { return Answer{Silent: true} }

// fill turns the request m into the answer.
func (a *Answer) fill(m *wire.Message, r Request) {
	c := &m.Context
	switch {
	case a.NotPermitted:
		m.Only, m.Reason = wire.OnlyThese|wire.OnlyNone|wire.OnlySelected, a.Reason
	case a.Refused:
		m.Only, m.Reason = wire.OnlyThese|wire.OnlyNone, a.Reason
	case a.Only:
		m.Only = wire.OnlyThese
	}
	switch r.Kind {
	case Resolve:
		m.Action = wire.ActionResolveResponse
		if a.NotResolved {
			m.Action = wire.ActionErrorResolve
			return
		}
		c.Result = rawmanager.ResolveAddrs(c, a.Addrs...)
		return
	case Choose:
		if a.Reuse > 0 && a.Reuse <= len(m.Sockets) {
			i := a.Reuse - 1
			m.Action = wire.ActionSocketChooseExisting
			m.Context, m.Sockets = m.Sockets[i].Context, m.Sockets[i:i+1]
			m.Reason, m.DecisionID = a.Reason, uuid.New()
			return
		}
		m.Action = wire.ActionSocketChooseNew
	case ConnectFD:
		m.Action = wire.ActionConnectResponse
	default:
		m.Action = wire.ActionSocketConnectResponse
	}
	if a.NotResolved {
		m.Action = wire.ActionErrorResolve
		return
	}
	if a.Source.IsValid() {
		c.BindSuggested = sockAddr(a.Source)
	}
	if r.Kind != ConnectFD {
		c.Protocol = protocol(a.Multipath)
	}
	c.OptionsSuggested = nil
	if a.Device != "" {
		c.OptionsSuggested = append(c.OptionsSuggested, wire.SockOpt{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte(a.Device)})
	}
	for _, o := range a.Options {
		option := wire.SockOpt{Level: int32(o.Level), Name: int32(o.Name), Value: o.Value}
		if o.Optional {
			option.Flags = wire.SockOptOptional
		}
		c.OptionsSuggested = append(c.OptionsSuggested, option)
	}
	m.Reason, m.DecisionID = a.Reason, uuid.New()
	m.Costs = a.costs()
	for _, alt := range a.Alternates {
		m.Alternates = append(m.Alternates, wire.Alternate{Local: sockAddr(alt.Source), Device: alt.Device, Protocol: protocol(alt.Multipath)})
	}
}

// costs returns what the answer says about the costs of its networks.
func (a *Answer) costs() []wire.Cost {
	all := []Cost{a.Cost}
	for _, alt := range a.Alternates {
		all = append(all, alt.Cost)
	}
	told := false
	list := make([]wire.Cost, len(all))
	for i, c := range all {
		told = told || c != Cost{}
		list[i] = wire.Cost{Cost: uint32(max(0, c.Level-Free)), Left: wire.NoBudget}
		if c.Budget > 0 {
			list[i].Left = uint64(c.Budget)
		}
	}
	if !told {
		return nil
	}
	return list
}

func protocol(multipath bool) int32 {
	if multipath {
		return wire.ProtoMPTCP
	}
	return wire.ProtoTCP
}

func sockAddr(a netip.Addr) wire.SockAddr {
	return wire.SockAddr{AddrPort: netip.AddrPortFrom(a, 0)}
}
