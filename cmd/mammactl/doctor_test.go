package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctor needs no daemon. It uses the configuration, and its exit status tells how
// serious the findings are. The findings themselves are tested in package doctor.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "policy.conf")
	if err := os.WriteFile(conf, []byte("policy \"sample\" {}\nprefix \"127.0.0.0/8\" {}\nprefix \"203.0.113.0/24\" {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "control.sock")
	code, out, errs := mammactl(t.Context(), absent, "doctor", "--config", conf)
	if code != 1 || errs != "" || !strings.Contains(out, "WARNING  prefix \"203.0.113.0/24\": the block matches no network") || !strings.Contains(out, conf+":3") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	code, out, _ = mammactl(t.Context(), absent, "doctor", "--json", "--config", conf)
	var r struct {
		Findings []struct{ Severity, Check, Subject string }
		Passed   int
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || len(r.Findings) == 0 || r.Findings[0].Severity != "warning" || r.Passed == 0 {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	code, out, errs = mammactl(t.Context(), absent, "doctor", "--config", filepath.Join(dir, "none.conf"))
	if code != exitNoChecks || out != "" || !strings.HasPrefix(errs, "mammactl: read configuration: ") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if code, _, errs = mammactl(t.Context(), absent, "doctor", "more"); code != exitUsage || !strings.Contains(errs, "doctor --help") {
		t.Errorf("code %d\n%s", code, errs)
	}
}

// doctor tells what the running mamma says about the scopes of the configuration.
func TestDoctorOnScopes(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "mamma.conf")
	if err := os.WriteFile(conf, []byte("scope \"backup\" {\n  unit = \"backup.service\"\n}\nprobe {\n  when = \"never\"\n}\ninterface \"lo\" {\n  on_down = \"reset\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake()
	s := scopes()
	s.Scopes[0].Name, s.Scopes[0].Groups, s.Error = "backup", nil, nil
	f.answers["GET /v1/scopes"] = s
	_, out, errs := mammactl(t.Context(), serve(t, f), "doctor", "--config", conf)
	for _, want := range []string{`scope "backup": the scope matches no control group`, "systemd-cgls", `interface "lo": mamma sends no probes`} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q\n%s%s", want, out, errs)
		}
	}
}
