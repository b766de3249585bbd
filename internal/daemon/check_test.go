package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/network/netmon"
)

// The table lists the warnings of a start, on a laptop with wlan0 and wwan0.
func TestUnintended(t *testing.T) {
	for _, tt := range []struct {
		name, conf string
		want       []string // beginnings of what is behind the place, but for what no network matches
	}{
		{"a wide prefix with the loopback in it", "prefix \"64.0.0.0/2\" {\n  default = true\n}", []string{`prefix "64.0.0.0/2" matches no network of this host at the moment but its loopback`}},
		{"the loopback itself", "prefix \"127.1.0.0/16\" {\n  default = true\n}", []string{`prefix "127.1.0.0/16" is this host's loopback: connections`}},
		{"the loopback's interface", "interface \"lo\" {\n  default = true\n}", []string{`interface "lo" is this host's loopback, of which nothing is managed`}},
		{"half of the space", "prefix \"0.0.0.0/1\" {\n  default = true\n}", nil},
		{
			"two defaults that are not there", "interface \"eth7\" {\n  default = true\n}\ninterface \"eth8\" {\n  default = true\n}",
			[]string{`interface "eth8" is a second default, beside interface "eth7": where both are there, the first of them is used`},
		},
		{"two prefixes that are not there", "prefix \"198.51.100.0/25\" {\n  default = true\n}\nprefix \"203.0.113.0/24\" {\n  default = true\n}", []string{`prefix "203.0.113.0/24" is a second default, beside prefix "198.51.100.0/25"`}},
		{"IPv4 and IPv6", "prefix \"198.51.100.0/25\" {\n  default = true\n}\nprefix \"2001:db8:7::/48\" {\n  default = true\n}", nil},
		{"a pattern and a name in it", "interface \"eth*\" {\n  default = true\n}\ninterface \"eth8\" {\n  default = true\n}", nil},
		{"one of them is disabled", "interface \"eth7\" {\n  default = true\n}\ninterface \"eth8\" {\n  default = true\n  enabled = false\n}", []string{`interface "eth8" is the default and disabled`}},
		{"one is there", "interface \"wlan0\" {\n  default = true\n}\ninterface \"eth8\" {\n  default = true\n}", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, nets := parse(t, "policy \"sample\" {}\n"+tt.conf+"\n"), netmon.NewSnapshot(laptop())
			var got []string
			for _, w := range unintended(cfg, nets, manage(cfg, nets, nil)) {
				line, _, _ := strings.Cut(w, "\n")
				_, line, _ = strings.Cut(line, ": ")
				if n := len(got); n < len(tt.want) && strings.HasPrefix(line, tt.want[n]) {
					line = tt.want[n]
				}
				if !strings.HasSuffix(line, "matches no network of this host at the moment") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
