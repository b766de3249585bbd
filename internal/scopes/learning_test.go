package scopes

import (
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// learner is an engine without a kernel, with scopes that learn.
func learner(file string, scopes ...config.Scope) *Engine {
	e := New(Options{Learnt: file})
	e.answers = newAnswers()
	for i := range scopes {
		e.lastID++
		s, _ := compile(&scopes[i], e.lastID)
		e.scopes = append(e.scopes, s)
	}
	e.useLearning(scopes)
	return e
}

// takeEnded does what Run does about connections that have ended.
func (e *Engine) takeEnded() {
	list := e.ended
	e.ended = nil
	e.learn(list)
}

// What is learnt joins the record of a connection with its end, by the socket. Only what
// connections of the scope itself carry counts.
func TestLearn(t *testing.T) {
	const big = 10 << 20
	bulk := "category=bulktransfer,filesize=10MiB,duration=5"
	query := intent.Set{}.WithCategory(intent.CategoryQuery)
	for _, tt := range []struct {
		name   string
		scope  config.Scope
		bytes  uint64
		change func(r *hook.Event)
		want   string
	}{
		{name: "much in little time", scope: config.Scope{Learning: true}, bytes: big, want: bulk},
		{name: "left to the kernel", scope: config.Scope{Learning: true}, bytes: big, change: func(r *hook.Event) { r.Kind = hook.Leave }, want: bulk},
		{name: "little", scope: config.Scope{Learning: true}, bytes: 1000, want: "category=query,filesize=1kB,duration=5"},
		{name: "nothing but the peer's FIN", scope: config.Scope{Learning: true}, bytes: 1},
		{name: "more than there is", scope: config.Scope{Learning: true}, bytes: 1 << 63, want: "category=bulktransfer,filesize=4503599627370505KiB,duration=5"},
		{name: "nobody asked for it", bytes: big},
		{name: "refused", scope: config.Scope{Learning: true}, bytes: big, change: func(r *hook.Event) { r.Kind = hook.Refuse }},
		{name: "one subflow of several", scope: config.Scope{Learning: true}, bytes: big, change: func(r *hook.Event) { r.Multipath = true }},
		{name: "datagrams", scope: config.Scope{Learning: true}, bytes: big, change: func(r *hook.Event) { r.Protocol = hook.UDP }},
		{name: "another socket", scope: config.Scope{Learning: true}, bytes: big, change: func(r *hook.Event) { r.Cookie += 100 }},
		{name: "the category is stated", scope: config.Scope{Learning: true, Intents: query}, bytes: big},
		{name: "a rule states the category", scope: config.Scope{Learning: true, Rules: []config.Rule{{Name: "all", Set: query}}}, bytes: big},
		{name: "the size is stated", scope: config.Scope{Learning: true, Intents: intent.Set{}.WithFileSize(1)}, bytes: big, want: bulk},
	} {
		synctest.Test(t, func(t *testing.T) {
			tt.scope.Name = "one"
			e := learner("", tt.scope, config.Scope{Name: "two", Learning: true})
			s := e.scopes[0]
			key := hook.Key{Scope: s.id, User: 1000, Remote: destination(1), Protocol: hook.TCP}
			for i := range uint64(3) {
				if got := e.typical(s, key); !got.IsZero() {
					t.Errorf("%s: %v after %d connections", tt.name, got, i)
				}
				r := hook.Event{Cookie: 7 + i, Kind: hook.Place, Key: key}
				if tt.change != nil {
					tt.change(&r)
				}
				e.await(s, &r)
				time.Sleep(5 * time.Second) // of virtual time
				e.Ended(7+i, tt.bytes)
				e.Ended(7+i, 1) // a socket ends once
				e.takeEnded()
			}
			if got := e.typical(s, key).String(); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
			other, udp, elsewhere, user := key, key, key, key
			other.Scope, udp.Protocol, elsewhere.Remote, user.User = e.scopes[1].id, hook.UDP, destination(2), 1001
			if got := e.typical(e.scopes[1], other); !got.IsZero() {
				t.Errorf("%s: another scope expects %v", tt.name, got)
			}
			if got := e.typical(s, udp); !got.IsZero() {
				t.Errorf("%s: of datagrams %v is expected", tt.name, got)
			}
			if got := e.typical(s, elsewhere); !got.IsZero() {
				t.Errorf("%s: elsewhere %v is expected", tt.name, got)
			}
			if got := e.typical(s, user).String(); got != tt.want {
				t.Errorf("%s: of another user %q is expected, want %q", tt.name, got, tt.want)
			}
		})
	}
}

// The record of a connection may come after its end.
func TestLearnLateRecords(t *testing.T) {
	e := learner("", config.Scope{Name: "one", Learning: true})
	s := e.scopes[0]
	key := hook.Key{Scope: s.id, Remote: destination(1), Protocol: hook.TCP}
	for i := range uint64(3) {
		e.Ended(i, 1000)
		e.takeEnded()
		e.await(s, &hook.Event{Cookie: i, Kind: hook.Place, Key: key})
	}
	if got := e.typical(s, key).String(); got != "category=query,filesize=1kB,duration=0" {
		t.Errorf("%q", got)
	}
	for i := range uint64(2 * maxEarly) {
		e.Ended(100+i, 1000)
		e.takeEnded()
	}
	if n := e.learning.early.Len(); n != maxEarly {
		t.Errorf("%d ends wait for their records", n)
	}
}

// What is learnt comes after what is stated and before what ports tell.
func TestLearntIntents(t *testing.T) {
	learnt := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(5)
	size := intent.Set{}.WithFileSize(5)
	for _, tt := range []struct {
		name   string
		scope  config.Scope
		port   uint16
		learnt intent.Set
		want   string
		from   string
	}{
		{"nothing", config.Scope{}, 22, intent.Set{}, "", ""},
		{"learnt", config.Scope{}, 80, learnt, "category=bulktransfer,filesize=5B", "learnt"},
		{"not the port", config.Scope{PortIntents: true}, 22, learnt, "category=bulktransfer,filesize=5B", "learnt"},
		{"no category, so the port, too", config.Scope{PortIntents: true}, 22, size, "category=controltraffic,filesize=5B,timeliness=interactive", "learnt, port 22"},
		{"the stated size counts", config.Scope{Intents: intent.Set{}.WithFileSize(9)}, 80, learnt, "category=bulktransfer,filesize=9B", "learnt"},
		{"the stated category counts", config.Scope{Intents: intent.Set{}.WithCategory(intent.CategoryQuery)}, 80, learnt, "category=query", ""},
		{"a rule", config.Scope{Rules: []config.Rule{{Name: "all", Set: intent.Set{}.WithFileSize(8)}}}, 80, learnt, "category=bulktransfer,filesize=8B", "rule all, learnt"},
	} {
		s, _ := compile(&tt.scope, 1)
		v := hook.Variant(0)
		if s.rules != nil && tt.scope.PortIntents {
			v = lookUpVariant(t, s.rules, netip.AddrPortFrom(destination(1).Addr(), tt.port), "")
		}
		if set, from := s.intents(v, tt.port, tt.learnt); set.String() != tt.want || from != tt.from {
			t.Errorf("%s: %q from %q, want %q from %q", tt.name, set, from, tt.want, tt.from)
		}
	}
}

// Connections whose end is awaited, and ends that nobody has looked at, are bounded.
func TestLearningIsBounded(t *testing.T) {
	e := learner("", config.Scope{Name: "one", Learning: true})
	s := e.scopes[0]
	for i := range uint64(maxOpen + 1) {
		r := hook.Event{Cookie: i, Kind: hook.Place, Key: hook.Key{Scope: s.id, Remote: destination(int(i)), Protocol: hook.TCP}}
		e.await(s, &r)
	}
	if n := e.learning.open.Len(); n != maxOpen || e.learning.open.Contains(0) || !e.learning.open.Contains(maxOpen) {
		t.Errorf("%d connections are awaited", n)
	}
	for i := range uint64(maxEnded + 1) {
		e.Ended(i, 100)
	}
	if n := len(e.ended); n != maxEnded {
		t.Errorf("%d ends wait", n)
	}
	e.takeEnded()
	if n := e.learning.open.Len(); n != maxOpen-maxEnded+1 {
		t.Errorf("%d connections are still awaited", n)
	}
	e.useLearning(nil)
	e.Ended(maxOpen, 100)
	if n := e.learning.open.Len(); n != 0 || len(e.ended) != 0 {
		t.Errorf("without a scope that learns, %d connections are awaited and %d ends wait", n, len(e.ended))
	}
}

// What was learnt survives a restart. A scope keeps it that another configuration has, too.
func TestLearntIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "scopes.json")
	one := config.Scope{Name: "one", Learning: true}
	e := learner(file, one)
	key := hook.Key{Scope: e.scopes[0].id, Remote: destination(1), Protocol: hook.TCP}
	for i := range uint64(3) {
		e.await(e.scopes[0], &hook.Event{Cookie: i, Kind: hook.Place, Key: key})
		e.Ended(i, 2000)
		e.takeEnded()
	}
	e.saveNow()
	next := learner(file, config.Scope{Name: "zero"}, one)
	key.Scope = next.scopes[1].id
	if got, want := next.typical(next.scopes[1], key), e.typical(e.scopes[0], hook.Key{Scope: 1, Remote: key.Remote, Protocol: hook.TCP}); got != want || got.IsZero() {
		t.Errorf("after a restart %v, before it %v", got, want)
	}
}

func TestSimilar(t *testing.T) {
	size := func(n int64) intent.Set { return intent.Set{}.WithFileSize(n) }
	bulk := size(100).WithCategory(intent.CategoryBulkTransfer)
	for _, tt := range []struct {
		a, b intent.Set
		want bool
	}{
		{intent.Set{}, intent.Set{}, true}, {size(100), size(120), true}, {bulk, bulk, true},
		{intent.Set{}, size(0), false}, {size(100), size(300), false}, {size(300), size(100), false}, {size(100), bulk, false},
	} {
		if got := similar(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v: %v", tt.a, tt.b, got)
		}
	}
}
