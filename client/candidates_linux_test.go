package client

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// priced suggests three networks, with what is known about them.
func priced(m *wire.Message) bool {
	report := m.Action == wire.ActionReportRequest
	ok := suggest("127.0.0.2", "127.0.0.3", "127.0.0.4")(m)
	if report {
		return ok
	}
	m.DecisionID = uuid.New()
	m.Paths = []wire.Path{{Microseconds: 10_000}, {Microseconds: 40_000}, {}}
	m.Costs = []wire.Cost{{Cost: wire.CostFree, Left: wire.NoBudget}, {Cost: wire.CostMetered, Left: 5e9}, {Cost: 7, Left: 0}}
	return ok
}

// Each candidate can be dialled alone, and has what is known about it.
func TestCandidates(t *testing.T) {
	srv := startServer(t)
	d := dialer(t, startFake(t, "", false, priced).path)
	dec, err := d.Decide(t.Context(), "tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	type known struct {
		source string
		cost   Cost
		rtt    time.Duration
		left   int64
		budget bool
	}
	var got []known
	for i, c := range dec.Candidates() {
		left, budget := c.Budget()
		cost, told := c.Cost()
		if !told {
			t.Errorf("candidate %d has no cost", i)
		}
		got = append(got, known{c.Source().String(), cost, c.RTT(), left, budget})
		nc, err := c.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, _ := InfoOf(nc)
		_ = nc.Close()
		if peer := (<-srv.peers); peer != c.Source() || info.Candidate != Candidate(i) || c.Multipath() || c.Interface() != "lo" {
			t.Errorf("candidate %d came from %v: %+v", i, peer, info)
		}
	}
	want := []known{
		{"127.0.0.2", CostFree, 10 * time.Millisecond, 0, false},
		{"127.0.0.3", CostMetered, 40 * time.Millisecond, 5e9, true},
		{"127.0.0.4", CostExpensive, 0, 0, true},
	}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Errorf("%+v, want %+v", got, want)
			break
		}
	}
	if n := len((&Decision{}).Candidates()); n != 0 {
		t.Errorf("%d candidates of no decision", n)
	}
}

// A candidate that cannot connect is not replaced by another candidate or a plain dial.
func TestCandidateAlone(t *testing.T) {
	srv := startServer(t)
	d := dialer(t, startFake(t, "", false, suggest("127.0.0.2", "192.0.2.77")).path)
	dec, err := d.Decide(t.Context(), "tcp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	all := dec.Candidates()
	if len(all) != 1 { // towards loopback, nothing is bound to a network's address
		t.Fatalf("%d candidates", len(all))
	}
	d = dialer(t, startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3")).path)
	d.Selection = SelectionProperties{}.WithInterface("lo", Prohibit)
	if dec, err = d.Decide(t.Context(), "tcp", "127.0.0.1:"+srv.port); err != nil || len(dec.Candidates()) != 0 {
		t.Errorf("prohibited: %d candidates, %v", len(dec.Candidates()), err)
	}
	d = dialer(t, startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3")).path)
	if dec, err = d.Decide(t.Context(), "tcp", "192.0.2.1:"+srv.port); err != nil {
		t.Fatal(err)
	}
	for _, c := range dec.Candidates() {
		failed := (*DialError)(nil)
		if _, err := c.Dial(t.Context()); !errors.As(err, &failed) || len(failed.Attempts) != 1 || failed.Attempts[0].Source != c.Source() {
			t.Errorf("from %v: %v", c.Source(), err)
		}
	}
}
