package run

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The benchmarks measure what "mammactl run" adds to a connection, and what it takes from
// its rate. The same program runs without it, in turn, so that both have the same machine.

// rounds is how often each of the two is measured. The medians count.
const rounds = 7

func (w *world) figures(b *testing.B, placed bool, format string, args []string, to ...any) {
	b.Helper()
	cmd := exec.Command(bin+"/dialer", args...)
	if placed {
		cmd = w.command(nobody, append([]string{"--intents", "category=bulktransfer", "--", bin + "/dialer"}, args...)...)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := w.Client.Run(cmd); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, &errs)
	}
	if _, err := fmt.Sscanf(out.String(), format, to...); err != nil {
		b.Fatalf("%q: %v", out.String(), err)
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// asking starts a second manager that grants no leases, because it records every decision.
func (w *world) asking(b *testing.B) *stage.Daemon {
	b.Helper()
	config := policy + fmt.Sprintf("decisions {\n  record = %q\n}\n", w.dir+"/decisions.jsonl")
	d, err := stage.StartDaemon(b.Context(), w.Client, bin+"/mamma", w.dir, "asking", config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Stop() })
	return d
}

// BenchmarkConnect measures connect(2): its median time for one thread, and how
// many eight threads make in a second, by a lease and with a question for each.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	leasing, asking := w.daemon, w.asking(b)
	defer func() { w.daemon = leasing }()
	for b.Loop() {
		took, rates := map[string][]float64{}, map[string][]float64{}
		for range rounds {
			for _, way := range []string{"plain", "leased", "asked"} {
				if w.daemon = leasing; way == "asked" {
					w.daemon = asking
				}
				var us, rate, ignored float64
				w.figures(b, way != "plain", "%f %f", []string{"measure", service4 + ":7000", "500", "1"}, &us, &ignored)
				w.figures(b, way != "plain", "%f %f", []string{"measure", service4 + ":7000", "2000", "8"}, &ignored, &rate)
				took[way], rates[way] = append(took[way], us), append(rates[way], rate)
			}
		}
		plain, rate := median(took["plain"]), median(rates["plain"])
		b.ReportMetric(plain, "plain-us")
		b.ReportMetric(median(took["leased"])-plain, "added-us")
		b.ReportMetric(median(took["asked"])-plain, "added-asked-us")
		b.ReportMetric(median(rates["leased"])/rate, "rate-of-plain")
		b.ReportMetric(median(rates["asked"])/rate, "rate-of-plain-asked")
	}
}

// BenchmarkBulk measures the rate of a download of 1 GB.
func BenchmarkBulk(b *testing.B) {
	w := newWorld(b)
	l, err := w.Service.Listen("tcp", service4+":7002")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		block := make([]byte, 1<<18)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for range 1 << 12 {
				if _, err := c.Write(block); err != nil {
					break
				}
			}
			_ = c.Close()
		}
	}()
	for b.Loop() {
		var plain, placed []float64
		for range rounds {
			for _, on := range []bool{false, true} {
				var rate float64
				w.figures(b, on, "%f", []string{"bulk", service4 + ":7002"}, &rate)
				if on {
					placed = append(placed, rate)
				} else {
					plain = append(plain, rate)
				}
			}
		}
		b.ReportMetric(median(plain)/1e9, "plain-Gbit/s")
		b.ReportMetric(median(placed)/median(plain), "of-plain")
	}
}
