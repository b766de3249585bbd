package census

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const ms = time.Millisecond

var sameNetwork = cmp.Comparer(func(a, b policy.PrefixID) bool { return a == b })

// figures are what the kernel says of a connection in a pass.
type figures struct {
	bytes  uint64
	silent time.Duration
	rtt    time.Duration // 0: 20 ms
}

// of makes the connection of client's port 4711 with these figures.
func (f figures) of(inode uint32, cookie uint64) pathstat.Connection {
	c := conn(wlan, 4711, 1000, inode)
	c.Cookie, c.Received, c.Silent, c.RTT, c.MinRTT = cookie, f.bytes, f.silent, max(f.rtt, 20*ms), 15*ms
	return c
}

// repeat is n passes that find a connection silent for so long, with more bytes in each.
func repeat(n int, first, more uint64, silent time.Duration) (list []figures) {
	for i := range n {
		list = append(list, figures{bytes: first + uint64(i)*more, silent: silent})
	}
	return list
}

// distant is n passes that find nothing yet on a connection with long round trips.
func distant(n int) (list []figures) {
	for range n {
		list = append(list, figures{rtt: 500 * ms})
	}
	return list
}

func join(lists ...[]figures) (all []figures) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// What a connection brings is what comes until it ends, or until a pause. Nothing is
// learnt if program or server kept the network waiting. Passes are a tenth of a second
// apart, and the first one comes so long after the decision.
func TestTransfer(t *testing.T) {
	const closed, destroyed, open = "closed", "destroyed", "open"
	pause := []figures{{30_000, 100 * ms, 0}, {30_000, 500 * ms, 0}, {30_000, 900 * ms, 0}, {30_000, 1000 * ms, 0}}
	for _, tt := range []struct {
		name   string
		passes []figures
		end    string
		last   figures // the kernel's last word, if destroyed
		bytes  uint64  // 0: nothing is learnt
		took   time.Duration
	}{
		{"ends between two passes", repeat(3, 10_000, 10_000, 0), destroyed, figures{34_000, 30 * ms, 0}, 34_000, 320 * ms},
		{"is short, and over before its end", []figures{{10_000, 30 * ms, 0}}, destroyed, figures{10_001, 80 * ms, 0}, 10_000, 70 * ms},
		{"is too short", []figures{{10_000, 0, 0}}, destroyed, figures{12_000, 30 * ms, 0}, 0, 0},
		{"ends without a last word", []figures{{10_000, 0, 0}, {20_000, 10 * ms, 0}}, destroyed, figures{}, 20_000, 190 * ms},
		{"is closed, and the kernel still lists it", []figures{{10_000, 0, 0}, {20_000, 20 * ms, 0}}, closed, figures{25_000, 10 * ms, 0}, 25_000, 290 * ms},
		{"pauses", append(repeat(3, 10_000, 10_000, 0), pause...), open, figures{}, 30_000, 300 * ms},
		{"goes on after a short pause", join(repeat(3, 10_000, 10_000, 0), pause[:3], repeat(10, 40_000, 10_000, 0)), destroyed, figures{140_000, 0, 0}, 140_000, 1650 * ms},
		{"is long", repeat(300, 10_000, 10_000, 5*ms), destroyed, figures{3_010_000, 0, 0}, 3_010_000, 30050 * ms},
		{"goes on", repeat(300, 10_000, 10_000, 5*ms), open, figures{}, 0, 0},
		{"brings nothing", repeat(20, 0, 0, 0), destroyed, figures{}, 0, 0},
		{"brings nothing at first", join(repeat(12, 0, 0, 0), repeat(3, 10_000, 10_000, 0)), destroyed, figures{30_000, 0, 0}, 0, 0},
		{"brings nothing at first, over long round trips", join(distant(12), repeat(3, 10_000, 10_000, 0)), destroyed, figures{40_000, 0, 500 * ms}, 40_000, 1550 * ms},
		{"waits for its program", join(repeat(4, 1000, 400, 80*ms), repeat(4, 3000, 400, 10*ms)), destroyed, figures{5000, 0, 0}, 5000, 850 * ms},
		{"waits for its program often", join(repeat(8, 1000, 400, 250*ms), repeat(4, 5000, 400, 10*ms)), destroyed, figures{7000, 0, 0}, 0, 0},
		{"its server is slow now and then", join(repeat(4, 500_000, 500_000, 60*ms), repeat(20, 3_000_000, 500_000, 0)), destroyed, figures{13_000_000, 0, 0}, 13_000_000, 2450 * ms},
		{"its server is slow often", join(repeat(10, 500_000, 500_000, 60*ms), repeat(20, 6_000_000, 500_000, 0)), destroyed, figures{16_000_000, 0, 0}, 0, 0},
		{"a slow network delivers packet after packet", repeat(20, 1448, 1448, 90*ms), destroyed, figures{29_000, 60 * ms, 0}, 29_000, 1990 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			rec := b.decide(1000, "curl", wlan, wwan)
			b.report(rec, 0, 4711)
			for _, f := range tt.passes {
				b.kernel(f.of(77, 9))
			}
			switch tt.end {
			case closed:
				b.kernel(tt.last.of(0, 9))
			case destroyed:
				if tt.last != (figures{}) {
					last := tt.last.of(0, 9)
					b.Ended(wlan.ID, &last)
				}
				b.kernel()
			}
			if tt.end != open {
				b.kernel()
			}
			var want []Transfer
			if tt.bytes > 0 {
				want = append(want, Transfer{rec.ID, mam.Measurement{
					Over: wlan.ID, Bytes: tt.bytes, Duration: tt.took, RTT: max(tt.last.rtt, 20*ms), MinRTT: 15 * ms, End: rec.Time.Add(tt.took),
				}})
			}
			if diff := cmp.Diff(want, b.came, sameNetwork); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if tt.end != open && len(b.parting)+len(b.tracked)+len(b.byCookie) > 0 {
				t.Errorf("left: %v, %v, %v", b.tracked, b.byCookie, b.parting)
			}
		})
	}
}

