package system

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// The requirements of policy score also hold for sockets that programs have bound, and
// if no managed network is left. Another network of the kernel is then not used. A
// destination with a route of its own is left alone.
func TestRequire(t *testing.T) {
	const itself = "127.0.0.1:9" // nobody listens there
	for _, tt := range []struct {
		name, conf string
		// dials says how each destination is reached: by which network, or "refused", or
		// "alone" for an attempt that nothing prevents. The words wlan0, wwan0 and gateway
		// stand for addresses.
		dials map[string]string
	}{
		// The routes prefer wlan0, and there are no source rules.
		{"one of two", `policy "score" {
  minimize = 1
  require  = prefix.interface == "wwan0"
}
interface "wlan0" {
  default = true
}
interface "wwan0" {}
`, map[string]string{
			service: "wwan0", "from 0.0.0.0 " + service: "wwan0", "from wlan0 " + service: "refused", "from wwan0 " + service: "wwan0", itself: "alone",
		}},
		{"none is left", `policy "score" {
  minimize = 1
  require  = prefix.cost == "free"
}
interface "gone0" {}
`, map[string]string{
			service: "refused", "from 0.0.0.0 " + service: "refused", "from wlan0 " + service: "refused",
			"gateway:80": "wlan0", "from wlan0 gateway:80": "wlan0", itself: "alone",
		}},
		{"nothing is required", `policy "score" {
  minimize = 1
}
interface "gone0" {}
`, map[string]string{service: "wlan0", "from wlan0 " + service: "wlan0", "from 0.0.0.0 " + service: "wlan0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
			wlan := bed.Network("wlan0")
			addresses := strings.NewReplacer("wlan0", wlan.Client4.String(), "wwan0", bed.Network("wwan0").Client4.String(), "gateway", wlan.Gateway4.String())
			d := start(t, bed.Client, write(t, "policy.conf", tt.conf))
			c := startDialer(t, bed, d.socket)
			for line, want := range tt.dials {
				for _, calls := range []string{"", "bsd "} {
					r := c.ask(calls + addresses.Replace(line))
					got := "alone"
					if n := bed.NetworkOf(r.Local); n != nil {
						got = n.Name
					} else if r.Refused {
						got = "refused"
					}
					if got != want {
						t.Errorf("%s%s: %s, want %s: %+v\n%s", calls, line, got, want, r, d.Log)
					}
				}
			}
		})
	}
}
