package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/mam"
)

// The latest decisions are the last ones that the user may see, whatever lies between them.
func TestSinceLatest(t *testing.T) {
	d := start(t, view(), nil)
	d.decide(t, 40)
	ring := d.Decisions()
	for _, tt := range []struct {
		every, last, limit uint64
		want               uint64
	}{
		{1, 40, 10, 30}, {1, 40, 40, 0}, {1, 40, 100, 0}, {1, 40, 0, 40}, {1, 20, 5, 15},
		{3, 40, 1, 38}, {3, 40, 4, 29}, {3, 40, 13, 2}, {3, 40, 14, 2}, {3, 38, 1, 35},
		{100, 40, 5, 40}, {1, 0, 5, 0},
	} {
		sees := func(rec *mam.Record) bool { return rec.Seq%tt.every == 0 }
		if got := sinceLatest(ring, sees, tt.last, tt.limit); got != tt.want {
			t.Errorf("every %d, up to %d, %d of them: since %d, want %d", tt.every, tt.last, tt.limit, got, tt.want)
		}
	}
}

// gate is a client that reads nothing until it is open.
type gate struct {
	header  http.Header
	once    sync.Once
	reached chan struct{}
	open    <-chan struct{}
	to      io.Writer
}

func (g *gate) Header() http.Header { return g.header }
func (g *gate) WriteHeader(int)     {}

func (g *gate) Write(b []byte) (int, error) {
	g.once.Do(func() { g.reached <- struct{}{} })
	<-g.open
	return g.to.Write(b)
}

// To go through all decisions takes the memory of one part of them, however many there are.
func TestRememberedInParts(t *testing.T) {
	const keep = 20 * chunk
	d := startKeeping(t, keep, view(), nil)
	d.decide(t, keep)
	n := 0
	allocs := testing.AllocsPerRun(10, func() {
		n = 0
		for rec := range remembered(d.Decisions(), 0) {
			if n++; rec.Seq != uint64(n) {
				t.Fatalf("decision %d comes as number %d", rec.Seq, n)
			}
		}
	})
	if n != keep || allocs > 5 {
		t.Errorf("%d decisions, with %.0f allocations", n, allocs)
	}
}

// Many clients that ask for everything and do not read it take little memory together.
func TestUnreadDecisions(t *testing.T) {
	const keep, clients = 4000, httpserver.MaxConns / sharePerUser
	d := startKeeping(t, keep, view(), nil)
	d.decide(t, keep)
	memory := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := memory()
	open, reached := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	var first bytes.Buffer
	for i := range clients {
		g := &gate{header: http.Header{}, reached: reached, open: open, to: io.Discard}
		if i == 0 {
			g.to = &first
		}
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, root), http.MethodGet, "/v1/decisions?limit=10000", nil)
		all.Go(func() { d.srv.decisions(g, r) })
	}
	for range clients {
		<-reached
	}
	if grown := memory() - before; grown > 12<<20 {
		t.Errorf("%d clients take %d MB", clients, grown>>20)
	}
	close(open)
	all.Wait()
	var got Decisions
	if err := json.Unmarshal(first.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var seqs, want []uint64
	for _, x := range got.Decisions {
		seqs = append(seqs, x.Seq)
	}
	for i := range uint64(keep) {
		want = append(want, i+1)
	}
	if diff := cmp.Diff(want, seqs); diff != "" || got.Last != keep || !got.Complete {
		t.Errorf("last %d, complete %v, decisions (-want +got)\n%s", got.Last, got.Complete, diff)
	}
}
