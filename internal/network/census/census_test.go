package census

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

var (
	wlan = policytest.Prefix("wlan0", "192.0.2.7/24")
	wwan = policytest.Prefix("wwan0", "198.51.100.7/24")
	web  = netip.MustParseAddrPort("203.0.113.80:80")
)

// bench is a Census between a client and a kernel by script.
type bench struct {
	t *testing.T
	*Census
	now   time.Time
	n     uint64 // decisions so far
	ended []string
	came  []Transfer
}

func start(t *testing.T) *bench {
	b := &bench{t: t, now: policytest.Now()}
	b.Census = New(func(e Ended) {
		b.ended = append(b.ended, fmt.Sprintf("%s[%d] %d over %s", e.App.Command, e.App.UID, e.Token, e.Over.Interface))
	}, func(t Transfer) { b.came = append(b.came, t) })
	b.kernel()
	return b
}

// decide makes a decision for a user's program: the first prefix, then the others. The
// client will report. The number of the decision is the token.
func (b *bench) decide(uid uint32, command string, prefixes ...*policy.Prefix) *mam.Record {
	b.n++
	rec := &mam.Record{
		Time: b.now, Kind: policy.SocketConnect, App: policy.App{UID: uid, PID: 1, Command: command}, Reports: true, Policy: "p",
		Decision: policy.Decision{Token: b.n},
	}
	binary.BigEndian.PutUint64(rec.ID[8:], b.n)
	if len(prefixes) > 0 {
		rec.Decision.Prefix, rec.Decision.Alternates = prefixes[0], prefixes[1:]
	}
	b.Decided(rec)
	return rec
}

// report reports that a decision's connection came about over a candidate, from a port.
func (b *bench) report(rec *mam.Record, candidate int32, port uint16) {
	rec.Outcome = &mam.Outcome{Candidate: candidate, LocalPort: port}
	b.Reported(rec)
}

func (b *bench) failed(rec *mam.Record, candidate int32) {
	rec.Outcome = &mam.Outcome{Candidate: candidate, Errno: 111}
	b.Reported(rec)
}

// conn makes a connection as the kernel lists it.
func conn(p *policy.Prefix, port uint16, uid, inode uint32) pathstat.Connection {
	return pathstat.Connection{Local: netip.AddrPortFrom(p.Addr(), port), Remote: web, UID: uid, Inode: inode}
}

// kernel gives the census the result of a pass, a tenth of a second later.
func (b *bench) kernel(list ...pathstat.Connection) {
	b.Begin()
	b.list(list...)
	b.End(b.now, true)
}

func (b *bench) list(list ...pathstat.Connection) {
	b.now = b.now.Add(100 * time.Millisecond)
	for i := range list {
		over := wwan
		if wlan.Contains(list[i].Local.Addr()) {
			over = wlan
		}
		b.Connection(over.ID, &list[i])
	}
}

// counts checks what a user's program is told: first for wlan0, then for wwan0, how many
// connections the user has and how many the program has.
func (b *bench) counts(uid uint32, command string, want ...int) {
	b.t.Helper()
	var got []int
	for _, c := range b.Count(nil, []*policy.Prefix{wlan, wwan}, policy.App{UID: uid, PID: 1, Command: command}) {
		got = append(got, c.User, c.Program)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s of user %d: %v, want %v", command, uid, got, want)
	}
}

func (b *bench) over(want ...string) {
	b.t.Helper()
	if got := strings.Join(b.ended, ", "); got != strings.Join(want, ", ") {
		b.t.Errorf("ended: %s, want %s", got, strings.Join(want, ", "))
	}
	b.ended = nil
}

// A connection counts from its decision until its program has closed it. At any moment it
// counts once, and only for its own user and program.
func TestOneConnection(t *testing.T) {
	b := start(t)
	rec := b.decide(1000, "curl", wlan, wwan)
	b.counts(1000, "curl", 1, 1, 0, 0)
	b.kernel(conn(wlan, 4711, 1000, 77)) // listed before it is reported
	b.counts(1000, "curl", 1, 1, 0, 0)
	b.report(rec, 0, 4711)
	b.counts(1000, "curl", 1, 1, 0, 0)
	for range 2 {
		b.kernel(conn(wlan, 4711, 1000, 77))
		b.counts(1000, "curl", 1, 1, 0, 0)
		b.counts(1000, "wget", 1, 0, 0, 0)
		b.counts(1001, "curl", 0, 0, 0, 0)
	}
	b.over()
	b.kernel(conn(wlan, 4711, 0, 0)) // closed: nobody has it
	b.counts(1000, "curl", 0, 0, 0, 0)
	b.counts(0, "curl", 0, 0, 0, 0)
	b.over("curl[1000] 1 over wlan0")
	if len(b.tracked)+len(b.byPort)+len(b.byInode)+len(b.byCookie)+len(b.ofUser) != 0 {
		t.Errorf("left: %v, %v, %v, %v", b.tracked, b.byPort, b.byInode, b.byCookie)
	}
	b.kernel()
	if len(b.networks) != 0 {
		t.Errorf("left: %v", b.networks)
	}
}

