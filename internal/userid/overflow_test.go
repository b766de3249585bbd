package userid_test

import (
	"testing"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/internal/userid"
)

// Root of a host can choose the id that stands for users and groups without one.
func TestMovedOverflow(t *testing.T) {
	unmapped.Moved(t, func(t *testing.T) {
		for _, id := range []uint32{unmapped.MovedID, unmapped.UID} {
			if userid.Known(id) || userid.KnownGroup(id) {
				t.Errorf("%d is known", id)
			}
		}
		if !userid.Known(1000) || !userid.Trusted(0) || !userid.KnownGroup(1000) {
			t.Error("those with ids are not known")
		}
	})
}
