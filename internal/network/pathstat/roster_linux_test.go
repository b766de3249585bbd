package pathstat

import "testing"

// However many connections there are, the roster keeps few, and few are asked about in a pass.
func TestRosterIsBounded(t *testing.T) {
	var r roster
	r.begin()
	for i := range uint64(maxListed) {
		r.add(&tcpSocket{Cookie: i + 1}, 0, false, false)
	}
	r.add(&tcpSocket{Cookie: 1}, 0, true, false) // renewed
	if r.full || len(r.list) != maxListed || len(r.at) != maxListed {
		t.Fatalf("full: %t, with %d and %d connections", r.full, len(r.list), len(r.at))
	}
	if r.add(&tcpSocket{Cookie: maxListed + 1}, 0, false, false); !r.full || len(r.list) != maxListed {
		t.Errorf("full: %t, with %d connections", r.full, len(r.list))
	}

	c := conn("10.0.1.2", "192.0.2.1", 10, 5)
	st := &state{byAddr: map[[16]byte][]*path{c.Local: {{}}}}
	begun := func(n int) (flows []Observed) {
		for i := range n {
			f := observedOf(c)
			f.Cookie = uint64(i + 1)
			flows = append(flows, f)
		}
		return flows
	}
	for n, want := range map[int]bool{maxAsked: true, maxAsked + 1: false} {
		var r roster
		r.begin()
		if got := r.prepare(st, begun(n)); got != want || len(r.ask) != maxAsked {
			t.Errorf("%d that are new: %t, with %d questions", n, got, len(r.ask))
		}
	}
}
