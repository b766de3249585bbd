package mam

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

func TestConnect(t *testing.T) {
	v := host(takeFirst)
	v.Devices = map[policy.PrefixID]string{v.Prefixes[0].ID: "wlan0"}
	d := start(t, v, Options{})
	for _, tt := range []struct {
		name, remote, bound string
		want                string // suggested source, "" for none
		device              string
	}{
		{name: "first of the family", remote: "192.0.2.1:80", want: "10.77.1.1:0", device: "wlan0"},
		{name: "IPv6", remote: "[2001:db8::1]:80", want: "[fd77:1::1]:0"},
		{name: "IPv4 on an IPv6 socket", remote: "[::ffff:192.0.2.1]:80", want: "[::ffff:10.77.1.1]:0", device: "wlan0"},
		{name: "the application has bound it", remote: "192.0.2.1:80", bound: "10.77.2.1:0"},
		{name: "only one network reaches it", remote: "10.77.2.9:80", want: "10.77.2.1:0"},
		{name: "loopback", remote: "127.0.0.1:80"},
		{name: "behind an interface that is not managed", remote: "172.17.0.2:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := connectTo(tt.remote)
			req.Context.OptionsCurrent = []wire.SockOpt{{Level: 6, Name: 1, Value: []byte{1, 0, 0, 0}}}
			if tt.bound != "" {
				req.Context.BindRequested = sockAddr(tt.bound)
			}
			got := d.dial(t).ask(req)
			if got.Action != wire.ActionConnectResponse {
				t.Errorf("action %v", got.Action)
			}
			var want wire.SockAddr
			if tt.want != "" {
				want = sockAddr(tt.want)
			}
			if got.Context.BindSuggested != want {
				t.Errorf("suggested %v, want %v", got.Context.BindSuggested, want)
			}
			if dev := got.Context.Device(); dev != tt.device {
				t.Errorf("device %q, want %q", dev, tt.device)
			}
			if got.Context.Remote != req.Context.Remote || got.Context.Domain != req.Context.Domain || len(got.Context.OptionsCurrent) != 1 {
				t.Errorf("what the client said is not echoed: %+v", got.Context)
			}
			for _, o := range got.Context.OptionsSuggested {
				if o.Flags != 0 {
					t.Errorf("an option for an original client carries flags %v", o.Flags)
				}
			}
			if len(got.Alternates) != 0 || got.Features != 0 || got.Reason != "" || got.DecisionID != uuid.Nil {
				t.Errorf("extensions for a client that announced none: %+v", got)
			}
		})
	}
}

func TestContextIDIsTheConnections(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	c := d.dial(t)
	first := c.ask(connectTo("192.0.2.1:80")).Context.ID
	if first == uuid.Nil {
		t.Error("no context id")
	}
	again := connectTo("192.0.2.1:80")
	again.Context.ID = uuid.New() // another client's id: ignored, as in the original
	if got := c.ask(again).Context.ID; got != first {
		t.Errorf("id changed within a connection: %v, then %v", first, got)
	}
	if got := d.dial(t).ask(connectTo("192.0.2.1:80")).Context.ID; got == first {
		t.Error("two connections have the same id")
	}
}

