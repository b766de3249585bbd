package unixsocket

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestPeerGroups(t *testing.T) {
	got, err := PeerGroups(accepted(t))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs SO_PEERGROUPS (Linux 4.13):", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	mine, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	var want []uint32
	for _, g := range mine {
		want = append(want, uint32(g))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
