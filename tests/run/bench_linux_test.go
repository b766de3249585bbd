package run

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"testing"
)

// What "mammactl run" adds to a connection, and takes from its rate, is measured
// beside the same program without it, in turn, so that both have the same machine.

// rounds is how often both are measured; medians count.
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

// BenchmarkConnect measures connect(2): its median time for one thread, and how
// many eight threads make in a second.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		var plain, placed, plainRate, placedRate []float64
		for range rounds {
			for _, on := range []bool{false, true} {
				var us, rate, ignored float64
				w.figures(b, on, "%f %f", []string{"measure", service4 + ":7000", "500", "1"}, &us, &ignored)
				w.figures(b, on, "%f %f", []string{"measure", service4 + ":7000", "2000", "8"}, &ignored, &rate)
				if on {
					placed, placedRate = append(placed, us), append(placedRate, rate)
				} else {
					plain, plainRate = append(plain, us), append(plainRate, rate)
				}
			}
		}
		b.ReportMetric(median(plain), "plain-us")
		b.ReportMetric(median(placed)-median(plain), "added-us")
		b.ReportMetric(median(placedRate)/median(plainRate), "rate-of-plain")
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
