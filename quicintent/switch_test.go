package quicintent

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
)

// simulated is a QUIC connection over a network in virtual time. The client has two
// addresses there.
type simulated struct {
	near, far *quic.Conn
	second    *quic.Transport // of the client's second address
}

// simulate connects. The round-trip times are those over the two addresses.
func simulate(t *testing.T, first, second time.Duration) *simulated {
	t.Helper()
	n := &simnet.Simnet{Router: &simnet.PerfectRouter{}}
	delays := map[netip.Addr]time.Duration{netip.MustParseAddr("10.0.1.2"): first / 2, netip.MustParseAddr("10.0.2.2"): second / 2}
	transport := func(address string, delay func(simnet.Packet) time.Duration) *quic.Transport {
		at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
		return &quic.Transport{Conn: n.NewEndpoint(at, simnet.NodeBiDiLinkSettings{LatencyFunc: delay})}
	}
	of := func(a net.Addr) time.Duration { return delays[a.(*net.UDPAddr).AddrPort().Addr().Unmap()] }
	to := func(p simnet.Packet) time.Duration { return of(p.To) }
	one, two := transport("10.0.1.2:4000", to), transport("10.0.2.2:4000", to)
	service := transport("192.0.2.1:443", func(p simnet.Packet) time.Duration { return of(p.From) })
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, tr := range []*quic.Transport{one, two, service} {
			_ = tr.Close()
			_ = tr.Conn.Close()
		}
		_ = n.Close()
	})
	server, trusting := keys(t, "test")
	l, err := service.Listen(server, nil)
	if err != nil {
		t.Fatal(err)
	}
	trusting.ServerName = "service.test"
	s := &simulated{second: two}
	if s.near, err = one.Dial(t.Context(), l.Addr(), trusting, &quic.Config{MaxIdleTimeout: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if s.far, err = l.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// A connection that has nothing to send moves at once, too. Its round-trip time is never
// what quic-go assumes, nor that of the network before.
func TestSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		s := simulate(t, 20*ms, 600*ms)
		m := &mover{conn: s.near}
		time.Sleep(time.Second)
		if got := m.roundTrip().smoothed; got < 20*ms || got > 21*ms {
			t.Errorf("%v on the first network", got)
		}
		to := &path{transport: s.second}
		var err error
		if to.quic, err = s.near.AddPath(to.transport); err != nil {
			t.Fatal(err)
		}
		if err := to.quic.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // all is acknowledged
		m.ledger.begun, m.probed = s.near.ConnectionStats(), 650*ms
		if err := to.quic.Switch(); err != nil {
			t.Fatal(err)
		}
		if got := m.roundTrip().smoothed; got != m.probed {
			t.Errorf("%v before quic-go has switched", got)
		}
		m.wake(to)
		synctest.Wait()
		if got := m.roundTrip().smoothed; got != m.probed {
			t.Errorf("%v after quic-go has switched", got)
		}
		time.Sleep(300 * ms)
		synctest.Wait()
		if got := s.far.RemoteAddr().String(); got != "10.0.2.2:4000" {
			t.Errorf("the peer still sends to %s", got)
		}
		time.Sleep(time.Second)
		if got := m.roundTrip().smoothed; got < 600*ms || got > 630*ms {
			t.Errorf("%v on the second network", got)
		}
	})
}

// Whether the network was silent is judged when another one has answered, not before.
func TestStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		m := &mover{conn: simulate(t, 20*ms, 20*ms).near}
		silence := newSilence(time.Now())
		m.now = &path{socket: &socket{silence: silence}}
		time.Sleep(time.Second)
		for range steadyReads {
			time.Sleep(5 * ms)
			silence.received(time.Now())
		}
		time.Sleep(130 * ms)
		silence.sent(time.Now())
		time.Sleep(leastGap - 130*ms)
		r := m.reason(time.Now())
		if !r.guess || r.silent {
			t.Fatalf("a flow that has stopped: %+v", r)
		}
		if again, err := m.still(r, time.Now()); err != nil || again != r {
			t.Errorf("nothing has changed: %+v, %v", again, err)
		}
		time.Sleep(100 * ms)
		if again, err := m.still(r, time.Now()); err != nil || again.guess || !again.silent || again.why != r.why {
			t.Errorf("an answer is due: %+v, %v", again, err)
		}
		silence.received(time.Now())
		if again, err := m.still(r, time.Now()); err != errAnswered || again != r {
			t.Errorf("answered: %+v, %v", again, err)
		}
	})
}
