package system

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// timed skips a test that compares its figures with those of an emulated link, if they
// cannot be compared.
func timed(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("emulated links keep no time under the race detector: needs a run without it, as make check does")
	}
}

// prefixes asks mammactl for the daemon's measurements, by interface.
func (d *daemon) prefixes(t *testing.T) map[string]control.Prefix {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "--control", filepath.Join(filepath.Dir(d.socket), "control.sock"), "prefixes", "--json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var answer struct {
		Prefixes []control.Prefix `json:"prefixes"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	byName := map[string]control.Prefix{}
	for _, p := range answer.Prefixes {
		if p.Family == "IPv4" {
			byName[p.Interface] = p
		}
	}
	return byName
}

// within waits until check accepts what mammactl shows. check returns what is wrong.
func (d *daemon) within(t *testing.T, limit time.Duration, check func(map[string]control.Prefix) string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := check(d.prefixes(t))
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		<-tick.C
	}
}

// After transfers with curl, what mammactl shows agrees with the links that the
// transfers went over. When a link changes, it follows.
func TestMeasurements(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skipf("needs curl: %v", err)
	}
	bed := twoLinks(t)
	d := start(t, bed.Client, write(t, "policy.conf", onLinks(`policy "threshold" {}`, "near")))
	shapes := map[string]testbed.Shape{"near": near, "far": far}

	// Each network gets traffic for three seconds.
	var wg sync.WaitGroup
	errs := map[string]error{"near": nil, "far": nil}
	var mu sync.Mutex
	for name, s := range shapes {
		wg.Go(func() {
			url := fmt.Sprintf("http://%v/bytes/%d", testbed.ServiceAddr4, int64(s.Rate)/8*3)
			err := bed.Client.Run(exec.Command(curl, "--silent", "--fail", "--output", "/dev/null", "--interface", bed.Network(name).Client4.String(), url))
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	wg.Wait()
	for name, err := range errs {
		if err != nil {
			t.Fatalf("curl over %s: %v", name, err)
		}
	}

	// The round-trip time of an idle link is the sum of its delays. The handshakes of
	// new connections show that time, and the connections are counted exactly.
	want := map[string]int{"near": 3, "far": 2}
	held := map[string][]net.Conn{}
	for name, n := range want {
		for range n {
			c, err := bed.Client.Dial(t.Context(), &net.Dialer{LocalAddr: &net.TCPAddr{IP: bed.Network(name).Client4.AsSlice()}}, "tcp", testbed.ServiceAddr4.String()+":80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			held[name] = append(held[name], c)
		}
	}
	d.within(t, stage.Patience, func(all map[string]control.Prefix) string {
		for name, s := range shapes {
			p := all[name]
			if p.Path.Connections == nil || *p.Path.Connections != want[name] {
				return fmt.Sprintf("%s: connections %v, want %d", name, text(p.Path.Connections), want[name])
			}
			rtt := 2 * s.Delay.Seconds() * 1000
			if got := p.Path.SRTTMinMS; got == nil || *got < rtt-0.1 || *got > rtt*1.1+2 {
				return fmt.Sprintf("%s: minimum round-trip time %v ms, want %.0f ms and at most 10 %% + 2 ms more", name, text(got), rtt)
			}
			// The link carries IP packets at its rate, and the counters of the
			// interface count IP packets.
			rate := float64(s.Rate) / 8
			if got := p.Link.DownAverageMax.Mid; got == nil || *got < 0.9*rate || *got > 1.1*rate {
				return fmt.Sprintf("%s: maximum rate %v B/s, want %.0f within 10 %%", name, text(got), rate)
			}
		}
		return ""
	})

	// The near link becomes slow. Its minimum remains for ten minutes, as specified,
	// but the present measurements must follow.
	slow := near
	slow.Delay = 60 * time.Millisecond
	if err := bed.Network("near").Link.Set(slow, slow); err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := make([]byte, 4096); ; {
			if _, err := held["near"][0].Write([]byte("GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
				return
			}
			if _, err := held["near"][0].Read(b); err != nil {
				return
			}
		}
	}()
	d.within(t, stage.Patience, func(all map[string]control.Prefix) string {
		p := all["near"].Path
		if p.SRTTMeanMS == nil || *p.SRTTMeanMS < 35 { // of the connections, a third sees 120 ms and the others still see 10 ms
			return fmt.Sprintf("the mean round-trip time is still %v ms", text(p.SRTTMeanMS))
		}
		return ""
	})
	if p := d.prefixes(t)["near"].Path; p.SRTTMinMS == nil || *p.SRTTMinMS > 15 {
		t.Errorf("the minimum of the last 10 minutes is %v ms, want what it was", text(p.SRTTMinMS))
	}
}

// text returns the value that p points to, "unknown" for nil.
func text[T any](p *T) string {
	if p == nil {
		return "unknown"
	}
	return fmt.Sprint(*p)
}
