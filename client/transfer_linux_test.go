package client

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/wire"
)

// A Pool reports the bytes of a connection when its use ends, separately for each use.
func TestPoolReportsTransfers(t *testing.T) {
	srv := startServer(t)
	p, f := startPool(t, func(m *wire.Message) bool {
		report := m.Action == wire.ActionReportRequest
		ok := reuseFirst(m)
		if !report {
			m.DecisionID = decisionID
		}
		return ok
	})
	address := "127.0.0.1:" + srv.port
	bring := func(c *Conn, n int) {
		t.Helper()
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	a := must(t, p, address, false)
	bring(a, 1000)
	_ = a.Release()
	bring(must(t, p, address, true), 300)
	_ = a.Close()
	p.Dialer.Daemon.reportNow()
	p.Dialer.Daemon.reporter.Wait()

	var got []wire.Transfer
	for _, m := range f.requests() {
		if asks := m.Action == wire.ActionSocketChooseRequest || m.Action == wire.ActionSocketConnectRequest; asks != (m.Features&wire.FeatureTransfers != 0) {
			t.Errorf("%v announces %v", m.Action, m.Features)
		}
		if m.Transfer != nil {
			x := *m.Transfer
			if m.DecisionID != decisionID || x.RTT == 0 || x.MinRTT == 0 || x.Microseconds > uint32(time.Minute/time.Microsecond) {
				t.Errorf("decision %v: %+v", m.DecisionID, x)
			}
			got = append(got, wire.Transfer{Bytes: x.Bytes, Flags: x.Flags})
		}
	}
	want := []wire.Transfer{{Bytes: 1000}, {Bytes: 300, Flags: wire.TransferReused | wire.TransferPartial}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("reported %+v, want %+v", got, want)
	}
}

// As long as the kernel has measured no round-trip time, none is reported.
func TestNoRoundTripTimeYet(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	_ = unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	if info.Min_rtt != noMinRTT {
		t.Errorf("tcpi_min_rtt begins with %d", info.Min_rtt)
	}
	if f := figuresFrom(info); f.rtt != 0 || f.minRTT != 0 || f.received != 0 {
		t.Errorf("before anything was measured: %+v", f)
	}
	srv := startServer(t)
	c, err := net.Dial("tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if f, ok := figuresOf(c); !ok || f.rtt <= 0 || f.minRTT <= 0 || f.minRTT > f.rtt {
		t.Errorf("after the handshake: %+v, %v", f, ok)
	}
}
