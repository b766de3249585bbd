package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// "networks --follow" prints the networks as they are, and then each change that
// matters for decisions. It prints nothing if only measurements have changed.
func TestFollowNetworks(t *testing.T) {
	f := newFake()
	first, louder, metered := wlan4, wlan4, wlan4
	first.Facts = []control.Fact{{Name: "signal", Value: "61 %", Source: "NetworkManager"}}
	louder.Facts = []control.Fact{{Name: "signal", Value: "64 %", Source: "NetworkManager"}}
	louder.Path.SRTTMinMS = known(1.5)
	metered.Facts = louder.Facts
	metered.Cost, metered.CostSource = "metered", known("NetworkManager")
	served := make(chan control.Prefix, 3)
	for _, p := range []control.Prefix{first, louder, metered} {
		served <- p
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.answers["GET /v1/prefixes"] = func() any {
		select {
		case p := <-served:
			return control.Prefixes{Now: now, Prefixes: []control.Prefix{p}}
		default:
			cancel() // everything before was printed
			return control.Prefixes{Now: now, Prefixes: []control.Prefix{metered}}
		}
	}
	change := control.Event{Type: control.EventPrefix, Time: now, Prefix: &control.PrefixChange{Change: "changed", Prefix: louder}}
	f.events, f.hold = []control.Event{change, change, change}, true
	code, out, errs := mammactl(ctx, serve(t, f), "networks", "-f", "--json")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), out)
	}
	for i, want := range []string{"free", "metered"} {
		var n networks
		if err := json.Unmarshal([]byte(lines[i]), &n); err != nil || len(n.Networks) != 1 || n.Networks[0].Cost != want {
			t.Errorf("line %d: %v\n%s", i, err, lines[i])
		}
	}
}
