package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policies"
)

// At start and at a reload, the log has the original's words if the file is one of the
// original, whose modules have titles of their own. Otherwise it has the policy's name.
func TestAnnouncements(t *testing.T) {
	const addresses = "Configured addresses:\n    AF_INET:\n        192.168.0.23 (default)\n    AF_INET6:\n        (none)\n"
	const prefix, original = "prefix \"192.168.0.0/24\" {\n  default = true\n}\n", "prefix 192.168.0.23/24 { enabled 1; set default 1; };\n"
	path := filepath.Join(t.TempDir(), "mamma.conf")
	configure := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(`policy "policy_video.so" { set logfile = "video.log"; set be_pessimist = 0; };` + original)
	var printed strings.Builder
	d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: policies.All(), Stdout: &printed}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	last := ""
	check := func(title, remarks string) {
		t.Helper()
		want := last + "Policy module \"" + title + "\" is loading.\n" + addresses + remarks + "Policy module \"" + title + "\" has been loaded.\n"
		if diff := cmp.Diff(want, printed.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", title, diff)
		}
		last = "Policy module \"" + title + "\" cleaned up.\n"
		printed.Reset()
	}
	check("video", "Logging to video.log\nBeing pessimist\n")
	for _, tt := range []struct{ text, title, remarks string }{
		{`policy "threshold_policy.so" { };` + original, "earliest arrival", ""},
		{`policy "/usr/local/lib/mam-policies/policy_earliest_arrival_static.so" { };` + original, "earliest arrival (static)", ""},
		{`policy "policy_sample" { };` + original, "sample", ""},
		{"policy \"threshold\" {\n  logfile = \"t.log\"\n}\n" + prefix, "threshold", "Logging to t.log\n"},
		{"policy \"video\" {\n}\n" + prefix, "video", "Not being pessimist\n"},
		{"policy \"policy_earliest_arrival\" {\n}\n" + prefix, "earliest_arrival", ""},
	} {
		configure(tt.text)
		if err := d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(tt.title, tt.remarks)
	}
	configure("policy \"threshold\" {\n  lgofile = 1\n}\n")
	if err := d.Reload(t.Context()); err == nil || printed.Len() > 0 {
		t.Errorf("a reload that fails: %v, and prints %q", err, printed.String())
	}
	// Without a policy, nothing is loaded, and the last policy has gone.
	configure(original)
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := last + "No policy is configured: every request is answered without a suggestion.\n"; printed.String() != want {
		t.Errorf("printed %q, want %q", printed.String(), want)
	}
}
