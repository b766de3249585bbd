package main

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// Figures that came back with an access point or a gateway are shown with their age, and
// those of the last minutes without it.
func TestKeptFigures(t *testing.T) {
	const minute = 60e3
	kept, recent, unmeasured := wlan4, wwan, wlan6
	kept.Path.SampleAgeMS, kept.Link.DownMaxAgeMS = known(180*minute), known(50*60*minute)
	recent.Path.SampleAgeMS, recent.Link.DownMaxAgeMS = known(9*minute), known(9*minute)
	unmeasured.Path.SampleAgeMS = known(180 * minute)
	f := newFake()
	f.answers["GET /v1/prefixes"] = control.Prefixes{Now: now, Prefixes: []control.Prefix{kept, recent, unmeasured}}
	code, out, errs := mammactl(t.Context(), serve(t, f), "prefixes")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	if want := "192.168.0.0/24 on wlan0 was measured before, at the same place: RTT 3 h 0 min old, MAX SEEN 2 d 2 h old\n"; !strings.Contains(out, want) || strings.Count(out, "measured before") != 1 {
		t.Errorf("not once %q:\n%s", want, out)
	}
}
