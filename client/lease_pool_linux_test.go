package client

import (
	"testing"

	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

func TestPoolLease(t *testing.T) {
	l := startLessor(t, nil)
	p := &Pool{Dialer: l.dialer}
	defer func() { _ = p.Close() }()
	ctx := t.Context()
	var ids []DecisionID
	for i := range 6 {
		c, err := p.Get(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		if c.Reused() != (i > 0) || !c.info.Decided {
			t.Errorf("%d: reused %v, decided %v", i, c.Reused(), c.info.Decided)
		}
		ids = append(ids, c.info.ID)
		_ = c.Release()
	}
	if n := l.asked(); n != 2 || ids[1] != ids[5] || ids[0] == ids[1] {
		t.Errorf("asked %d times for a new connection and five uses; ids %v", n, ids)
	}
	// Of two connections on the same network, the first one offered is used.
	a, err := p.GetNew(ctx, "tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Release()
	before := l.asked()
	c, err := p.Get(ctx, "tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Reused() || c == a || l.asked() != before {
		t.Errorf("reused %v, the later one %v; asked %d times", c.Reused(), c == a, l.asked()-before)
	}
	_ = c.Release()
}

// An idle connection on another network makes a different question.
func TestPoolLeaseByNetworks(t *testing.T) {
	source := "127.0.0.2"
	l := startLessor(t, func(m *wire.Message) {
		if m.Action == wire.ActionSocketConnectResponse {
			m.Context.BindSuggested, m.Lease = rawmanager.Addr(source), nil
		}
	})
	p := &Pool{Dialer: l.dialer}
	defer func() { _ = p.Close() }()
	ctx := t.Context()
	open := func() {
		c, err := p.GetNew(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Release()
	}
	reuse := func() int {
		before := l.asked()
		c, err := p.Get(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // leaves the other one
		return l.asked() - before
	}
	open()
	if n := reuse(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	open()
	if n := reuse(); n != 0 {
		t.Errorf("asked %d times for the same", n)
	}
	source = "127.0.0.4"
	open()
	if n := reuse(); n != 1 {
		t.Errorf("asked %d times about another network", n)
	}
}
