package client

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

func TestDecideThenDial(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3"))
	d := dialer(t, f.path)
	dec, err := d.Decide(t.Context(), "tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	if dec.Err() != nil || dec.Source().String() != "127.0.0.2" || dec.Reason() != "because" || dec.Existing() != nil {
		t.Errorf("decision %+v", dec)
	}
	for range 2 {
		nc, err := dec.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, _ := InfoOf(nc)
		_ = nc.Close()
		if peer := (<-srv.peers).String(); peer != "127.0.0.2" || info.Candidate != 0 {
			t.Errorf("dialled from %v: %+v", peer, info)
		}
	}
	_ = d.Daemon.Close()
	asked := 0
	for _, m := range f.requests() {
		if m.Action == wire.ActionSocketConnectRequest {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestDecideToReuse(t *testing.T) {
	srv := startServer(t)
	f := startFake(t, "", false, reuseFirst)
	d := dialer(t, f.path)
	address := "127.0.0.1:" + srv.port
	nc, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	dec, err := d.Decide(t.Context(), "tcp", address, nc)
	if err != nil {
		t.Fatal(err)
	}
	if dec.Existing() != nc || dec.Reason() != "idle" {
		t.Errorf("decision %+v", dec)
	}
	other, err := dec.Dial(t.Context()) // the connection may be gone meanwhile
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := InfoOf(other); info.Source.String() != "127.0.0.2" {
		t.Errorf("info %+v", info)
	}
	_ = other.Close()
}

func TestDecideWithoutManager(t *testing.T) {
	srv := startServer(t)
	d := dialer(t, filepath.Join(t.TempDir(), "none"))
	for _, address := range []string{"127.0.0.1:" + srv.port, ":" + srv.port} {
		dec, err := d.Decide(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if dec.Err() == nil || dec.Source().IsValid() || dec.Reason() != "" || dec.Multipath() || dec.Device() != "" {
			t.Errorf("decision %+v", dec)
		}
		nc, err := dec.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
	}
	if _, err := d.Decide(t.Context(), "tcp", "127.0.0.1:nonsense"); err == nil {
		t.Error("a port that is none")
	}
}

// Endpoints does not wait for a dead resolver, either.
func TestEndpointsBesideDeadResolver(t *testing.T) {
	answer := suggest("127.0.0.2", "127.0.0.3")
	f := startFake(t, "", false, func(m *wire.Message) bool {
		dead := m.Action == wire.ActionResolveRequest && m.Context.BindSuggested != local("127.0.0.3")
		return !dead && answer(m)
	})
	d := dialer(t, f.path)
	d.ConnectionAttemptDelay = 20 * time.Millisecond
	dec, err := d.Decide(t.Context(), "tcp", "host.test:80")
	if err != nil {
		t.Fatal(err)
	}
	list, err := dec.Endpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Remote.String()+" from "+e.Source.String())
	}
	if diff := cmp.Diff([]string{"127.0.0.1:80 from 127.0.0.3", "127.0.0.1:80 from invalid IP"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEndpoints(t *testing.T) {
	option := wire.SockOpt{Level: wire.SolSocket, Name: 8, Value: []byte{0, 0, 1, 0}, Flags: wire.SockOptOptional}
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == wire.ActionResolveRequest {
			m.Action = wire.ActionResolveResponse
			m.Context.Result = resolve(m, "192.0.2.1", "192.0.2.2")
			return true
		}
		suggest("10.1.0.2", "10.2.0.2")(m)
		m.Context.Protocol = wire.ProtoMPTCP
		m.Context.OptionsSuggested = []wire.SockOpt{option}
		return true
	})
	bound := Endpoint{
		Source: netip.MustParseAddr("10.1.0.2"), Multipath: true,
		Options: []SocketOption{{Level: wire.SolSocket, Name: 8, Value: []byte{0, 0, 1, 0}, Optional: true}},
	}
	to := func(e Endpoint, remote string) Endpoint {
		e.Remote = netip.MustParseAddrPort(remote)
		return e
	}
	second, unbound := Endpoint{Candidate: 1, Source: netip.MustParseAddr("10.2.0.2"), Options: bound.Options}, Endpoint{Candidate: PlainDial}
	for _, tt := range []struct {
		name, path, address string
		want                []Endpoint
	}{
		{"name", f.path, "www.example.net:80", []Endpoint{
			to(bound, "192.0.2.1:80"), to(bound, "192.0.2.2:80"), to(unbound, "192.0.2.1:80"), to(unbound, "192.0.2.2:80"),
		}},
		{"address", f.path, "192.0.2.7:80", []Endpoint{to(bound, "192.0.2.7:80"), to(second, "192.0.2.7:80"), to(unbound, "192.0.2.7:80")}},
		{"without manager", "/nonexistent", "192.0.2.7:80", []Endpoint{to(unbound, "192.0.2.7:80")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dec, err := dialer(t, tt.path).Decide(t.Context(), "tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			got, err := dec.Endpoints(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
				cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	dec, err := dialer(t, "/nonexistent").Decide(t.Context(), "unix", "/x")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := dec.Endpoints(t.Context()); err == nil {
		t.Errorf("endpoints of a Unix socket: %v", list)
	}
}

func TestExchangeAndReport(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path).Daemon
	var ans wire.Message
	req := &wire.Message{Action: wire.ActionSocketConnectRequest}
	if err := d.exchange(t.Context(), req, &ans); err != nil {
		t.Fatal(err)
	}
	if ans.Context.BindSuggested != local("127.0.0.2") {
		t.Errorf("answer %+v", ans)
	}
	d.reportFirst(&ans, 3*time.Millisecond, nil, 4711)
	d.reportFirst(&ans, 0, &net.OpError{Err: errTest}, 0) // nobody could use this report
	d.reportFirst(&wire.Message{}, 0, nil, 0)             // the answer came from an original daemon
	d.reportNow()
	d.reporter.Wait()
	var got []wire.Outcome
	for _, m := range f.requests() {
		if m.Action == wire.ActionReportRequest && m.DecisionID != uuid.Nil {
			got = append(got, *m.Outcome)
		}
	}
	if diff := cmp.Diff([]wire.Outcome{{Milliseconds: 3, LocalPort: 4711}}, got); diff != "" {
		t.Errorf("reports (-want +got)\n%s", diff)
	}
}
