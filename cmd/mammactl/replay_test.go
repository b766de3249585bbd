package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policy"
)

func TestReplay(t *testing.T) {
	prefix := &policy.Prefix{ID: policy.PrefixID{Interface: "wlan0"}, Interface: "wlan0", Default: true}
	r := &policy.Request{Kind: policy.Connect, Prefixes: []*policy.Prefix{prefix}, Now: now}
	var e decisionlog.Encoder
	text, err := e.Append(nil, "threshold", r, policy.Decision{Reason: "no reason"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "decisions.jsonl")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string // parts of the output
	}{
		{[]string{file, "--policy", "sample"}, exitOK, "1 decisions of threshold, replayed with sample: 0 the same", ""},
		{[]string{file, "--policy", "sample", "--json"}, exitOK, `{"summary":{"decisions":1,"same":0,`, ""},
		{[]string{file, "--policy", "smaple"}, exitError, "", `did you mean "sample"?`},
		{[]string{"none", "--policy", "sample"}, exitError, "", "no such file"},
		{[]string{file}, exitUsage, "", "replay needs --policy or --config"},
		{nil, exitUsage, "", "replay needs a file of decisions"},
	} {
		code, out, errs := mammactl(t.Context(), "no daemon", append([]string{"replay"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) {
			t.Errorf("%v: exit code %d, want %d\n%s%s", tt.args, code, tt.code, out, errs)
		}
	}
}
