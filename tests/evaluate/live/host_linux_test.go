package live

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// A host over emulated links loads over the network that it is given, or as a policy
// says, on links that change and that its own programs share. Pages that load from
// other hosts are refused.
func TestHost(t *testing.T) {
	dir, err := os.MkdirTemp("", "host") // socket paths must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := stage.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c := simulate.Config{Cold: true, Paths: []simulate.Path{{Mbps: 4, RTT: 10 * time.Millisecond}, {Mbps: 20, RTT: 20 * time.Millisecond}}}
	for i, policy := range []string{"", "adaptive"} {
		h, err := NewHost(t.Context(), program, filepath.Join(dir, string(rune('a'+i))), c, policy, 1)
		if err != nil {
			testbed.SkipOrFail(t, err)
		}
		before := h.rig.Received()
		quick := h.Fetch(100e3)
		if after := h.rig.Received(); policy == "" && (after[0]-before[0] > 10e3 || after[1]-before[1] < 100e3) {
			t.Errorf("received %v, before %v", after, before)
		}
		h.Set(1, simulate.Path{Mbps: 1})
		stop := h.Start(simulate.Traffic{Path: 1, Flows: 1, Own: true})
		page := workload.Page{Objects: []workload.Object{{Size: 50e3, After: workload.None}, {Size: 50e3, After: 0}}}
		slow := h.Load(&page)
		stop()
		// 800 kbit at 1 Mbit/s; the policy has the other network, too.
		if err := h.Err(); err != nil || quick <= 0 || policy == "" && slow < 700*time.Millisecond || slow <= 0 {
			t.Errorf("policy %q: %v, then %v: %v", policy, quick, slow, err)
		}
		h.Start(simulate.Traffic{Path: 0, Flows: 1})
		if err := h.Err(); !errors.Is(err, ErrForeign) {
			t.Errorf("what other hosts load: %v", err)
		}
		if h.Fetch(1000) != 0 {
			t.Error("a host with an error loads")
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
