package scopes

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policy"
)

// BenchmarkRenew asks again about 50 scopes with 100 destinations each, as it is done when
// networks change. "same" is a change that leaves all answers as they are, "moved" one that
// writes each of them to the kernel's maps. The policy costs nothing here. cpu-ms/op is
// processor time, which a busy machine does not blur as much as the time that passes. The budget is
// set aside.
func BenchmarkRenew(b *testing.B) {
	table, err := hook.Load()
	if err != nil {
		b.Skip("needs the right to load programs into the kernel: ", err)
	}
	defer table.Close()
	networks := []*testbed.Network{
		{Name: "wlan0", Client4: netip.MustParseAddr("10.1.0.2"), Client6: netip.MustParseAddr("2001:db8:1::2")},
		{Name: "wwan0", Client4: netip.MustParseAddr("10.2.0.2"), Client6: netip.MustParseAddr("2001:db8:2::2")},
	}
	d := &networkDecider{}
	d.network.Store(networks[0])
	e := New(Options{Decider: d})
	e.table, e.answers = table, newAnswers()

	for i := range 50 {
		s, _ := compile(&config.Scope{Name: fmt.Sprint("scope", i)}, uint32(i+1))
		e.scopes = append(e.scopes, s)
		for j := range 100 {
			e.askOwn(s, hook.Key{Scope: s.id, Remote: destination(100*i + j), Protocol: hook.TCP}, policy.App{})
		}
	}
	for _, bb := range []struct {
		name string
		step int
	}{{"same", 0}, {"moved", 1}} {
		b.Run(bb.name, func(b *testing.B) {
			n, before := 0, cpu(b)
			for b.Loop() {
				n += bb.step
				d.network.Store(networks[n%2])
				e.budget = budget{}
				e.askAll()
				if len(e.stale) > 0 {
					b.Fatal("some answers are stale")
				}
			}
			b.ReportMetric(1000*(cpu(b)-before)/float64(b.N), "cpu-ms/op")
		})
	}
	if e.err != nil {
		b.Fatal(e.err)
	}
}

// cpu is the processor time of this process, in seconds.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
