package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// buildStepping builds a daemon whose wall clock jumps by an hour, there and back and
// further, three times a second. No process may set the host's clock, so the jumps are
// compiled into time.Now, with which everything is built again.
func buildStepping(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("needs Go's sources: %v", err)
	}
	const here = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), here) != 1 {
		t.Skipf("needs a time.Now as Go 1.26 has it, with %q", here)
	}
	dir := t.TempDir()
	stepping := write(t, filepath.Join(dir, "time.go"), strings.Replace(string(source), here, here+"\tsec += [...]int64{0, 3600, -3600}[mono/300_000_000%3]\n", 1))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: stepping}})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "mamma")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-overlay", write(t, filepath.Join(dir, "overlay.json"), string(overlay)), "-o", program, "../../cmd/mamma")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}

// The time of day does not matter to how long things take. With a clock that jumps, nothing
// times out, no policy or network is found stuck, and dials are decided as usual.
func TestClockSteps(t *testing.T) {
	if os.Getenv(longEnv) == "" {
		t.Skipf("needs %s=1: builds Go's library and all else anew", longEnv)
	}
	d := start(t, options{program: buildStepping(t)}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stop := inLoop(2, load.dial)
	stopOthers := inLoop(1, func() error { return served(d.socket) })
	hours := regexp.MustCompile(`time=\d+-\d+-\d+T(\d\d):`)
	seen := map[string]bool{}
	for reloads := 1; len(seen) < 3; reloads++ {
		before := load.chosen.Load()
		stage.Until(t, "dials that the manager decides", func() bool { return load.chosen.Load() > before+20 })
		d.Signal(t, syscall.SIGHUP)
		d.Log.Await(t, "msg=reloaded", reloads)
		for _, m := range hours.FindAllStringSubmatch(d.Log.String(), -1) {
			seen[m[1]] = true
		}
	}
	if err := stop(); err != nil {
		t.Errorf("a dial failed: %v", err)
	}
	if err := stopOthers(); err != nil {
		t.Error(err)
	}
	if log := d.Log.String(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("complaints:\n%s", log)
	}
	if status, out := mammactl(t, d, 0, 0, "prefixes"); status != 0 || !strings.Contains(out, " up ") {
		t.Errorf("status %d\n%s", status, out)
	}
	d.stop(t)
}
