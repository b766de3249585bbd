package testbed_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const ms = time.Millisecond

// emulated returns a test bed whose networks have these shapes in both directions. The
// tests below measure, so they are not parallel.
func emulated(t *testing.T, shapes ...testbed.Shape) *testbed.Bed {
	t.Helper()
	config := testbed.Config{Congestion: "cubic"}
	for i, s := range shapes {
		config.Networks = append(config.Networks, testbed.NetworkConfig{
			SourceRule: true, Emulate: &testbed.LinkConfig{Down: s, Up: s, Seed: uint64(i)},
		})
	}
	return testbed.ForTest(t, config)
}

// needTime skips tests that compare times.
func needTime(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("emulated links keep no time under the race detector: needs a run without it")
	}
}

// serveUDP calls f for each packet that the network's gateway receives.
func serveUDP(t *testing.T, n *testbed.Network, f func(c net.PacketConn, b []byte, from net.Addr)) netip.AddrPort {
	t.Helper()
	c, err := n.Server.ListenPacket("udp4", netip.AddrPortFrom(n.Gateway4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			f(c, buf[:size], from)
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func echo(c net.PacketConn, b []byte, from net.Addr) { _, _ = c.WriteTo(b, from) }

func dialUDP(t *testing.T, b *testbed.Bed, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := b.Client.DialContext(t.Context(), "udp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// receive reads one datagram. The wait begins again with each datagram, so that a lost
// one takes no time from the next.
func receive(c net.Conn, buf []byte, wait time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := c.Read(buf)
	return err
}

// roundTrip returns the median of several round-trip times.
func roundTrip(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	var all []time.Duration
	buf := make([]byte, 100)
	for range 15 {
		start := time.Now()
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if err := receive(c, buf, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// measure runs f until it succeeds, at most twenty times. Other load on the machine may
// spoil the runs of a second or two. A fault of ours would spoil all.
func measure(t *testing.T, f func() error) {
	t.Helper()
	var errs []error
	for range 20 {
		err := f()
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	t.Error(errors.Join(errs...))
}

func near(what string, got, want time.Duration) error {
	if d := got - want; d < -2*ms || d > 2*ms {
		return fmt.Errorf("%s: %v, want %v within 2 ms", what, got, want)
	}
	return nil
}

func TestLinkRoundTripTime(t *testing.T) {
	needTime(t)
	delays := []time.Duration{0, 5 * ms, 25 * ms}
	b := emulated(t, testbed.Shape{}, testbed.Shape{Delay: delays[1]}, testbed.Shape{Delay: delays[2]})
	for i, n := range b.Networks {
		c := dialUDP(t, b, serveUDP(t, n, echo))
		measure(t, func() error { return near(n.Name, roundTrip(t, c), 2*delays[i]) })
		if err := n.Link.Set(testbed.Shape{Delay: 10 * ms}, testbed.Shape{Delay: 5 * ms}); err != nil {
			t.Fatal(err)
		}
		measure(t, func() error { return near(n.Name+" changed", roundTrip(t, c), 15*ms) })
	}
}

// TestLinkRate sends on two links at once, faster than they are.
func TestLinkRate(t *testing.T) {
	needTime(t)
	rates := []testbed.BitRate{8 * testbed.Mbit, 20 * testbed.Mbit}
	b := emulated(t, testbed.Shape{Rate: rates[0], Queue: 1 << 20}, testbed.Shape{Rate: rates[1], Queue: 1 << 20})
	const count, size = 400, 1200
	var conns []net.Conn
	for _, n := range b.Networks {
		burst := serveUDP(t, n, func(c net.PacketConn, b []byte, from net.Addr) {
			for range count {
				_, _ = c.WriteTo(make([]byte, size), from)
			}
		})
		conns = append(conns, dialUDP(t, b, burst))
	}
	measure(t, func() error {
		results := make(chan error)
		for i, c := range conns {
			go func() {
				rate, err := receiveRate(c, count, size)
				if ratio := float64(rate / rates[i]); err == nil && (ratio < 0.95 || ratio > 1.05) {
					err = fmt.Errorf("network %d carried %.2f Mbit/s, want %.0f within 5 %%", i, rate/testbed.Mbit, rates[i]/testbed.Mbit)
				}
				results <- err
			}()
		}
		return errors.Join(<-results, <-results)
	})
}

// receiveRate asks for a burst and returns the rate at which it arrives.
func receiveRate(c net.Conn, count, size int) (testbed.BitRate, error) {
	buf := make([]byte, size)
	if _, err := c.Write(buf[:1]); err != nil {
		return 0, err
	}
	var first time.Time
	for i := range count {
		if err := receive(c, buf, time.Second); err != nil {
			return 0, fmt.Errorf("packet %d: %w", i, err)
		}
		if i == 0 {
			first = time.Now()
		}
	}
	bits := float64((count - 1) * (size + 28) * 8) // including the headers of IPv4 and UDP
	return testbed.BitRate(bits / time.Since(first).Seconds()), nil
}

// TestLinkTransfer shows that TCP fills a link, and which network the transfer went
// over.
func TestLinkTransfer(t *testing.T) {
	needTime(t)
	const rate = 16 * testbed.Mbit
	b := emulated(t, testbed.Shape{Rate: testbed.Mbit, Delay: 5 * ms}, testbed.Shape{Rate: rate, Delay: 5 * ms})
	n := b.Networks[1]
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return b.Client.Dial(ctx, &net.Dialer{LocalAddr: &net.TCPAddr{IP: n.Client4.AsSlice()}}, network, addr)
		},
	}}
	const size = 1 << 20
	start := time.Now()
	resp, err := client.Get(fmt.Sprintf("http://%s/bytes/%d", testbed.ServiceAddr4, size))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || got != size {
		t.Fatalf("%d bytes, %v", got, err)
	}
	// Two round trips and slow start add to this time. Headers take 3.5 %.
	ideal := time.Duration(size * 8 / float64(rate) * float64(time.Second))
	if d := time.Since(start); d < ideal || d > 2*ideal {
		t.Errorf("transfer took %v, want a little more than %v", d, ideal)
	}
	if down, _ := n.Link.Counts(); down.Bytes < size {
		t.Errorf("the link counted %d bytes, want %d at least", down.Bytes, size)
	}
}

func TestLinkQueue(t *testing.T) {
	needTime(t)
	shape := testbed.Shape{Rate: 4 * testbed.Mbit, Queue: 25000} // 50 ms
	b := emulated(t, shape)
	n := b.Networks[0]
	arrivals := make(chan time.Time, 100)
	sink := serveUDP(t, n, func(net.PacketConn, []byte, net.Addr) { arrivals <- time.Now() })
	c := dialUDP(t, b, sink)
	measure(t, func() error {
		_, before := n.Link.Counts()
		start := time.Now()
		for range 60 {
			if _, err := c.Write(make([]byte, 972)); err != nil { // 1000 bytes as an IP packet
				return err
			}
		}
		sent := time.Since(start)
		for range 25 {
			<-arrivals
		}
		took := time.Since(start)
		// While the burst was sent, the link may have sent more than 25 packets.
		_, after := n.Link.Counts()
		dropped := after.Dropped - before.Dropped
		if dropped == 0 || dropped > 35 {
			return fmt.Errorf("%d packets dropped of a burst sent in %v, want 1 to 35", dropped, sent)
		}
		for range 35 - dropped {
			<-arrivals
		}
		return near("25 packets took", took, 50*ms)
	})
}

func TestLinkLoss(t *testing.T) {
	const loss, count, batch = 0.1, 4000, 100
	b := emulated(t, testbed.Shape{})
	n := b.Networks[0]
	if err := n.Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: loss}); err != nil {
		t.Fatal(err)
	}
	received := make(chan int, 1)
	got := 0
	sink := serveUDP(t, n, func(_ net.PacketConn, b []byte, _ net.Addr) {
		if binary.BigEndian.Uint32(b) == 0 {
			got++
			return
		}
		select {
		case received <- got:
		default:
		}
	})
	c := dialUDP(t, b, sink)
	_, before := n.Link.Counts()
	for i := range count {
		if _, err := c.Write(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if i%batch == batch-1 {
			// The device's own queue is short, so this waits for the relay.
			for {
				if _, up := n.Link.Counts(); up.Delivered+up.Lost >= before.Packets+uint64(i)+1 {
					break
				}
				runtime.Gosched()
			}
		}
	}
	_, up := n.Link.Counts()
	if err := n.Link.Set(testbed.Shape{}, testbed.Shape{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{1, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	arrived := <-received
	// By chance, 99.9 % of all runs are within this tolerance.
	tolerance := 3.29 * math.Sqrt(loss*(1-loss)/count)
	if measured := 1 - float64(arrived)/count; math.Abs(measured-loss) > tolerance {
		t.Errorf("loss %.4f, want %.2f within %.4f; the link counted %+v", measured, loss, tolerance, up)
	}
}

func TestLinkTrace(t *testing.T) {
	b := emulated(t, testbed.Shape{})
	n := b.Networks[0]
	slow := testbed.Shape{Rate: testbed.Mbit, Delay: 30 * ms}
	trace := []testbed.TracePoint{{At: 0, Up: testbed.Shape{Delay: ms}}, {At: 20 * ms, Down: slow}}
	start := time.Now()
	if err := n.Link.Play(t.Context(), trace); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 20*ms {
		t.Errorf("trace ended after %v", d)
	}
	if down, up := n.Link.Shapes(); down != slow || up != (testbed.Shape{}) {
		t.Errorf("shapes %+v %+v", down, up)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Link.Play(ctx, []testbed.TracePoint{{At: time.Hour}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled trace: %v", err)
	}
	if err := n.Link.Set(testbed.Shape{Loss: 2}, testbed.Shape{}); err == nil {
		t.Error("a loss of 2 was accepted")
	}
}
