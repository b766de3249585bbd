package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// buildPlugin builds the policy of examples/policy as its README says. It returns the
// path of the plugin.
func buildPlugin(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("building a plugin takes seconds: not in -short mode")
	}
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s to build a plugin: %v", tool, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ports.so")
	cmd := exec.Command("make", "-C", "../../examples/policy", "MAMMA=../..", "OUT="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	if err := os.Chmod(path, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

// A third party's plugin is loaded by its path, and by its name in the policy path. If
// others can write to the plugin, it is refused with a hint what to do.
func TestThirdPartyPlugin(t *testing.T) {
	stage.NeedsPlugins(t)
	path := buildPlugin(t)
	settings := `{
  ports     = ["80", "443"]
  interface = "lo"
}
prefix "127.0.0.0/8" {}
`
	for name, conf := range map[string]string{
		"by path": `policy "` + path + `" ` + settings,
		"by name": `policy_path = ["` + filepath.Dir(path) + `"]` + "\n" + `policy "ports" ` + settings,
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, nil, write(t, "policy.conf", conf))
			d.Out.Await(t, `Policy module "ports" has been loaded.`, 1)
			exchange(t, d.socket, connectRequest(t))
		})
	}
	t.Run("writable by others", func(t *testing.T) {
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		d := launch(t, nil, write(t, "policy.conf", `policy "`+path+`" `+settings))
		if status := d.Wait(t); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		d.Log.Await(t, "policy plugin "+path, 1)
		d.Log.Await(t, "chmod", 1)
	})
}
