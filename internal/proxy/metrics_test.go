package proxy

import (
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/socks"
)

// An interface can have nearly any bytes for a name. Its traffic is shown all the same.
func TestMetricsOfAnyInterface(t *testing.T) {
	m := newMetrics(func() int { return 0 }, func() bool { return true })
	for _, device := range []string{"wlan0", "\xff\xfe", "a\x1b[2Jb", "\"\\\n"} {
		ss := &socks.Session{Request: &socks.Request{Command: socks.CommandConnect, Data: &details{device: device, source: netip.MustParseAddr("192.0.2.1")}}}
		m.established(ss)
		m.ended(ss, socks.Succeeded)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, f := range families {
		if f.GetName() == metricSent {
			shown = len(f.GetMetric())
		}
	}
	if shown != 4 {
		t.Errorf("of 4 interfaces, %d are shown", shown)
	}
}
