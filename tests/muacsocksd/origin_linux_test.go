package muacsocksd

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// output runs a program on the host with the two networks.
func (w *world) output(t *testing.T, program string, args ...string) (pid int, out []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := w.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s%s\n%s", cmd, err, stdout.Bytes(), stderr.Bytes(), w.log)
	}
	return cmd.Process.Pid, stdout.Bytes()
}

// origin is what mammactl shows about the origin of a request.
type origin struct {
	UID     *int    `json:"uid"`
	PID     *int    `json:"pid"`
	Command *string `json:"command"`
	Source  *string `json:"source"`
}

// lastOrigin asks mammactl about the last decision.
func (w *world) lastOrigin(t *testing.T) (got origin) {
	t.Helper()
	control := filepath.Join(filepath.Dir(w.daemon.Socket), "control.sock")
	_, out := w.output(t, filepath.Join(bin, "mammactl"), "--control", control, "decisions", "--json")
	var last struct {
		Decision struct {
			App    struct{ Command *string }
			Origin *origin
		}
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	d := last.Decision
	if d.App.Command == nil || *d.App.Command != "muacsocksd" || d.Origin == nil {
		t.Fatalf("no origin in\n%s", out)
	}
	return *d.Origin
}

// Mamma knows for whom muacsocksd asks, and where the intents come from.
func TestOrigin(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	for _, tt := range []struct {
		name, conf string
		process    bool // is known of those too who are asked for no name
	}{
		{"nobody asks", "", false},
		{"a rule asks", "intents \"x\" {\n process = \"other\"\n set = \"filesize=1\"\n}\n", true},
		{"identify", "identify = true\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}}, policy, socksConf+tt.conf)
			for _, given := range []struct{ args, source string }{
				{"", ""},
				{"category=bulktransfer:x", "client"},
				{"loader:x", "rule downloads"},
				{"loader,filesize=3M:x", "client, rule downloads"},
			} {
				args := []string{"--silent", "--show-error", "--fail", "--max-time", "20", "--output", "/dev/null", "--proxy", "socks5h://" + listen}
				if given.args != "" {
					args = append(args, "--proxy-user", given.args)
				}
				pid, _ := w.output(t, curl, append(args, "http://192.0.2.1/")...)
				want := origin{}
				if given.source != "" {
					want.Source = &given.source
				}
				got := w.lastOrigin(t)
				// A client that offers a password may be a program that cannot do
				// otherwise. Its process shows that.
				if known := tt.process || given.args != ""; known != (got.PID != nil) {
					t.Errorf("%q: the process is known: %v, want %v", given.args, !known, known)
				}
				if got.PID != nil {
					want.UID, want.PID, want.Command = new(os.Geteuid()), &pid, new("curl")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%q: (-want +got)\n%s", given.args, diff)
				}
			}
		})
	}
}
