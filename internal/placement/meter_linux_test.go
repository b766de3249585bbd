package placement

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/sockdiag"
)

// each asks about connections one by one.
func each(get func(remote netip.AddrPort, cookie uint64) (sockdiag.Socket, error)) func([]sockdiag.Query) []sockdiag.Answer {
	return func(list []sockdiag.Query) (answers []sockdiag.Answer) {
		for _, q := range list {
			s, err := get(q.Remote, q.Cookie)
			answers = append(answers, sockdiag.Answer{Socket: s, Err: err})
		}
		return answers
	}
}

// A connection is looked at until it ends, less and less often. The number of its bytes
// is learnt.
func TestMeter(t *testing.T) {
	remote := netip.MustParseAddrPort("192.0.2.1:443")
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		gone  bool   // the kernel forgets it at once
		rate  uint64 // bytes a second
		want  string
		looks [2]int // at least and at most, for each connection
	}{
		{"a large file", 100 * time.Second, false, 10e6, "category=bulktransfer", [2]int{20, 60}},
		{"a call that the kernel forgets", 2 * time.Second, true, 1000, "category=query", [2]int{10, 40}},
		{"hours of nearly nothing", 5 * time.Hour, false, 10, "category=keepalives", [2]int{100, 400}},
		{"over before it was looked at", 5 * time.Millisecond, true, 1e6, "", [2]int{1, 1}},
		{"carried nothing", time.Minute, false, 0, "", [2]int{10, 60}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := habits.Defaults()
				s.HalfLife = 1000 * time.Hour
				learner := habits.New(s)
				looks := 0
				begun := time.Now()
				m := &meter{wake: make(chan struct{}, 1), get: each(func(to netip.AddrPort, cookie uint64) (sockdiag.Socket, error) {
					looks++
					if to != remote || cookie != 7 {
						t.Errorf("asked for %v, %d", to, cookie)
					}
					age := time.Since(begun)
					socket := sockdiag.Socket{State: tcpEstablished, Inode: 1, Counted: true, Received: uint64(min(age, tt.lasts).Seconds() * float64(tt.rate))}
					switch {
					case age < tt.lasts:
						return socket, nil
					case tt.gone:
						return sockdiag.Socket{}, sockdiag.ErrNotFound
					}
					socket.Inode = 0
					return socket, nil
				})}
				done, stopped := make(chan struct{}), make(chan struct{})
				go func() { defer close(stopped); m.run(done) }()
				const connections = 3
				for range connections {
					m.mu.Lock() // it asks with the lock held
					begun = time.Now()
					m.mu.Unlock()
					m.add(&carried{learner: learner, remote: remote, cookie: 7, begun: begun})
					time.Sleep(tt.lasts*5/4 + meterMost)
				}
				close(done)
				<-stopped
				if n := looks / connections; n < tt.looks[0] || n > tt.looks[1] {
					t.Errorf("looked %d times", n)
				}
				set := learner.Typical(destOf(remote))
				category, _ := set.Category()
				got := ""
				if _, known := set.Category(); known {
					got = "category=" + category.String()
				}
				if got != tt.want {
					t.Errorf("%s (%v), want %s", got, set, tt.want)
				}
				if size, known := set.FileSize(); known {
					if whole := tt.lasts.Seconds() * float64(tt.rate); float64(size) < 0.75*whole || float64(size) > whole+1 {
						t.Errorf("size %d of %.0f", size, whole)
					}
				}
			})
		})
	}
}

// The bytes of connections that are open when the programs end are learnt, too.
func TestOpenConnectionsAreLearntAtTheEnd(t *testing.T) {
	learner := habits.New(habits.Defaults())
	m := &meter{wake: make(chan struct{}, 1), get: each(func(netip.AddrPort, uint64) (sockdiag.Socket, error) {
		return sockdiag.Socket{Counted: true, Sent: 1000}, nil
	})}
	remote := netip.MustParseAddrPort("192.0.2.1:443")
	for range maxMetered + 1 {
		m.add(&carried{learner: learner, remote: remote, begun: time.Now()})
	}
	if len(m.list) != maxMetered {
		t.Errorf("%d are looked at", len(m.list))
	}
	m.end(time.Now())
	if size, _ := learner.Typical(destOf(remote)).FileSize(); size != 1000 {
		t.Errorf("size %d", size)
	}
	m.add(&carried{learner: learner, remote: remote, begun: time.Now()})
	if len(m.list) != 0 {
		t.Error("it goes on after its end")
	}
}
