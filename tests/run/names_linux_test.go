package run

import (
	"fmt"
	"testing"
)

// A query to a name server that belongs to one network leaves by that network,
// whatever the intents say.
func TestNameServers(t *testing.T) {
	require(t, "dig")
	w := newWorld(t)
	for _, network := range []string{"wwan0", "wlan0"} {
		n := w.Network(network)
		n.Server.DNS.Forget()
		for _, set := range []string{"category=query", "category=bulktransfer"} {
			out, errs, status := w.output(t, w.command(root, "--intents", set, "--", "dig", "+tries=1", "@"+n.Gateway4.String(), "www.example.net"))
			if status != 0 {
				t.Errorf("%s: status %d\n%s%s", network, status, out, errs)
			}
		}
		from := []string{}
		for _, q := range n.Server.DNS.Queries() {
			from = append(from, q.Remote.Addr().String())
		}
		if want := []string{n.Client4.String(), n.Client4.String()}; fmt.Sprint(from) != fmt.Sprint(want) {
			t.Errorf("%s: queries from %v, want %v", network, from, want)
		}
	}
}
