package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// named is a daemon whose configuration names the networks, and a program that says
// which networks it wants.
func named() *fake {
	f := newFake()
	home, mobile := wlan4, wwan
	home.Name, mobile.Name = known("home"), known("mob\x1b[2Jile")
	f.answers["GET /v1/prefixes"] = control.Prefixes{Now: now, Prefixes: []control.Prefix{home, mobile, wlan6}}
	list := decisions()[:2]
	chosen := *toWwan
	chosen.Name = known("mobile")
	list[0].Chosen, list[0].Only, list[0].Selection = &chosen, true, known("require network mobile, avoid cost expensive")
	f.answers["GET /v1/decisions"] = control.Decisions{Now: now, Last: 2, Complete: true, Decisions: list}
	e := explanation()
	e.Decision.Chosen, e.Decision.Only, e.Decision.Selection = list[0].Chosen, true, list[0].Selection
	f.answers["POST /v1/explain"] = e
	return f
}

func TestNamedScreens(t *testing.T) {
	path := serve(t, named())
	for name, args := range map[string][]string{
		"prefixes-named": {"prefixes"}, "decisions-named": {"decisions"}, "explain-named": {"explain", "www.example.net:443"},
	} {
		code, out, errs := mammactl(t.Context(), path, args...)
		if code != exitOK || errs != "" {
			t.Fatalf("exit code %d, %s", code, errs)
		}
		golden(t, name, out)
	}
}

// The flags become the question's selection, in their order.
func TestSelectionFlags(t *testing.T) {
	f := newFake()
	path := serve(t, f)
	if code, _, errs := mammactl(t.Context(), path, "explain", "host", "--require", "network=a=b", "--avoid", "cost=metered", "--require=interface=wlan0", "--prohibit", "cost=expensive", "--prefer", "network=home"); code != exitOK {
		t.Fatal(errs)
	}
	var q control.Question
	text := <-f.asked
	if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '{'):]), &q); err != nil {
		t.Fatal(text, err)
	}
	want := []control.Preference{
		{Want: "require", Kind: "network", Name: "a=b"}, {Want: "avoid", Kind: "cost", Name: "metered"}, {Want: "require", Kind: "interface", Name: "wlan0"},
		{Want: "prohibit", Kind: "cost", Name: "expensive"}, {Want: "prefer", Kind: "network", Name: "home"},
	}
	if diff := cmp.Diff(want, q.Selection); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for value, want := range map[string]string{
		"home":         `must be interface=NAME, network=NAME or cost=WORD, not "home"`,
		"colour=green": `must be interface=NAME, network=NAME or cost=WORD, not "colour=green"`,
		"network=":     "the name is missing",
		"cost=dear":    `a cost is one of free, metered, expensive, not "dear"`,
	} {
		if code, _, errs := mammactl(t.Context(), path, "explain", "host", "--prefer", value); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %q", value, code, errs)
		}
	}
}

// Completion offers costs, and the networks that the daemon knows. Without a daemon it
// offers costs only.
func TestSelectionCompletion(t *testing.T) {
	f := named()
	for _, tt := range []struct{ path, begun, want string }{
		{serve(t, f), "", "cost=expensive cost=free cost=metered interface=wlan0 interface=wwan0 network=home network=mob?[2Jile"},
		{serve(t, f), "network=h", "network=home"},
		{t.TempDir() + "/none", "cost=", "cost=expensive cost=free cost=metered"},
	} {
		_, out, _ := mammactl(t.Context(), tt.path, "__complete", "explain", "--require", tt.begun)
		lines := strings.Split(out, "\n")
		if got := strings.Join(lines[:max(0, len(lines)-2)], " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.begun, got, tt.want)
		}
	}
}