// Connections about which nobody asked the manager count for their user.
func TestUnasked(t *testing.T) {
	b := start(t)
	b.kernel(conn(wlan, 1, 1000, 5), conn(wlan, 2, 1000, 6), conn(wwan, 3, 0, 7), conn(wwan, 4, 0, 0))
	b.counts(1000, "sh", 2, 0, 0, 0)
	b.counts(0, "sh", 0, 0, 1, 0)
	b.over()
}

// A connection that came about over another candidate counts for that network, and one that
// came about over none counts for none.
func TestOtherCandidates(t *testing.T) {
	b := start(t)
	second := b.decide(1000, "curl", wlan, wwan)
	b.failed(second, 0)
	b.counts(1000, "curl", 0, 0, 1, 1) // it is tried there now
	b.report(second, 1, 10)
	b.counts(1000, "curl", 0, 0, 1, 1)
	none := b.decide(1000, "curl", wlan, wwan)
	b.failed(none, 0)
	b.failed(none, 1)
	b.counts(1000, "curl", 0, 0, 1, 1)
	plain := b.decide(1000, "curl") // no preference
	b.counts(1000, "curl", 0, 0, 1, 1)
	b.report(plain, -1, 11)
	b.kernel(conn(wwan, 10, 1000, 1), conn(wlan, 11, 1000, 2))
	b.counts(1000, "curl", 1, 1, 1, 1)
	b.kernel(conn(wlan, 11, 1000, 2))
	b.over("curl[1000] 1 over wwan0")
	b.counts(1000, "curl", 1, 1, 0, 0)
}

// A decision without a report counts for ten seconds.
func TestNeverReported(t *testing.T) {
	b := start(t)
	b.decide(1000, "curl", wlan)
	for range 99 {
		b.kernel()
		b.counts(1000, "curl", 1, 1, 0, 0)
	}
	b.kernel()
	b.kernel()
	b.counts(1000, "curl", 0, 0, 0, 0)
	b.over()
}

// A decision counts for nothing if it does not lead to a new TCP connection of a known
// user.
func TestNoConnection(t *testing.T) {
	for name, edit := range map[string]func(*mam.Record){
		"datagram":       func(r *mam.Record) { r.Network.Transport = policy.Datagram },
		"resolve":        func(r *mam.Record) { r.Kind = policy.Resolve },
		"refused":        func(r *mam.Record) { r.Refused = true },
		"reused":         func(r *mam.Record) { r.Reused = true },
		"nobody":         func(r *mam.Record) { r.App = policy.App{} },
		"never reported": func(r *mam.Record) { r.Reports = false },
	} {
		b := start(t)
		rec := &mam.Record{Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 0, PID: 9}, Reports: true, Decision: policy.Decision{Prefix: wlan}}
		edit(rec)
		b.Decided(rec)
		if len(b.tracked) != 0 {
			t.Errorf("%s: tracked", name)
		}
		if rec.Outcome = (&mam.Outcome{LocalPort: 1}); name != "never reported" {
			if b.Reported(rec); len(b.tracked) != 0 {
				t.Errorf("%s: tracked when reported", name)
			}
		}
	}
}

// Clients of the original name their socket and report nothing.
func TestInode(t *testing.T) {
	b := start(t)
	ask := func() {
		rec := &mam.Record{Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 1000, PID: 9, Command: "c"}, Inode: 31, Decision: policy.Decision{Prefix: wlan}}
		b.Decided(rec)
	}
	ask()
	ask() // once more, as the first connect failed
	b.counts(1000, "c", 1, 1, 0, 0)
	b.kernel(conn(wlan, 5, 1000, 31), conn(wlan, 6, 1001, 31))
	b.counts(1000, "c", 1, 1, 0, 0)
	b.counts(1001, "c", 1, 0, 0, 0)
	b.kernel()
	b.over("c[1000] 0 over wlan0")
}

// Nobody can make connections of others count as their own, or count as ended.
func TestForeignClaims(t *testing.T) {
	b := start(t)
	theirs := conn(wlan, 80, 1001, 9)
	b.kernel(theirs)
	rec := b.decide(1000, "evil", wlan)
	b.report(rec, 0, 80)
	b.Decided(&mam.Record{Time: b.now, ID: uuid.New(), Kind: policy.Connect, App: policy.App{UID: 1000, PID: 9, Command: "evil"}, Inode: 9, Decision: policy.Decision{Prefix: wlan}})
	b.kernel(theirs)
	b.counts(1001, "evil", 1, 0, 0, 0)
	own := b.decide(1001, "good", wlan)
	b.report(own, 0, 80)
	b.kernel(theirs)
	b.counts(1001, "good", 1, 1, 0, 0)
	b.ended = nil
	b.kernel()
	b.over("good[1001] 2 over wlan0")
}

