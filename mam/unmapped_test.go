package mam

import (
	"testing"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/policy"
)

// If the kernel does not tell users apart, nobody may report on a decision, because it
// could be another user's.
func TestReportsOfUsersWithoutID(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		r := NewRing(4)
		id := r.add(&Record{App: policy.App{UID: unmapped.UID}})
		if rec, ok := r.report(id, unmapped.UID, Outcome{}); ok {
			t.Errorf("noted: %+v", rec)
		}
		id = r.add(&Record{App: policy.App{UID: 0}})
		if _, ok := r.report(id, 0, Outcome{}); !ok {
			t.Error("root's is not noted")
		}
	})
}
