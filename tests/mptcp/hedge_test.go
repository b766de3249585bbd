package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// hedging says what the networks can carry, so that the policy's predictions are true until
// a link changes.
const hedging = `
policy "adaptive" {}
interface "wlan0" {
  default = true
  options {
    srtt_minimum_recent      = 25
    download_rate_max_recent = "20Mbit/s"
  }
}
interface "wwan0" {
  options {
    srtt_minimum_recent      = 25
    download_rate_max_recent = "20Mbit/s"
  }
}
`

// A connection of Multipath TCP that becomes far slower than predicted gets the other
// network, and ends sooner. It does not get a network that costs money, and one that is not
// late is left alone.
func TestHedge(t *testing.T) {
	timed(t)
	const size, before, most = 1_200_000, 200_000, 30_000 // bytes
	slow := testbed.Shape{Rate: 1 * testbed.Mbit, Delay: link.Delay, Queue: 20_000}
	took := map[string]time.Duration{}
	for _, tt := range []struct {
		name, config string
		slow         bool
		helped       bool
	}{
		{"alone", strings.Replace(hedging, `interface "wwan0" {`, `interface "wwan0" {
  cost = "metered"`, 1), true, false},
		{"late", hedging, true, true},
		{"on time", hedging, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, mptcp.Userspace, tt.config)
			from := serve(t, s.Bed, true, before)
			changed := make(chan error, 1)
			go func() {
				<-from.paused
				s.awaitJoin(t, "wwan0", from) // a backup subflow
				shape := link
				if tt.slow {
					shape = slow
				}
				changed <- s.Network("wlan0").Link.Set(shape, link)
				close(from.resume)
			}()
			r, err := s.by("own", order{s.daemon.Socket, fmt.Sprintf("filesize=%d", size), from.addr, size})()
			if err != nil || r.Sum != sumOf(size) || !r.Multipath || r.Source != s.Network("wlan0").Client4 {
				t.Fatalf("%+v, %v", r, err)
			}
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			over := s.came("wwan0", from)
			t.Logf("%v, %d bytes over wwan0", r.Took, over)
			took[tt.name] = r.Took
			if inTime := time.Second; !tt.slow && over > most && r.Took > inTime {
				required.Lacking(t, "%d bytes took %v over a link of %.0f Mbit/s: needs a machine with the time to emulate links", size, r.Took, link.Rate/testbed.Mbit)
			}
			if tt.helped != (over > most) {
				t.Errorf("%d bytes came over wwan0, and helped should be %v", over, tt.helped)
			}
		})
	}
	if late, alone := took["late"], took["alone"]; !t.Failed() && late > alone*3/4 {
		t.Errorf("with the other network's help it took %v, and %v without", late, alone)
	}
}

// came counts the bytes of the packets that came from a server over a network.
func (s *stageFor) came(network string, from *server) (n int) {
	for _, p := range s.sent.Packets() {
		if !p.Outgoing && p.Dst.Addr() == s.Network(network).Client4 && p.Src.String() == from.addr {
			n += p.Length
		}
	}
	return n
}

// byOwnSocket downloads as a program that asks the daemon, and makes its socket of Multipath
// TCP itself.
func byOwnSocket(o order) (r received, err error) {
	dialer, err := o.dialer()
	if err != nil {
		return r, err
	}
	defer dialer.Daemon.Close() //nolint:errcheck // nothing is lost
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dec, err := dialer.Decide(ctx, "tcp", o.Addr)
	if err != nil {
		return r, err
	}
	ends, err := dec.Endpoints(ctx)
	if err != nil {
		return r, errors.Join(err, dec.Err())
	}
	begun := time.Now()
	r.Source = ends[0].Source
	own := net.Dialer{LocalAddr: ends[0].LocalAddr("tcp"), Control: ends[0].Control}
	own.SetMultipathTCP(true)
	c, err := own.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return r, err
	}
	defer c.Close() //nolint:errcheck // only read
	dec.Report(client.Outcome{Duration: time.Since(begun), Local: c.LocalAddr().(*net.TCPAddr).AddrPort()})
	if err := r.read(c, o.Bytes, begun); err != nil {
		return r, err
	}
	r.Multipath, err = c.(*net.TCPConn).MultipathTCP()
	return r, err
}
