package run

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The benchmarks measure what "mammactl run" adds to a connection, and what it takes from
// its rate. The same program runs without it, in turn, so that both have the same machine.

// rounds is how often each of the two is measured. The medians count.
const rounds = 7

// way is a way to run a program: without anything, as "mammactl run" does, and as the
// kernel alone would have it. See testdata/floor.
type way string

const (
	plain     way = "plain"
	placed    way = "placed"
	floor     way = "floor"      // each call is given up, and goes on at once
	floorBind way = "floor-bind" // and its socket is copied and bound before
)

func (w *world) figures(b *testing.B, how way, format string, args []string, to ...any) {
	b.Helper()
	args = append([]string{bin + "/dialer"}, args...)
	cmd := exec.Command(args[0], args[1:]...)
	switch how {
	case placed:
		cmd = w.command(nobody, append([]string{"--intents", "category=bulktransfer", "--"}, args...)...)
	case floor:
		cmd = exec.Command(bin+"/floor", append([]string{"continue"}, args...)...)
	case floorBind: // to the network by which the kernel sends by itself
		cmd = exec.Command(bin+"/floor", append([]string{w.address("wlan0", false)}, args...)...)
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

// dialing returns what client.Dialer adds to a dial.
func (w *world) dialing(b *testing.B) float64 {
	b.Helper()
	cmd := exec.Command(bin+"/choosing", w.daemon.Socket, service4+":7000", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody), Gid: uint32(nobody)}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var with, without float64
	if err := w.Client.Run(cmd); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, &errs)
	}
	if _, err := fmt.Sscanf(out.String(), "%f %f", &with, &without); err != nil {
		b.Fatalf("%q: %v", out.String(), err)
	}
	return with - without
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

// BenchmarkConnect measures connect(2): its median time for one thread, of the first 500
// and of 4000 ("more"), and how many eight threads make in a second, by a lease and with a
// question for each. Beside them stands what the kernel takes for a call that is given up, and
// what client.Dialer adds.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	if err := stage.BuildStatic(bin, "./testdata/floor", "./testdata/choosing"); err != nil {
		b.Fatal(err)
	}
	leasing, asking := w.daemon, w.asking(b)
	defer func() { w.daemon = leasing }()
	type figure struct{ us, more, rate []float64 }
	dialing := map[*stage.Daemon][]float64{}
	for b.Loop() {
		all := map[string]*figure{}
		measure := func(name string, how way) {
			var us, more, rate, ignored float64
			w.figures(b, how, "%f %f", []string{"measure", service4 + ":7000", "500", "1"}, &us, &ignored)
			w.figures(b, how, "%f %f", []string{"measure", service4 + ":7000", "4000", "1"}, &more, &ignored)
			w.figures(b, how, "%f %f", []string{"measure", service4 + ":7000", "2000", "8"}, &ignored, &rate)
			f := all[name]
			if f == nil {
				f = &figure{}
				all[name] = f
			}
			f.us, f.more, f.rate = append(f.us, us), append(f.more, more), append(f.rate, rate)
		}
		for range rounds {
			measure("plain", plain)
			measure("floor", floor)
			measure("floor-bind", floorBind)
			for name, d := range map[string]*stage.Daemon{"lease": leasing, "asked": asking} {
				w.daemon = d
				measure(name, placed)
				dialing[d] = append(dialing[d], w.dialing(b))
			}
		}
		us, more, rate := median(all["plain"].us), median(all["plain"].more), median(all["plain"].rate)
		b.ReportMetric(us, "plain-us")
		b.ReportMetric(rate, "plain-rate")
		for name, f := range all {
			if name != "plain" {
				b.ReportMetric(median(f.us)-us, name+"-added-us")
				b.ReportMetric(median(f.more)-more, name+"-added-more-us")
				b.ReportMetric(median(f.rate)/rate, name+"-rate-of-plain")
			}
		}
		b.ReportMetric(median(dialing[leasing]), "dialer-lease-added-us")
		b.ReportMetric(median(dialing[asking]), "dialer-asked-added-us")
	}
}

// BenchmarkMemory measures the memory of the supervisor after 800 connections.
func BenchmarkMemory(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		var all, anonymous []float64
		for range rounds {
			script := bin + "/dialer measure " + service4 + ":7000 800 1 >&2; grep -e VmRSS -e RssAnon /proc/$PPID/status"
			cmd := w.command(nobody, "--intents", "category=bulktransfer", "--", "sh", "-c", script)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := w.Client.Run(cmd); err != nil {
				b.Fatalf("%v: %v\n%s", cmd, err, &errs)
			}
			var rss, anon float64
			if _, err := fmt.Sscanf(out.String(), "VmRSS: %f kB\nRssAnon: %f kB", &rss, &anon); err != nil {
				b.Fatalf("%q: %v", out.String(), err)
			}
			all, anonymous = append(all, rss/1024), append(anonymous, anon/1024)
		}
		b.ReportMetric(median(all), "MB")
		b.ReportMetric(median(anonymous), "anonymous-MB")
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
		without, with := []float64{}, []float64{}
		for range rounds {
			var rate float64
			w.figures(b, plain, "%f", []string{"bulk", service4 + ":7002"}, &rate)
			without = append(without, rate)
			w.figures(b, placed, "%f", []string{"bulk", service4 + ":7002"}, &rate)
			with = append(with, rate)
		}
		b.ReportMetric(median(without)/1e9, "plain-Gbit/s")
		b.ReportMetric(median(with)/median(without), "of-plain")
	}
}
