package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
)

// "hosts dump" needs no daemon, and its output can be parsed. Its contents are tested
// in package hostfile's tests and in tests/hosts.
func TestHostsDump(t *testing.T) {
	for _, args := range [][]string{{"hosts", "dump"}, {"hosts", "dump", "--as-is"}} {
		code, out, errs := mammactl(t.Context(), "/nowhere", args...)
		if code != exitOK || errs != "" || !strings.HasPrefix(out, "# A host") {
			t.Errorf("%q: code %d, %s\n%s", args, code, errs, out)
		}
		if _, err := hostfile.Parse([]byte(out), "dump"); err != nil {
			t.Errorf("%v in\n%s", err, out)
		}
	}
	code, out, errs := mammactl(t.Context(), "/nowhere", "hosts", "dump", "--json")
	var h hostfile.Host
	if err := json.Unmarshal([]byte(out), &h); err != nil || code != exitOK || errs != "" || h.Title == "" {
		t.Errorf("code %d, %v, %s\n%s", code, err, errs, out)
	}
	if code, _, errs := mammactl(t.Context(), "/nowhere", "hosts", "dunp"); code != exitUsage || !strings.Contains(errs, `unknown command "dunp", did you mean "dump"?`) && !strings.Contains(errs, "dump") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// An interface's name may contain whatever the kernel allows. A dump contains nothing
// that a terminal acts upon.
func TestHostsDumpIsClean(t *testing.T) {
	for _, json := range []bool{true, false} {
		var out strings.Builder
		a := &app{out: &out, json: json}
		if err := a.showHost(&hostfile.Host{Title: "wlan\u009b2J\u202e"}); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, "wlan") || strings.ContainsAny(text, "\u009b\u202e") {
			t.Errorf("json %v: %q", json, text)
		}
	}
}
