package daemon

import (
	"path/filepath"
	"testing"
)

// Paths are absolute, because whoever reads them may be in another directory than the one
// in which the daemon was started.
func TestAbsolutePaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	o := Options{ConfigPath: "policy.conf", Socket: "./sub/../m.sock", Overrides: Overrides{CompatSocket: "off", CompatFIFO: "fifo"}}
	if err := o.absolute(); err != nil {
		t.Fatal(err)
	}
	if o.ConfigPath != filepath.Join(dir, "policy.conf") || o.Socket != filepath.Join(dir, "m.sock") || o.Control != "" {
		t.Errorf("%q, %q, %q", o.ConfigPath, o.Socket, o.Control)
	}
	if want := (Overrides{CompatSocket: "off", CompatFIFO: filepath.Join(dir, "fifo")}); o.Overrides != want {
		t.Errorf("%+v, want %+v", o.Overrides, want)
	}
}
