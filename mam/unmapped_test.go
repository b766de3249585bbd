package mam

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/internal/wire"
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
		if _, ok := r.transferred(id, unmapped.UID); ok {
			t.Error("what a connection has brought is noted")
		}
		if _, ok := r.used(&wire.LeaseUse{ID: id, Uses: 1}, unmapped.UID); ok {
			t.Error("the use of a lease is noted")
		}
		id = r.add(&Record{App: policy.App{UID: 0}})
		if _, ok := r.report(id, 0, Outcome{}); !ok {
			t.Error("root's is not noted")
		}
	})
}

// Nor does what such a user tells of datagrams count.
func TestFlowsOfUsersWithoutID(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		m := New(Options{OnFlow: func(f *FlowReport) { t.Errorf("passed on: %+v", f) }})
		m.Publish(host(takeFirst))
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}) // the daemon would listen in no folder of such a user
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { served <- NewServer(m).Serve(ctx, l) }()
		defer func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}()
		d := &daemon{Manager: m, path: path}
		flow := &wire.Flow{Index: 3, RTT: 12_000, MinRTT: 9_000, Sent: 240, Local: sockAddr("10.77.2.1:4000"), Remote: sockAddr("192.0.2.1:443")}
		if got := d.dial(t).ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, Flow: flow}); got.Action != wire.ActionReportResponse {
			t.Errorf("answer %+v", got)
		}
	})
}

// A decision belongs to its user. What others report on it does not count, whatever it is.
func TestReportsOfOthers(t *testing.T) {
	const own, other = 1000, 1001
	r := NewRing(4)
	id := r.add(&Record{App: policy.App{UID: own, PID: 1}})
	for uid, want := range map[uint32]bool{other: false, 0: false, own: true} {
		if _, ok := r.report(id, uid, Outcome{}); ok != want {
			t.Errorf("an outcome by user %d: %t", uid, ok)
		}
		if _, ok := r.used(&wire.LeaseUse{ID: id, Uses: 1}, uid); ok != want {
			t.Errorf("the use of a lease by user %d: %t", uid, ok)
		}
		if _, ok := r.transferred(id, uid); ok != want {
			t.Errorf("a transfer by user %d: %t", uid, ok)
		}
	}
	rec, _ := r.Get(id)
	if rec.Uses != 1 {
		t.Errorf("%d uses", rec.Uses)
	}
	id[15]++ // never given
	if _, ok := r.report(id, own, Outcome{}); ok {
		t.Error("an outcome of no decision is noted")
	}
}