func TestSocketConnect(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	for _, tt := range []struct {
		host           string
		domain         int32
		action         wire.Action
		remote, source string
	}{
		{"four.test", 0, wire.ActionSocketConnectResponse, "192.0.2.4:80", "10.77.1.1:0"},
		{"host.test", wire.AFInet6, wire.ActionSocketConnectResponse, "[2001:db8::1]:80", "[fd77:1::1]:0"},
		{"192.0.2.9", 0, wire.ActionSocketConnectResponse, "192.0.2.9:80", "10.77.1.1:0"},
		{"192.0.2.9", wire.AFInet6, wire.ActionErrorResolve, "", ""},
		{"2001:db8::9", 0, wire.ActionSocketConnectResponse, "[2001:db8::9]:80", "[fd77:1::1]:0"},
		{"nope.test", 0, wire.ActionErrorResolve, "", ""},
		// The first candidate is IPv4 and the name has IPv6 only, so the policy is
		// asked again.
		{"six.test", 0, wire.ActionSocketConnectResponse, "[2001:db8::6]:80", "[fd77:1::1]:0"},
		// After resolution it is known that only one network leads there, or that
		// nothing can be bound.
		{"lan.test", 0, wire.ActionSocketConnectResponse, "10.77.2.9:80", "10.77.2.1:0"},
		{"localhost", 0, wire.ActionSocketConnectResponse, "127.0.0.1:80", ""},
	} {
		t.Run(fmt.Sprint(tt.host, tt.domain), func(t *testing.T) {
			req := socketConnectTo(tt.host, "80")
			req.Context.Domain = tt.domain
			got := d.dial(t).ask(req)
			if got.Action != tt.action {
				t.Fatalf("action %v, want %v", got.Action, tt.action)
			}
			var remote, source wire.SockAddr
			if tt.remote != "" {
				remote = sockAddr(tt.remote)
			}
			if tt.source != "" {
				source = sockAddr(tt.source)
			}
			if got.Context.Remote != remote || got.Context.BindSuggested != source {
				t.Errorf("remote %v from %v, want %v from %v", got.Context.Remote, got.Context.BindSuggested, remote, source)
			}
			if tt.remote == "" {
				return
			}
			want := wire.AddrInfo{Family: domain(policy.FamilyOf(remote.AddrPort.Addr())), Type: wire.SockStream, Protocol: wire.ProtoTCP, Addr: remote}
			if len(got.Context.Result) != 1 || got.Context.Result[0] != want {
				t.Errorf("result %+v, want only %+v", got.Context.Result, want)
			}
			if got.Context.Domain != want.Family || got.Context.Protocol != wire.ProtoTCP {
				t.Errorf("domain %d, protocol %d", got.Context.Domain, got.Context.Protocol)
			}
		})
	}
}

func TestMultipathForOriginalClients(t *testing.T) {
	d := start(t, host(chooser(func(r *policy.Request) policy.Decision {
		return policy.Decision{Prefix: r.Prefixes[0], Multipath: true}
	})), Options{})
	if got := d.dial(t).ask(socketConnectTo("four.test", "80")).Context.Protocol; got != wire.ProtoMPTCP {
		t.Errorf("socketconnect: protocol %d, want %d", got, wire.ProtoMPTCP)
	}
	// If a host has no MPTCP, such a socket cannot be made. Our own client tries, and
	// reports what it got.
	off := *d.View()
	off.NoMultipath, off.usable, off.offered = true, [3][]*policy.Prefix{}, [3][]*policy.Prefix{}
	d.Publish(&off)
	if got := d.dial(t).ask(socketConnectTo("four.test", "80")).Context.Protocol; got != wire.ProtoTCP {
		t.Errorf("socketconnect on a host without MPTCP: protocol %d, want %d", got, wire.ProtoTCP)
	}
	ours := socketConnectTo("four.test", "80")
	ours.Features, ours.NoResolve = everything, true
	if got := d.dial(t).ask(ours).Context.Protocol; got != wire.ProtoMPTCP {
		t.Errorf("our own client there: protocol %d, want %d", got, wire.ProtoMPTCP)
	}
	if got := d.dial(t).ask(connectTo("192.0.2.1:80")).Context.Protocol; got != 0 {
		t.Errorf("connect, whose socket exists: protocol %d, want 0 as sent", got)
	}
}

