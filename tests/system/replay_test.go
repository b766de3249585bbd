package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mammactl can replay with another policy what the daemon has recorded.
func TestRecordAndReplay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.jsonl")
	d := start(t, nil, write(t, "policy.conf", loopbackConf+`decisions {
  record = "`+file+`"
}
`))
	for range 3 {
		exchange(t, d.socket, connectRequest(t))
	}
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	for name, want := range map[string]string{
		"sample":  "3 decisions of sample, replayed with sample: 3 the same (100.0 %), 0 differ\n",
		"intents": "3 decisions of sample, replayed with intents: 3 the same (100.0 %), 0 differ\n",
	} {
		out, err := exec.Command(filepath.Join(bin, "mammactl"), "replay", file, "--policy", name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", name, err, out)
		}
	}
}
