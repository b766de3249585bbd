package hook

import (
	"fmt"
	"net/netip"
	"testing"
)

// The kernel gives the place of a replaced entry of a hash table to the next entry at once, while
// a program may still read it. No connection follows what is meant for others by that: neither an
// answer for another destination, nor the usual answer or the group of another scope.
func TestReplacedEntries(t *testing.T) {
	s := newScene(t, true)
	one, two := s.root.Sub("one"), s.root.Sub("two")
	s.put(t, one, 1, true)
	s.put(t, two, 2, true)
	s.use(t, 1, s.a, false, true)
	s.use(t, 2, s.b, false, true)
	ids := map[uint32]uint64{}
	for scope, g := range map[uint32]string{1: one.Path, 2: two.Path} {
		id, err := GroupID(g)
		if err != nil {
			t.Fatal(err)
		}
		ids[scope] = id
	}
	id := uint64(10)
	answer := func(scope uint32) Answer {
		n := s.a
		if scope == 2 {
			n = s.b
		}
		id++
		return Answer{ID: id, Kind: Place, First: Way{Source: n.Client4, Device: n.Name}, Only: true}
	}
	for _, x := range []struct {
		name    string
		replace func(scope uint32) error
	}{
		{"usual", func(scope uint32) error { return s.table.SetUsual(Usual{Scope: scope, Protocol: UDP}, answer(scope)) }},
		{"groups", func(scope uint32) error { return s.table.SetWholeGroup(ids[scope], scope, Strict, nil) }},
		{"answers", func(scope uint32) error {
			return s.table.SetAnswer(Key{Scope: scope, Protocol: UDP, Remote: netip.MustParseAddrPort("192.0.2.1:80")}, answer(scope))
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := startMember(t, s.bed.Client, one)
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() {
				for {
					select {
					case <-stop:
						done <- nil
						return
					default:
					}
					for scope := range uint32(2) {
						if err := x.replace(1 + scope); err != nil {
							done <- err
							return
						}
					}
				}
			}()
			want := fmt.Sprintf("map[%v:%d]", s.a.Client4, manyDials)
			for range 6 {
				if got := m.dial("many", web4); got != want {
					t.Errorf("from %s", got)
					break
				}
			}
			close(stop)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