func TestSocketChoose(t *testing.T) {
	seen := make(chan []policy.Socket, 2)
	d := start(t, host(chooser(func(r *policy.Request) policy.Decision {
		seen <- slices.Clone(r.Sockets)
		for i := range r.Sockets {
			if r.Sockets[i].Prefix != nil && r.Sockets[i].Prefix.Interface == "wwan0" {
				return policy.Decision{Prefix: r.Sockets[i].Prefix, Socket: &r.Sockets[i], Reason: "an idle one"}
			}
		}
		return takeFirst(r)
	})), Options{})
	member := func(fd int32, local string, protocol int32) wire.SetMember {
		m := wire.SetMember{FD: fd, Context: socketConnectTo("four.test", "80").Context}
		m.Context.ID = uuid.New()
		m.Context.Protocol = protocol
		m.Context.BindSuggested = sockAddr(local)
		m.Context.Remote = sockAddr("192.0.2.4:80")
		return m
	}
	req := socketConnectTo("four.test", "80")
	req.Action = wire.ActionSocketChooseRequest
	req.Sockets = []wire.SetMember{member(4, "10.77.1.1:0", wire.ProtoTCP), member(5, "10.77.2.1:0", wire.ProtoMPTCP), member(6, "10.99.0.1:0", 0)}
	c := d.dial(t)
	got := c.ask(req)
	if got.Action != wire.ActionSocketChooseExisting || len(got.Sockets) != 1 || got.Sockets[0].FD != 5 {
		t.Fatalf("answer %v with %+v, want the existing socket 5", got.Action, got.Sockets)
	}
	if got.Context.BindSuggested != sockAddr("10.77.2.1:0") || got.Context.Remote != sockAddr("192.0.2.4:80") {
		t.Errorf("the context is not the member's: %+v", got.Context)
	}
	if id := c.ask(connectTo("192.0.2.1:80")).Context.ID; got.Context.ID != id {
		t.Errorf("the member's context id %v was kept, want the connection's %v", got.Context.ID, id)
	}
	if diff := cmp.Diff([]policy.Socket{
		{FD: 4, Local: netip.MustParseAddr("10.77.1.1"), Prefix: d.View().Prefixes[0]},
		{FD: 5, Local: netip.MustParseAddr("10.77.2.1"), Prefix: d.View().Prefixes[1], Multipath: true},
		{FD: 6, Local: netip.MustParseAddr("10.99.0.1")},
	}, <-seen, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b *policy.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("offered sockets (-want +got):\n%s", diff)
	}
	if got.Reason != "" {
		t.Errorf("an original client gets a reason, %q", got.Reason)
	}
	again := *req
	again.Features = everything
	if got := d.dial(t).ask(&again); got.Action != wire.ActionSocketChooseExisting || got.Reason != "an idle one" {
		t.Errorf("answer %v because of %q", got.Action, got.Reason)
	}
	<-seen // the request of the connection
	<-seen
	req.Sockets = nil
	if got := c.ask(req); got.Action != wire.ActionSocketChooseNew || got.Context.BindSuggested != sockAddr("10.77.1.1:0") || !got.Context.Remote.IsValid() {
		t.Errorf("without idle sockets: %v, %+v", got.Action, got.Context)
	}
	recs := d.Decisions().Since(0)
	if r := recs[0]; !r.Reused || r.FD != 5 || r.Decision.Socket != nil {
		t.Errorf("remembered as %+v", r)
	}
	if last := <-seen; len(last) != 0 {
		t.Errorf("the last request offered %v", last)
	}
}

func TestResolve(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	req := &wire.Message{Action: wire.ActionResolveRequest, Context: wire.Context{
		Calls: wire.CallGetaddrinfo, Hostname: "host.test", Service: "80",
		Hint: []wire.AddrInfo{{Type: wire.SockStream}},
	}}
	c := d.dial(t)
	got := c.ask(req)
	if got.Action != wire.ActionResolveResponse || len(got.Context.Result) != 2 || got.Context.Result[1].Addr != sockAddr("[2001:db8::1]:80") {
		t.Errorf("got %v %+v", got.Action, got.Context.Result)
	}
	req.Context.Hint[0].Family = wire.AFInet6
	if got := c.ask(req); len(got.Context.Result) != 1 {
		t.Errorf("the hint's family is not kept: %+v", got.Context.Result)
	}
	req.Context.Hint = nil
	if got := c.ask(req); len(got.Context.Result) != 4 {
		t.Errorf("without a type: %d results, want stream and datagram of both families", len(got.Context.Result))
	}
	req.Context.Hint, req.Context.Type = []wire.AddrInfo{{}}, wire.SockStream // as of a socket that was made before
	if got := c.ask(req); len(got.Context.Result) != 4 || got.Context.Type != wire.SockStream {
		t.Errorf("with a hint without a type: %d results of type %d", len(got.Context.Result), got.Context.Type)
	}
	req.Context.Hint = []wire.AddrInfo{{Protocol: wire.ProtoUDP}}
	if got := c.ask(req); len(got.Context.Result) != 2 || got.Context.Result[0].Type != wire.SockDgram || got.Context.Type != wire.SockDgram {
		t.Errorf("with a hint for UDP: %+v", got.Context.Result)
	}
	req.Context.Hint, req.Context.Type = nil, 0
	for bound, want := range map[string]string{"10.77.1.1:0": "192.0.2.1:80", "[fd77:1::1]:0": "[2001:db8::1]:80", "[2001:db8::7]:0": "[2001:db8::1]:80"} {
		req.Context.BindRequested = sockAddr(bound)
		for _, action := range []wire.Action{wire.ActionResolveRequest, wire.ActionSocketConnectRequest} {
			req.Action = action
			if got := c.ask(req); got.Context.Remote != sockAddr(want) {
				t.Errorf("%v, bound to %s: remote %v", action, bound, got.Context.Remote)
			}
		}
	}
	req.Action, req.Context.BindRequested = wire.ActionResolveRequest, wire.SockAddr{}
	req.Context.Hostname = "nope.test"
	if got := c.ask(req); got.Action != wire.ActionErrorResolve || len(got.Context.Result) != 0 {
		t.Errorf("got %v %+v", got.Action, got.Context.Result)
	}
}

