package daemon

import "testing"

func TestStateDir(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
	if got := StateDir(""); got != "/var/lib/a" {
		t.Errorf("as systemd says: %s", got)
	}
	if got := StateDir("/x"); got != "/x" {
		t.Errorf("as configured: %s", got)
	}
}