// Figures of an earlier pass count for nothing. A pass asks for those of connections that are
// followed, and only for them, until their first burst is over.
func TestOldFigures(t *testing.T) {
	b := start(t)
	rec := b.decide(1000, "curl", wlan, wwan)
	b.report(rec, 0, 4711)
	pass := func(f figures, age time.Duration, want bool) {
		t.Helper()
		mine, other := f.of(77, 9), conn(wlan, 4712, 1000, 78)
		mine.Age = age
		b.now = b.now.Add(100 * ms)
		b.Begin()
		if got := b.Connection(wlan.ID, &mine); got != want {
			t.Errorf("%+v of %v ago: followed: %t", f, age, got)
		}
		if b.Connection(wlan.ID, &other) {
			t.Error("a connection is followed that nobody decided on")
		}
		b.End(b.now, true)
	}
	pass(figures{bytes: 5}, time.Second, true) // nothing is asked about it before
	pass(figures{bytes: 10_000}, 0, true)
	pass(figures{bytes: 20_000}, 0, true)
	pass(figures{bytes: 90_000}, time.Second, true)
	pass(figures{bytes: 20_000, silent: 2 * time.Second}, 0, true) // its burst is over
	pass(figures{bytes: 20_000, silent: 2 * time.Second}, 0, false)
	if len(b.came) != 1 || b.came[0].Bytes != 20_000 || b.came[0].Duration != 300*ms {
		t.Errorf("%+v", b.came)
	}
}

// A connection is followed only if somebody can learn from it.
func TestNotFollowed(t *testing.T) {
	for name, edit := range map[string]func(*mam.Record){
		"the client reports it":      func(r *mam.Record) { r.Transfers = true },
		"several networks":           func(r *mam.Record) { r.Decision.Multipath = true },
		"no preference":              func(r *mam.Record) { r.Decision.Prefix = nil },
		"bound by the application":   func(r *mam.Record) { r.Bound, r.BoundPrefix = wlan.Addr(), wlan.ID },
		"a stream":                   func(r *mam.Record) { r.Intents = r.Intents.WithCategory(intent.CategoryStream) },
		"at a bit rate":              func(r *mam.Record) { r.Intents = r.Intents.WithBitrateBitsPerSecond(1e6) },
		"nothing, but it is another": func(*mam.Record) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			rec := &mam.Record{
				Time: b.now, ID: uuid.New(), Kind: policy.SocketConnect, App: policy.App{UID: 1000, PID: 1}, Reports: true, Decision: policy.Decision{Prefix: wlan},
			}
			edit(rec)
			b.Decided(rec)
			b.report(rec, 0, 4711)
			other := figures{bytes: 5}.of(78, 10)
			other.UID = 1001 // has the same port, with another address
			b.kernel(other)
			b.Ended(wlan.ID, &other)
			if name != "nothing, but it is another" {
				b.kernel(figures{bytes: 5}.of(77, 9))
			}
			b.kernel()
			b.kernel()
			if len(b.came) != 0 {
				t.Errorf("%+v", b.came)
			}
		})
	}
}