// A prefix's resolver answers for that prefix. The default resolver is asked for names
// that it does not know.
func TestResolverOfThePrefix(t *testing.T) {
	v := host(takeFirst)
	v.Resolvers = map[policy.PrefixID]Resolver{v.Prefixes[0].ID: table{"four.test": addrs("198.51.100.4")}}
	d := start(t, v, Options{})
	if got := d.dial(t).ask(socketConnectTo("four.test", "80")); got.Context.Remote != sockAddr("198.51.100.4:80") {
		t.Errorf("remote %v, want the prefix's resolver's answer", got.Context.Remote)
	}
	if got := d.dial(t).ask(socketConnectTo("host.test", "80")); got.Context.Remote != sockAddr("192.0.2.1:80") {
		t.Errorf("remote %v, want the default resolver's answer", got.Context.Remote)
	}
	// If it knows the name, but no address of the family, the default resolver is not
	// asked.
	v2 := host(takeFirst)
	v2.Resolvers = map[policy.PrefixID]Resolver{v2.Prefixes[0].ID: table{"host.test": addrs("2001:db8::9")}}
	d.Publish(v2)
	req := socketConnectTo("host.test", "80")
	req.Context.Domain = wire.AFInet
	if got := d.dial(t).ask(req); got.Action != wire.ActionErrorResolve {
		t.Errorf("%v with remote %v: the default resolver was asked", got.Action, got.Context.Remote)
	}
}

func TestEchoWithoutPolicy(t *testing.T) {
	d := start(t, host(nil), Options{})
	c := d.dial(t)
	for req, want := range map[*wire.Message]wire.Action{
		connectTo("192.0.2.1:80"):        wire.ActionConnectResponse,
		socketConnectTo("four.test", ""): wire.ActionSocketConnectResponse,
		{Action: wire.ActionResolveRequest, Context: wire.Context{Hostname: "four.test"}}: wire.ActionResolveResponse,
		{Action: wire.ActionSocketChooseRequest}:                                          wire.ActionSocketChooseNew,
	} {
		got := c.ask(req)
		if got.Action != want || got.Context.BindSuggested.IsValid() || len(got.Context.Result) != 0 || got.Context.Hostname != req.Context.Hostname {
			t.Errorf("to %v: %v, %+v", req.Action, got.Action, got.Context)
		}
	}
}

// A thousand clients are connected at once and all are served. A client that stalls
// inside a request, and one whose lookup hangs, delay only themselves.
func TestManyClients(t *testing.T) {
	v := host(takeFirst)
	release := make(chan struct{})
	defer close(release)
	v.Resolver = hanging{release}
	d := start(t, v, Options{})

	stalled := d.dial(t)
	if _, err := stalled.Write(tlv(1, 0, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	waiting := d.dial(t)
	b, _ := socketConnectTo("slow.test", "80").Append(nil)
	if _, err := waiting.Write(b); err != nil {
		t.Fatal(err)
	}
	clients := make([]*client, 1000)
	for i := range clients {
		clients[i] = d.dial(t)
	}
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for range 3 {
				if got := c.ask(connectTo("192.0.2.1:80")).Context.BindSuggested; got != sockAddr("10.77.1.1:0") {
					t.Errorf("suggested %v", got)
				}
			}
		})
	}
	wg.Wait()
	if n := d.Decisions().Count(); n != 3000 {
		t.Errorf("%d decisions, want 3000", n)
	}
}

type hanging struct{ release chan struct{} }

func (h hanging) Lookup(ctx context.Context, _ string, _ policy.Family) (Result, error) {
	select {
	case <-h.release:
	case <-ctx.Done():
	}
	return Result{}, ErrNotFound
}

func TestClientGoesAwayDuringLookup(t *testing.T) {
	v := host(takeFirst)
	release := make(chan struct{})
	v.Resolver = hanging{release}
	d := start(t, v, Options{})
	c := d.dial(t)
	b, _ := socketConnectTo("slow.test", "80").Append(nil)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	close(release)
	if got := d.dial(t).ask(connectTo("192.0.2.1:80")).Action; got != wire.ActionConnectResponse {
		t.Errorf("the daemon answers %v afterwards", got)
	}
}

const everything = ourFeatures

