// Package rawmanager is a Multi Access Manager for tests. It speaks the real protocol
// on a real socket, and answers as a script of raw messages says. Package clienttest
// has a simpler interface to it. Tests of single protocol fields use it directly.
package rawmanager

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
)

// Features are all extensions.
const Features = wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports | wire.FeatureWideIntents | wire.FeatureNoResolve |
	wire.FeaturePaths | wire.FeatureOrigin | wire.FeatureOnly | wire.FeatureSelection | wire.FeatureLeases | wire.FeatureNetworks | wire.FeatureFlows

// Daemon is a manager that answers on a Unix socket.
type Daemon struct {
	Path string
	// Page is the page that clients with leases are given; nil if it could not be made.
	// Leases of a script refer to this page.
	Page *generation.Own

	answer   func(m *wire.Message) bool
	original bool
	sent     func(error) // called with the result of sending each answer; may be nil
	ln       net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // nil once the daemon has stopped
	seen   []wire.Message
	listed wire.Message // of the latest request for the networks
	ids    []uuid.UUID  // ids of all connections so far

	networks   []wire.Network
	generation uint64        // changes with each SetNetworks
	changed    chan struct{} // closed when the networks change, and at the end
}

// Start starts a daemon that ends with the test. If path is empty, Start chooses one.
// script turns a request into its answer; if it returns false, no answer is sent. The
// daemon itself answers greetings and checks context ids. An original daemon has no
// extensions.
func Start(t testing.TB, path string, original bool, script func(m *wire.Message) bool) *Daemon {
	t.Helper()
	return start(t, path, original, script, nil)
}

func start(t testing.TB, path string, original bool, script func(m *wire.Message) bool, sent func(error)) *Daemon {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "mamma.sock")
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Path: path, answer: script, original: original, sent: sent, ln: ln, conns: make(map[net.Conn]bool), generation: 1, changed: make(chan struct{})}
	if d.Page, err = generation.Make(); err != nil && !errors.Is(err, generation.ErrUnsupported) {
		t.Fatal(err)
	}
	d.wg.Go(d.accept)
	t.Cleanup(d.Stop)
	return d
}

// Stop ends the daemon as if it were killed.
func (d *Daemon) Stop() {
	_ = d.ln.Close()
	d.mu.Lock()
	for nc := range d.conns {
		_ = nc.Close()
	}
	if d.conns != nil {
		close(d.changed)
	}
	d.conns = nil
	d.mu.Unlock()
	d.wg.Wait()
	if d.Page != nil {
		_ = d.Page.Close()
	}
}

// Lease returns a lease for everything that an answer suggests, which lasts for length.
func (d *Daemon) Lease(length time.Duration) *wire.Lease {
	return &wire.Lease{Milliseconds: uint32(length.Milliseconds()), View: d.Page.Load(generation.View)}
}

// SetNetworks makes list the networks that clients are told of, at once if they wait.
// There are none before.
func (d *Daemon) SetNetworks(list []wire.Network) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		return
	}
	d.networks = list
	d.generation++
	close(d.changed)
	d.changed = make(chan struct{})
}

// ListedFor returns the context and the selection of the latest request for the networks.
func (d *Daemon) ListedFor() wire.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listed
}

// fillNetworks turns m, which asks for the networks, into its answer. It waits until
// there are other networks than the client knows, or until the client's time is over.
// It returns false when the daemon ends.
func (d *Daemon) fillNetworks(m *wire.Message) bool {
	var late <-chan time.Time
	if m.Watch.Milliseconds > 0 {
		late = time.After(time.Duration(m.Watch.Milliseconds) * time.Millisecond)
	}
	d.mu.Lock()
	d.listed = wire.Message{Context: m.Context.Clone(), Selection: slices.Clone(m.Selection)}
	d.mu.Unlock()
	for enough := false; ; {
		d.mu.Lock()
		generation, list, changed, over := d.generation, d.networks, d.changed, d.conns == nil
		d.mu.Unlock()
		switch {
		case over:
			return false
		case enough || m.Watch.Generation != generation:
			m.Action, m.Networks = wire.ActionNetworksResponse, list
			m.Watch = &wire.Watch{Generation: generation, Total: uint32(len(list))}
			return true
		}
		select {
		case <-changed:
		case <-late:
			enough = true
		}
	}
}

// Requests returns the requests so far, without greetings and reports.
func (d *Daemon) Requests() []wire.Message {
	return slices.DeleteFunc(d.All(), func(m wire.Message) bool { return m.Action == wire.ActionReportRequest })
}

