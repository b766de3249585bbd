package live

import (
	"os"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func TestMain(m *testing.M) {
	if actor, err := stage.Act(Jobs()); actor {
		if err != nil {
			panic(err)
		}
		return
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(m.Run())
}

func newRig(t *testing.T, paths []Path, policies ...Policy) *Rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "live") // socket paths must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := stage.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRig(t.Context(), program, dir, paths, policies)
	if err != nil {
		testbed.SkipOrFail(t, err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Each way loads a page over the networks that it should use, in about the time that
// the links need.
func TestPage(t *testing.T) {
	if raceDetector {
		t.Skip("emulated links keep no time under the race detector: needs a run without it, as make check does")
	}
	r := newRig(t, []Path{{Mbps: 20, RTT: 10 * time.Millisecond}, {Mbps: 40, RTT: 40 * time.Millisecond}},
		Policy{Name: "rr", Policy: "rr_naive"}, Policy{Name: "adaptive", Policy: "adaptive"})
	if err := r.Warm(300 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	page := workload.P1()
	for _, tt := range []struct {
		way   Way
		least [2]int // objects by network
	}{
		{r.One(0), [...]int{44, 0}}, {r.One(1), [...]int{0, 44}}, {r.Asked("rr", New), [...]int{10, 10}},
		{r.Asked("adaptive", Asked), [...]int{1, 1}},
	} {
		before := r.Received()
		var got Loaded
		if err := r.Actor.Do("page", PageJob{Way: tt.way, Server: r.Server, Page: page}, &got); err != nil {
			t.Fatal(err)
		}
		var nets [2]int
		reused := 0
		for _, o := range got.Objects {
			nets[o.Net]++
			if o.Reused {
				reused++
			}
		}
		after := r.Received()
		bytes := after[0] + after[1] - before[0] - before[1]
		t.Logf("%-10s %.3f s, objects %v, %d reused, %d bytes, decision %.0f us", tt.way.Name, got.Seconds, nets, reused, bytes, got.DecisionMicros)
		if nets[0] < tt.least[0] || nets[1] < tt.least[1] || bytes < 900e3 || got.Seconds < 0.15 || reused == 0 && tt.way.Kind != Asked {
			t.Errorf("%s: %.3f s, objects %v, %d reused, %d bytes", tt.way.Name, got.Seconds, nets, reused, bytes)
		}
	}
	// Of many objects at once, perhaps none finds an idle connection. Of two objects in
	// a row, the second does.
	two := workload.Page{Objects: []workload.Object{{Size: 3000, After: workload.None}, {Size: 2000, After: 0}}}
	var got Loaded
	if err := r.Actor.Do("page", PageJob{Way: r.Asked("adaptive", Asked), Server: r.Server, Page: two}, &got); err != nil {
		t.Fatal(err)
	}
	if !got.Objects[1].Reused || got.DecisionMicros == 0 {
		t.Errorf("one after the other: %+v", got)
	}
}

// Short versions of the other programs end and report what they did.
func TestPrograms(t *testing.T) {
	r := newRig(t, []Path{{Mbps: 10, RTT: 10 * time.Millisecond}, {Mbps: 10, RTT: 20 * time.Millisecond}}, Policy{Name: "video", Policy: "video"})
	v := workload.V()
	v.Length, v.Segment, v.AudioEvery = 2*time.Second, 400*time.Millisecond, 300*time.Millisecond
	var w Watched
	if err := r.Actor.Do("video", VideoJob{Way: r.Asked("video", Asked), Server: r.Server.Address, Video: v, Algorithm: "bola"}, &w); err != nil {
		t.Fatal(err)
	}
	if len(w.Segments) != 5 || w.Judgement.MOS < 1 || w.Judgement.MOS > 5 {
		t.Errorf("%+v", w)
	}
	var m Messages
	if err := r.Actor.Do("messages", MessagesJob{Way: r.One(1), Server: r.Server.Address, Bulk: 1_000_000, Message: 1000, Every: 0.1}, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Latencies) < 3 || m.BulkSeconds < 0.7 || m.BulkNet != 1 || m.MessageNets[0] != 1 {
		t.Errorf("%+v", m)
	}
	if err := r.Actor.Do("video", VideoJob{Way: r.One(0), Server: r.Server.Address, Video: v, Algorithm: "none"}, &w); err == nil {
		t.Error("an unknown player gives no error")
	}
	small := workload.Page{Objects: []workload.Object{{Size: 3000, After: workload.None}, {Size: 2000, After: 0}}}
	var over Loaded
	if err := r.Actor.Do("page", PageJob{Way: r.One(1), Server: r.Secure, Page: small}, &over); err != nil {
		t.Fatal(err)
	}
	if !over.Objects[1].Reused || over.Objects[0].End < 0.08 { // four round trips
		t.Errorf("over TLS: %+v", over)
	}
	if err := r.Actor.Do("page", PageJob{Way: r.Plain(First, "first"), Server: r.Server, Page: small}, &over); err != nil {
		t.Fatal(err)
	}
	if over.Objects[1].Reused || over.Objects[1].Net < 0 {
		t.Errorf("first to connect: %+v", over)
	}
	lost := r.Asked("video", Asked)
	lost.Socket += ".gone"
	if err := r.Actor.Do("page", PageJob{Way: lost, Server: r.Server, Page: small}, &over); err == nil {
		t.Error("a page without the daemon that was to be asked gives no error")
	}
	if r.MPTCP != nil {
		t.Skipf("needs a kernel with MPTCP: %v", r.MPTCP)
	}
	before := r.Received()
	var page Loaded
	p := workload.Page{Objects: []workload.Object{{Size: 2_000_000, After: workload.None}}}
	if err := r.Actor.Do("page", PageJob{Way: r.Plain(Two, "mptcp"), Server: r.Server, Page: p}, &page); err != nil {
		t.Fatal(err)
	}
	if after := r.Received(); after[0]-before[0] < 500e3 || after[1]-before[1] < 500e3 {
		t.Errorf("MPTCP loaded %d and %d bytes by network, in %.2f s", after[0]-before[0], after[1]-before[1], page.Seconds)
	}
}
