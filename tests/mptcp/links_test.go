package mptcp

import (
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// timed skips tests of speed where speed means nothing.
func timed(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("emulated links keep no time under the race detector: needs a run without it, as make check does")
	}
}

// selective describes the networks, so that the policy knows them by the configuration.
const selective = `
policy "mptcp_selective" {}
interface "wlan0" {
  options {
    srtt_minimum_recent   = 25
    download_sma_max_mid  = 2500000
  }
}
interface "wwan0" {
  default = true
  options {
    srtt_minimum_recent   = 40
    download_sma_max_mid  = 2400000
  }
}
`

// A bulk transfer gets both networks. A query gets only the one with less latency, even
// though that is not the default one.
func TestSelective(t *testing.T) {
	timed(t)
	each(t, func(t *testing.T, mode mptcp.PathManager) {
		s := set(t, mode, selective)
		// The transfer is so long that the cost of its beginning hardly matters.
		const size = 10e6
		var slow, fast float64 // Mbit/s
		for range 3 {          // the machine may be busy with something else: the best of each counts
			queries, bulk := serve(t, s.Bed, true, 0), serve(t, s.Bed, true, 0)
			one := s.get(t, queries, "category=query", size)
			if one.Asked || one.Source != s.Network("wlan0").Client4 || s.opened("wwan0", queries) != 0 {
				t.Errorf("query: %+v, %d subflows over wwan0", one, s.opened("wwan0", queries))
			}
			two := s.get(t, bulk, "category=bulktransfer", size)
			if !two.Multipath || two.Source != s.Network("wlan0").Client4 || s.opened("wwan0", bulk) != 1 {
				t.Errorf("bulk transfer: %+v, %d subflows over wwan0", two, s.opened("wwan0", bulk))
			}
			rate := func(r received) float64 { return size * 8 / 1e6 / r.Took.Seconds() }
			slow, fast = max(slow, rate(one)), max(fast, rate(two))
			t.Logf("one path %.1f Mbit/s, two paths %.1f Mbit/s", rate(one), rate(two))
			if fast >= 1.7*slow || t.Failed() {
				break
			}
		}
		if capable := 0.85 * link.Rate / testbed.Mbit; fast < 1.7*slow && slow < float64(capable) {
			required.Lacking(t, "plain TCP gets %.1f Mbit/s of a link of %.0f: needs a machine with the time to emulate links", slow, link.Rate/testbed.Mbit)
		}
		if fast < 1.7*slow {
			t.Errorf("two paths carry %.2f times as much as one, want 1.7", fast/slow)
		}
	})
}

// The first path dies during a transfer, in silence or with its interface. No byte is lost,
// and the transfer goes on.
func TestPathDeath(t *testing.T) {
	timed(t)
	for _, death := range []struct {
		name string
		kill func(*stageFor) error
	}{
		{"silence", func(s *stageFor) error {
			gone := link
			gone.Loss = 1
			return s.Network("wlan0").Link.Set(gone, gone)
		}},
		{"interface", func(s *stageFor) error {
			l, err := s.Client.Handle().LinkByName("wlan0")
			if err != nil {
				return err
			}
			return s.Client.Handle().LinkSetDown(l)
		}},
	} {
		t.Run(death.name, func(t *testing.T) {
			each(t, func(t *testing.T, mode mptcp.PathManager) {
				s := set(t, mode, `policy "mptcp_simple" {}`+networks)
				const size = 6e6
				// The links are full of what was sent before.
				from := serve(t, s.Bed, true, 3e6)
				killed := make(chan error, 1)
				go func() {
					<-from.paused
					killed <- death.kill(s)
					close(from.resume)
				}()
				r := s.get(t, from, "", size)
				if err := <-killed; err != nil {
					t.Fatal(err)
				}
				t.Logf("%v without a byte", r.Gap)
				if !r.Multipath || r.Source != s.Network("wlan0").Client4 || r.Gap > 2*time.Second {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