// All returns the requests and reports so far, without greetings.
func (d *Daemon) All() []wire.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen)
}

// Connections returns how many connections clients have made.
func (d *Daemon) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ids)
}

func (d *Daemon) accept() {
	for {
		nc, err := d.ln.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.conns == nil {
			_ = nc.Close()
			d.mu.Unlock()
			return
		}
		id := uuid.New()
		d.conns[nc] = true
		d.ids = append(d.ids, id)
		d.mu.Unlock()
		d.wg.Go(func() { d.serve(nc, id) })
	}
}

func (d *Daemon) serve(nc net.Conn, id uuid.UUID) {
	defer func() {
		_ = nc.Close()
		d.mu.Lock()
		delete(d.conns, nc)
		d.mu.Unlock()
	}()
	r := wire.NewReader(nc)
	var rights []byte // descriptors to hand over
	if d.Page != nil && !d.original {
		rights = d.Page.Rights()
	}
	for {
		var m wire.Message
		if err := r.Read(&m); err != nil {
			return
		}
		request := m.Action != wire.ActionErrorUnknownRequest
		if m.Action == wire.ActionNetworksRequest && !d.original {
			if !d.fillNetworks(&m) {
				return
			}
		} else if request {
			d.mu.Lock()
			c := m
			c.Context = m.Context.Clone()
			d.seen = append(d.seen, c)
			ok := d.answer(&m)
			d.mu.Unlock()
			if !ok {
				continue
			}
		}
		if m.Features&wire.FeatureLeases == 0 {
			rights, m.Lease = nil, nil
		}
		m.Context.ID = id
		m.Features, m.NoResolve, m.Origin, m.Selection, m.Leased = 0, false, nil, nil, nil
		if !d.original {
			m.Features = Features
		}
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		_, _, err = nc.(*net.UnixConn).WriteMsgUnix(b, rights, nil)
		rights = nil
		if request && d.sent != nil {
			d.sent(err)
		}
		if err != nil {
			return
		}
	}
}

// Suggest is a script. Names resolve to 127.0.0.1. For a connection it suggests the
// first source address, with the others as alternates.
func Suggest(sources ...string) func(*wire.Message) bool {
	return func(m *wire.Message) bool {
		c := &m.Context
		switch m.Action {
		case wire.ActionReportRequest:
			m.Action = wire.ActionReportResponse
			return true
		case wire.ActionResolveRequest:
			m.Action = wire.ActionResolveResponse
			c.Result = Resolve(c, "127.0.0.1")
			return true
		case wire.ActionConnectRequest:
			m.Action = wire.ActionConnectResponse
		case wire.ActionSocketConnectRequest:
			m.Action = wire.ActionSocketConnectResponse
		case wire.ActionSocketChooseRequest:
			m.Action = wire.ActionSocketChooseNew
		}
		c.BindSuggested = Addr(sources[0])
		if m.Action != wire.ActionConnectResponse {
			c.Protocol = wire.ProtoTCP
		}
		m.Reason, m.DecisionID = "because", uuid.New()
		for _, a := range sources[1:] {
			m.Alternates = append(m.Alternates, wire.Alternate{Local: Addr(a), Protocol: wire.ProtoTCP})
		}
		return true
	}
}

// Addr returns an address with port 0.
func Addr(s string) wire.SockAddr {
	return wire.SockAddr{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(s), 0)}
}

// Resolve returns a list of results as a daemon's resolver makes it.
func Resolve(c *wire.Context, addrs ...string) []wire.AddrInfo {
	var ips []netip.Addr
	for _, a := range addrs {
		ips = append(ips, netip.MustParseAddr(a))
	}
	return ResolveAddrs(c, ips...)
}

// ResolveAddrs is Resolve with parsed addresses.
func ResolveAddrs(c *wire.Context, addrs ...netip.Addr) []wire.AddrInfo {
	port, _ := strconv.ParseUint(c.Service, 10, 16)
	var list []wire.AddrInfo
	for _, ip := range addrs {
		e := wire.AddrInfo{
			Flags: -1 << 31, Family: wire.AFInet6, Type: wire.SockStream, Protocol: wire.ProtoTCP,
			Addr: wire.SockAddr{AddrPort: netip.AddrPortFrom(ip, uint16(port))},
		}
		if ip.Is4() {
			e.Family = wire.AFInet
		}
		if c.Type == wire.SockDgram {
			e.Type, e.Protocol = wire.SockDgram, wire.ProtoUDP
		}
		list = append(list, e)
	}
	return list
}