// A client with extensions asks for a decision, then resolves on the chosen prefix, and
// then reports the outcome.
func TestExtensions(t *testing.T) {
	v := host(takeFirst)
	v.Devices = map[policy.PrefixID]string{v.Prefixes[1].ID: "wwan0"}
	v.Resolvers = map[policy.PrefixID]Resolver{v.Prefixes[1].ID: table{"four.test": addrs("198.51.100.4")}}
	reported := make(chan Record, 1)
	d := start(t, v, Options{OnReport: func(r Record) { reported <- r }})
	c := d.dial(t)

	req := socketConnectTo("four.test", "443")
	req.Features, req.NoResolve = everything, true
	req.WideIntents = []wire.WideIntent{{Option: 2, Value: 3 << 40}}
	got := c.ask(req)
	if got.Features != ourFeatures&^wire.FeatureLeases || got.Reason != "first" || got.DecisionID == uuid.Nil {
		t.Errorf("features %v, reason %q, id %v", got.Features, got.Reason, got.DecisionID)
	}
	if got.Context.Remote.IsValid() || len(got.Context.Result) != 0 {
		t.Errorf("resolved although told not to: %+v", got.Context)
	}
	if got.Context.BindSuggested != sockAddr("10.77.1.1:0") || len(got.Alternates) != 3 {
		t.Fatalf("suggested %v, %d alternates", got.Context.BindSuggested, len(got.Alternates))
	}
	alt := got.Alternates[0]
	if alt.Local != sockAddr("10.77.2.1:0") || alt.Device != "wwan0" || alt.Protocol != wire.ProtoTCP {
		t.Errorf("first alternate %+v", alt)
	}
	rec, ok := d.Decisions().Get(got.DecisionID)
	if size, _ := rec.Intents.FileSize(); !ok || size != 3<<40 || rec.Host != "four.test" || rec.App.PID == 0 {
		t.Errorf("remembered %+v", rec)
	}

	// The second request names the prefix by its source address.
	res := &wire.Message{Action: wire.ActionResolveRequest, Features: everything, DecisionID: got.DecisionID, Context: wire.Context{
		Calls: wire.CallGetaddrinfo, Hostname: "four.test", Service: "443", Hint: []wire.AddrInfo{{Type: wire.SockStream}}, BindSuggested: alt.Local,
	}}
	if r := c.ask(res); len(r.Context.Result) != 1 || r.Context.Result[0].Addr != sockAddr("198.51.100.4:443") || r.Context.BindSuggested != alt.Local {
		t.Errorf("resolved over the alternate: %+v", r.Context)
	}
	// If an address cannot be reached from there, the suggestion is withdrawn.
	res.Context.Hostname = "localhost"
	if r := c.ask(res); len(r.Context.Result) != 1 || r.Context.BindSuggested.IsValid() {
		t.Errorf("loopback: %+v", r.Context)
	}

	report := &wire.Message{Action: wire.ActionReportRequest, Features: everything, DecisionID: got.DecisionID, Outcome: &wire.Outcome{Candidate: 1, Milliseconds: 30, LocalPort: 4711}}
	if r := c.ask(report); r.Action != wire.ActionReportResponse {
		t.Errorf("report answered by %v", r.Action)
	}
	if r := <-reported; r.Outcome == nil || r.Outcome.Candidate != 1 || r.Outcome.LocalPort != 4711 {
		t.Errorf("reported %+v", r.Outcome)
	}
	report.DecisionID = uuid.New()
	if r := c.ask(report); r.Action != wire.ActionReportResponse {
		t.Errorf("a report on an unknown decision is answered by %v", r.Action)
	}
}

func TestDownPrefixesAreLastResort(t *testing.T) {
	v := host(takeFirst)
	v.Prefixes[0].Health.State = policy.Down
	d := start(t, v, Options{})
	c := d.dial(t)
	if got := c.ask(connectTo("192.0.2.1:80")).Context.BindSuggested; got != sockAddr("10.77.2.1:0") {
		t.Errorf("suggested %v while wlan0 is down", got)
	}
	v2 := host(takeFirst)
	v2.Prefixes[0].Health.State, v2.Prefixes[1].Health.State = policy.Down, policy.Down
	d.Publish(v2)
	if got := c.ask(connectTo("192.0.2.1:80")).Context.BindSuggested; got != sockAddr("10.77.1.1:0") {
		t.Errorf("suggested %v while all are down", got)
	}
}

