package mptcp

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCounters(t *testing.T) {
	const text = "TcpExt: SyncookiesSent Fallback\nTcpExt: 1 2\n" +
		"MPTcpExt: MPCapableSYNRX MPCapableSYNTX MPCapableFallbackACK MPCapableFallbackSYNACK MPJoinSynRx MPJoinSynTx DssFallback FallbackFailed NewOne\n" +
		"MPTcpExt: 1 7 0 3 4 5 2 9\n"
	want := Counters{
		Opened: 7, Accepted: 1, NoPeer: 3, JoinsSent: 5, JoinsReceived: 4,
		Fallbacks: map[string]uint64{"MPCapableFallbackSYNACK": 3, "DssFallback": 2},
	}
	got, err := parseCounters(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := parseCounters(strings.NewReader("TcpExt: a\nTcpExt: 1\n")); !errors.Is(err, errNoCounters) {
		t.Errorf("a kernel without MPTCP: %v", err)
	}
	if _, err := parseCounters(strings.NewReader("MPTcpExt: a\nMPTcpExt: x\n")); err == nil {
		t.Error("nonsense: no error")
	}
}
