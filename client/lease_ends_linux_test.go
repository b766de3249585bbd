package client

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

func TestLeaseEnds(t *testing.T) {
	short := func(f func(*wire.Lease)) func(*wire.Message) { return func(m *wire.Message) { f(m.Lease) } }
	for _, tt := range []struct {
		name   string
		change func(*wire.Message)
		event  func(*lessor) // happens between two dials
		asked  int           // questions for three dials
	}{
		{"nothing happens", nil, func(*lessor) {}, 1},
		{"the view", nil, func(l *lessor) { l.Page.Raise(generation.View) }, 3},
		{"its network", nil, func(l *lessor) { l.Page.Raise(2) }, 3},
		{"another network", nil, func(l *lessor) { l.Page.Raise(4) }, 1},
		{"the alternate", nil, func(l *lessor) { l.Page.Raise(3) }, 1},
		{"a measurement that does not matter", nil, func(l *lessor) { l.Page.Raise(generation.Measurements) }, 1},
		{"a measurement", func(m *wire.Message) { m.Lease.Measurements = 1 }, func(l *lessor) { l.Page.Store(generation.Measurements, 2) }, 3},
		{"uses", short(func(l *wire.Lease) { l.Uses = 1 }), func(*lessor) {}, 2},
		{"bytes", short(func(l *wire.Lease) { l.Bytes = 1500 }), func(*lessor) {}, 2},
		{"time", short(func(l *wire.Lease) { l.Milliseconds = 0 }), func(*lessor) {}, 3},
		{"none was granted", func(m *wire.Message) { m.Lease = nil }, func(*lessor) {}, 3},
		{"no id to report by", func(m *wire.Message) { m.DecisionID = uuid.Nil }, func(*lessor) {}, 3},
		{"an index that no page has", short(func(l *wire.Lease) { l.Networks[0].Index = 1 << 31 }), func(*lessor) {}, 3},
		{"no networks", short(func(l *wire.Lease) { l.Networks = nil }), func(*lessor) {}, 1},
		{"no leases are kept", nil, func(l *lessor) { l.dialer.Daemon.MaxLeases = -1 }, 3},
		{"closed", nil, func(l *lessor) { _ = l.dialer.Daemon.Close() }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := startLessor(t, tt.change)
			if tt.name == "no leases are kept" {
				l.dialer.Daemon.MaxLeases = -1
			}
			l.dialer.Intents = intent.Set{}.WithFileSize(1000)
			for range 3 {
				if info := l.dial(t, t.Context(), "tcp", l.address()); info.Source.String() != "127.0.0.2" {
					t.Errorf("from %v: %v", info.Source, info.Err)
				}
				tt.event(l)
			}
			if n := l.asked(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// An alternate that has failed meanwhile is not tried. The others keep their numbers.
func TestLeaseLeavesOutFailedAlternates(t *testing.T) {
	l := startLessor(t, func(m *wire.Message) {
		m.Context.OptionsSuggested = []wire.SockOpt{{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte("nosuchdevice")}} // fails at once
		m.Alternates = append(m.Alternates, wire.Alternate{Local: rawmanager.Addr("127.0.0.4"), Protocol: wire.ProtoTCP})
		m.Lease.Networks = append(m.Lease.Networks, wire.Generation{Index: 4, Value: 1})
	})
	ctx := t.Context()
	decide := func() *Decision {
		d, err := l.dialer.Decide(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(); len(d.plan.candidates) != 3 || d.plan.lease != nil {
		t.Fatalf("%d candidates", len(d.plan.candidates))
	}
	l.Page.Raise(3)
	d := decide()
	if d.plan.lease == nil || len(d.plan.candidates) != 2 || d.plan.candidates[1].index != 2 {
		t.Fatalf("candidates %+v", d.plan.candidates)
	}
	nc, err := d.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := InfoOf(nc)
	_ = nc.Close()
	if info.Candidate != 2 || info.Source.String() != "127.0.0.4" {
		t.Errorf("%v from %v", info.Candidate, info.Source)
	}
	// The first choice has failed, so the manager is asked about the next connection.
	if d := decide(); d.plan.lease != nil {
		t.Error("the lease is followed on")
	}
}

// A manager that is killed cannot end its leases. The end of its connection does.
func TestLeaseOfKilledManager(t *testing.T) {
	l := startLessor(t, nil)
	ctx := t.Context()
	l.dial(t, ctx, "tcp", l.address())
	l.Stop()
	l.dialer.Daemon.leases.alive = time.Time{} // a tenth of a second has passed
	if info := l.dial(t, ctx, "tcp", l.address()); info.Decided || info.Err == nil {
		t.Errorf("decided %v, because of %v", info.Decided, info.Err)
	}
}

// Another manager in its place has generations of its own, even if their numbers are
// equal.
func TestLeaseOfAnotherManager(t *testing.T) {
	l := startLessor(t, nil)
	ctx := t.Context()
	l.dial(t, ctx, "tcp", l.address())
	path := l.Path
	l.Stop()
	other := rawmanager.Start(t, path, false, rawmanager.Suggest("127.0.0.5"))
	if err := l.dialer.Daemon.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if info := l.dial(t, ctx, "tcp", l.address()); info.Source.String() != "127.0.0.5" || len(other.Requests()) != 1 {
		t.Errorf("from %v, the other one was asked %d times", info.Source, len(other.Requests()))
	}
}

// A failure is still reported at once and singly.
func TestLeaseFailure(t *testing.T) {
	l := startLessor(t, nil)
	closed := "127.0.0.1:1"
	for range 2 {
		_, _ = l.dialer.DialContext(t.Context(), "tcp", closed)
	}
	uses, connected := l.uses(t)
	failed := 0
	for _, m := range l.All() {
		if o := m.Outcome; o != nil && o.Candidate == 0 && o.Errno == int32(unix.ECONNREFUSED) {
			failed++
		}
	}
	if uses != 1 || connected != 0 || failed != 2 {
		t.Errorf("%d uses, %d connected, %d failures; want 1, 0, 2", uses, connected, failed)
	}
}

// If a manager hands over something other than a page, it grants no leases and does no
// harm.
func TestHostilePage(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	shrinks, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(shrinks) }()
	if err := unix.Ftruncate(shrinks, generation.Size); err != nil {
		t.Fatal(err)
	}
	for name, rights := range map[string][]byte{
		"device": unix.UnixRights(int(null.Fd())), "not sealed": unix.UnixRights(shrinks), "several": unix.UnixRights(int(null.Fd()), shrinks, shrinks),
		"nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/mamma.sock", Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			done := make(chan struct{})
			go func() {
				defer close(done)
				nc, err := ln.AcceptUnix()
				if err != nil {
					return
				}
				defer func() { _ = nc.Close() }()
				r := wire.NewReader(nc)
				answer := rawmanager.Suggest("127.0.0.2")
				for {
					var m wire.Message
					if r.Read(&m) != nil {
						return
					}
					if m.Action != wire.ActionErrorUnknownRequest {
						answer(&m)
						m.Lease = &wire.Lease{Milliseconds: 1 << 31}
					}
					m.Context.ID, m.Features, m.NoResolve, m.Leased = uuid.UUID{1}, features, false, nil
					b, err := m.Append(nil)
					if err != nil {
						return
					}
					if _, _, err := nc.WriteMsgUnix(b, rights, nil); err != nil {
						return
					}
				}
			}()
			d := &Daemon{Path: ln.Addr().String(), DecisionTimeout: 10 * time.Second}
			before := openFiles(t)
			for range 3 {
				dec, err := (&Dialer{Daemon: d}).Decide(t.Context(), "tcp", "127.0.0.1:80")
				if err != nil || dec.Err() != nil {
					t.Fatal(err, dec.Err())
				}
				if dec.plan.lease != nil {
					t.Error("a lease is followed")
				}
			}
			if n := openFiles(t) - before; n > 2 { // both ends of the connection
				t.Errorf("%d files more are open", n)
			}
			_ = d.Close()
			<-done
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestDialsGoOnWithoutTheExtension(t *testing.T) {
	dm := startFake(t, "", true, func(m *wire.Message) bool {
		m.Action = wire.ActionSocketConnectResponse
		m.Context.BindSuggested = rawmanager.Addr("127.0.0.2")
		m.Lease = &wire.Lease{Milliseconds: 1 << 30}
		return true
	})
	d := &Dialer{Daemon: &Daemon{Path: dm.path, DecisionTimeout: 10 * time.Second}}
	defer func() { _ = d.Daemon.Close() }()
	for range 2 {
		dec, err := d.Decide(t.Context(), "tcp", "127.0.0.1:80")
		if err != nil || dec.Err() != nil || dec.plan.lease != nil {
			t.Fatal(err, errors.Unwrap(err), dec)
		}
	}
	if n := len(dm.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}