// The kernel names the socket of a connection in a scope, and an original client names
// its file. Neither of them reports anything.
func TestUnreported(t *testing.T) {
	for name, edit := range map[string]func(*mam.Record){
		"a scope":            func(r *mam.Record) { r.Cookie = 9 },
		"an original client": func(r *mam.Record) { r.Inode = 77 },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			rec := &mam.Record{
				Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 1000, PID: 1, Command: "c"}, Decision: policy.Decision{Prefix: wwan},
			}
			edit(rec)
			b.Decided(rec)
			b.Decided(rec)
			for range 3 {
				b.kernel(figures{bytes: 1000}.of(77, 9)) // over another network than was decided
			}
			b.counts(1000, "c", 1, 1, 0, 0)
			last := figures{bytes: 3000, silent: 50 * ms}.of(0, 9)
			last.UID = 0
			b.Ended(wlan.ID, &last)
			b.kernel()
			b.over("c[1000] 0 over wlan0")
			want := []Transfer{{rec.ID, mam.Measurement{Over: wlan.ID, Bytes: 3000, Duration: 300 * ms, RTT: 20 * ms, MinRTT: 15 * ms, End: rec.Time.Add(300 * ms)}}}
			if diff := cmp.Diff(want, b.came, sameNetwork); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	t.Run("too short for any pass", func(t *testing.T) {
		b := start(t)
		scoped := &mam.Record{Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 1000, PID: 1}, Cookie: 9, Decision: policy.Decision{Prefix: wlan}}
		b.Decided(scoped)
		reported := b.decide(1000, "curl", wlan)
		b.report(reported, 0, 4711)
		first, second, foreign := figures{bytes: 10}.of(0, 9), figures{bytes: 20}.of(0, 10), figures{bytes: 30}.of(0, 11)
		foreign.UID = 1001
		b.now = b.now.Add(time.Second)
		b.Ended(wlan.ID, &foreign)
		b.Ended(wlan.ID, &first)
		b.Ended(wlan.ID, &second)
		b.kernel()
		slices.Sort(b.ended)
		b.over("[1000] 0 over wlan0", "curl[1000] 1 over wlan0")
		if len(b.came) != 0 {
			t.Errorf("%+v", b.came)
		}
	})
}

// What is kept of connections that are followed is as bounded as the connections are.
func TestTransferBounds(t *testing.T) {
	b := start(t)
	for i := range 2 * maxTrackedOfUser {
		rec := &mam.Record{Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 1000, PID: 1}, Cookie: uint64(i + 1), Decision: policy.Decision{Prefix: wlan}}
		b.Decided(rec)
	}
	if len(b.byCookie) != maxTrackedOfUser {
		t.Errorf("%d are followed", len(b.byCookie))
	}
	var list []pathstat.Connection
	for i := range 2 * maxTrackedOfUser {
		list = append(list, figures{bytes: 5}.of(uint32(i+1), uint64(i+1)))
	}
	b.kernel(list...)
	b.kernel()
	if len(b.byCookie) != 0 || len(b.parting) > maxTrackedOfUser {
		t.Errorf("%d are followed, %d have just ended", len(b.byCookie), len(b.parting))
	}
	b.kernel()
	if len(b.parting) != 0 || len(b.came) != maxTrackedOfUser {
		t.Errorf("%d have just ended, %d have brought something", len(b.parting), len(b.came))
	}
}

// Passes can be rare while nothing is expected, followed or over.
func TestFollowing(t *testing.T) {
	b := start(t)
	is := func(what string, want bool) {
		t.Helper()
		if b.Following() != want {
			t.Errorf("%s: following %v, want %v", what, b.Following(), want)
		}
	}
	is("at first", false)
	rec := b.decide(1000, "curl", wlan)
	is("a connection is expected", true)
	b.kernel()
	is("it is not there yet", true)
	b.report(rec, 0, 4711)
	c := conn(wlan, 4711, 1000, 77)
	c.Received, c.Cookie = 100_000, 9
	b.kernel(c)
	is("it brings something", true)
	for range 20 {
		c.Silent += 100 * time.Millisecond
		b.kernel(c)
	}
	is("it has paused", false)
	b.kernel(c)
	b.Ended(wlan.ID, &c)
	is("it has ended", true)
	b.kernel()
	is("that is known", false)
}
