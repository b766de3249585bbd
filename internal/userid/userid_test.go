package userid_test

import (
	"os"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/internal/userid"
)

// Where everybody has the same id, nobody is known by it, this process neither.
func TestUnmapped(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		if userid.Known(unmapped.UID) || userid.Own(unmapped.UID) || userid.Trusted(unmapped.UID) {
			t.Error("somebody without an id is known")
		}
		if !userid.Trusted(0) {
			t.Error("root is not trusted")
		}
	})
}

func TestOwn(t *testing.T) {
	own := uint32(os.Geteuid())
	if !userid.Trusted(own) || !userid.Known(own) {
		t.Errorf("user %d does not know itself", own)
	}
	if other := own + 4711; userid.Own(other) || userid.Trusted(other) {
		t.Errorf("user %d is trusted", other)
	}
}