// Policies see the measurements towards the destination for each candidate.
func TestDestinationStats(t *testing.T) {
	seen := make(chan []policy.PathStats, 4)
	v := host(chooser(func(r *policy.Request) policy.Decision {
		seen <- slices.Clone(r.DestStats)
		return takeFirst(r)
	}))
	v.Destinations = known{v.Prefixes[1].ID, netip.MustParseAddr("192.0.2.1"), policy.PathStats{Conns: 3}}
	d := start(t, v, Options{})
	c := d.dial(t)
	for _, tt := range []struct {
		req  *wire.Message
		want []policy.PathStats
	}{
		{connectTo("192.0.2.1:80"), []policy.PathStats{{}, {Conns: 3}}},
		{connectTo("192.0.2.2:80"), []policy.PathStats{{}, {}}},
		{socketConnectTo("host.test", "80"), nil}, // the address is not known yet
	} {
		c.ask(tt.req)
		if diff := cmp.Diff(tt.want, <-seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// The server keeps its limit per user.
func TestAdmission(t *testing.T) {
	s := NewServer(New(Options{}))
	s.most = 100
	for range 50 {
		if !s.enter(1000) {
			t.Fatal("refused below the limit")
		}
	}
	if s.enter(1000) {
		t.Error("admitted above the limit")
	}
	if !s.enter(1001) || !s.enter(0) {
		t.Error("another user pays for it")
	}
	s.leave(1000)
	if !s.enter(1000) {
		t.Error("not admitted after one has left")
	}
	for s.Clients() < 100 {
		if !s.enter(0) {
			t.Fatal("root is refused below the limit of all")
		}
	}
	if s.enter(0) || s.enter(1001) {
		t.Error("admitted above the limit of all")
	}
}

// However many clients are refused, the log has one line a minute, which says how many.
func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	var said bytes.Buffer
	s := NewServer(New(Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}))
	now := time.Now()
	for range 1000 {
		s.tellRefused(1000, now)
		now = now.Add(refusalPause / 1000)
	}
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("%d lines in a minute: %s", n, said.String())
	}
	s.tellRefused(1000, now)
	if lines := said.String(); strings.Count(lines, "\n") != 2 || !strings.Contains(lines, "n=1000") {
		t.Errorf("a minute later: %s", lines)
	}
}

// However few resources there are, some clients are served. No user's limit is
// negative, which would mean no limit.
func TestAffordable(t *testing.T) {
	for _, tt := range []struct {
		files  uint64
		memory int64
		want   int
	}{
		{math.MaxUint64, math.MaxInt64, maxClients},
		{524_288, 16 << 30, maxClients},
		{0, 0, leastClients},
		{1, 1, leastClients},
		{64, math.MaxInt64, 10},
		{256, math.MaxInt64, 42},
		{1024, math.MaxInt64, 256},
		{4096, math.MaxInt64, 1280},
		{math.MaxUint64, 32 << 20, leastClients},
		{math.MaxUint64, 64 << 20, 256},
		{math.MaxUint64, 1 << 30, 11_776},
	} {
		if got := affordable(tt.files, tt.memory); got != tt.want {
			t.Errorf("%d files, %d bytes: %d clients, want %d", tt.files, tt.memory, got, tt.want)
		}
	}
}

// A name that cannot exist is not resolved, and takes no memory afterwards.
func TestNamesThatCannotExist(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	c := d.dial(t)
	for _, m := range []*wire.Message{socketConnectTo(strings.Repeat("x", maxName+1), "443"), socketConnectTo("four.test", strings.Repeat("9", maxName+1))} {
		if a := c.ask(m); a.Action != wire.ActionErrorResolve {
			t.Errorf("answered with %v", a.Action)
		}
	}
	if n := d.Decisions().Count(); n != 0 {
		t.Errorf("%d decisions are remembered", n)
	}
	if a := c.ask(socketConnectTo("four.test", "443")); a.Action != wire.ActionSocketConnectResponse {
		t.Errorf("then answered with %v", a.Action)
	}
}

func BenchmarkConnect(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			d := start(b, host(takeFirst), Options{})
			req, _ := connectTo("192.0.2.1:80").Append(nil)
			work := make(chan struct{}, n)
			var wg sync.WaitGroup
			for range n {
				c, err := net.Dial("unix", d.path)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				wg.Go(func() {
					r := wire.NewReader(c)
					var m wire.Message
					for range work {
						if _, err := c.Write(req); err != nil {
							b.Error(err)
							return
						}
						if err := r.Read(&m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
	runtime.GC()
}