// A burst of decisions between two passes is spread correctly: each decision counts before
// the kernel shows its connection, and none counts twice afterwards.
func TestBurst(t *testing.T) {
	b := start(t)
	var list []pathstat.Connection
	var recs []*mam.Record
	for i := range 10 {
		n := b.Count(nil, []*policy.Prefix{wlan, wwan}, policy.App{UID: 1000, PID: 1, Command: "get"})
		to := wlan
		if n[1].User < n[0].User {
			to = wwan
		}
		recs = append(recs, b.decide(1000, "get", to))
		list = append(list, conn(to, uint16(100+i), 1000, uint32(50+i)))
		if i%3 == 2 { // a pass, in which the reports are late
			b.kernel(list...)
			b.counts(1000, "get", (i+2)/2, (i+2)/2, (i+1)/2, (i+1)/2)
		}
	}
	b.counts(1000, "get", 5, 5, 5, 5)
	for i, rec := range recs {
		b.report(rec, 0, uint16(100+i))
		b.counts(1000, "get", 5, 5, 5, 5)
	}
	b.kernel(list...)
	b.counts(1000, "get", 5, 5, 5, 5)
	b.kernel(list[:2]...)
	b.counts(1000, "get", 1, 1, 1, 1)
	if len(b.ended) != 8 {
		t.Errorf("ended: %v", b.ended)
	}
}

// A connection that is missing in an incomplete pass has not ended. The same holds for one
// that is reported during a pass.
func TestIncomplete(t *testing.T) {
	b := start(t)
	rec := b.decide(1000, "curl", wlan)
	b.report(rec, 0, 5)
	c := conn(wlan, 5, 1000, 6)
	b.kernel(c)
	b.Begin()
	b.End(b.now, false)
	b.over()
	b.kernel(c)
	b.counts(1000, "curl", 1, 1, 0, 0)

	late := b.decide(1000, "curl", wlan)
	b.Begin()
	b.list(c)
	b.report(late, 0, 7)
	b.End(b.now, true)
	b.counts(1000, "curl", 2, 2, 0, 0)
	b.over()
	b.Begin() // the kernel's table changed under it, once more
	b.list(c, conn(wlan, 7, 1000, 8))
	b.kernel(c, conn(wlan, 7, 1000, 8))
	b.counts(1000, "curl", 2, 2, 0, 0)
	b.kernel(c) // closed
	b.over("curl[1000] 2 over wlan0")
	gone := b.decide(1000, "curl", wlan)
	b.report(gone, 0, 9)
	b.kernel(c) // closed before a pass found it
	b.over("curl[1000] 3 over wlan0")
}

// If the kernel's list cannot be read, nothing is known, and nothing accumulates.
func TestUnreadableListIsUnknown(t *testing.T) {
	b := start(t)
	b.decide(1000, "curl", wlan)
	b.Fail()
	b.counts(1000, "curl")
	b.decide(1000, "curl", wlan)
	if len(b.tracked)+len(b.networks) != 0 {
		t.Error("remembered")
	}
	b.kernel(conn(wlan, 5, 1000, 6))
	b.counts(1000, "curl", 1, 0, 0, 0)
}

// The memory for one user is bounded, and leaves room for others.
func TestBounds(t *testing.T) {
	b := start(t)
	for i := range maxTrackedOfUser + 10 {
		b.report(b.decide(1000, "flood", wlan), 0, uint16(i%2+1))
	}
	if n := len(b.tracked); n > maxTrackedOfUser {
		t.Errorf("%d are remembered", n)
	}
	for at, list := range b.byPort {
		if len(list) > maxOfPort {
			t.Errorf("%d wait at %v", len(list), at)
		}
	}
	for uid := range uint32(10) {
		for range maxTrackedOfUser {
			b.decide(2000+uid, "flood", wlan)
		}
	}
	if n := len(b.tracked); n != maxTracked {
		t.Errorf("%d are remembered in all", n)
	}
	b.Begin()
	for uid := range uint32(2 * maxOwners) {
		c := conn(wwan, 5, 100000+uid, 6)
		b.Connection(wwan.ID, &c)
	}
	b.End(b.now.Add(2*expectedFor), true)
	if n := len(b.networks[wwan.ID].listed); n != maxOwners {
		t.Errorf("%d users are counted", n)
	}
	if len(b.tracked) != 0 {
		t.Errorf("%d are remembered for good", len(b.tracked))
	}
}
