package client

import (
	"fmt"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

func TestCandidateString(t *testing.T) {
	for c, want := range map[Candidate]string{FirstChoice: "first choice", 2: "alternate 2", PlainDial: "plain dial"} {
		if got := fmt.Sprint(c); got != want {
			t.Errorf("%d is %q, want %q", int(c), got, want)
		}
	}
}

func TestDecisionIDText(t *testing.T) {
	for id, want := range map[DecisionID]string{
		{}: "",
		{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 15: 0xff}: "01234567-89ab-cdef-0000-0000000000ff",
	} {
		if text, err := id.MarshalText(); id.String() != want || string(text) != want || err != nil || id.IsZero() != (want == "") {
			t.Errorf("%q, %q (%v), want %q", id, text, err, want)
		}
	}
}

// The constants, whose values are written out for the documentation, equal those of the
// protocol.
func TestConstants(t *testing.T) {
	if UnknownUID != wire.UnknownUID {
		t.Errorf("UnknownUID is %#x", UnknownUID)
	}
}
