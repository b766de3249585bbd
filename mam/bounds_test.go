package mam

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Whatever a policy says in a decision, the client gets an answer, and what is
// remembered is bounded.
func TestDecisionsAreBounded(t *testing.T) {
	many := func(n int, p *policy.Prefix) (list []*policy.Prefix) {
		for range n {
			list = append(list, p)
		}
		return list
	}
	for name, huge := range map[string]func(*policy.Request, *policy.Decision){
		"reason":     func(_ *policy.Request, d *policy.Decision) { d.Reason = strings.Repeat("\xffé\n", 1<<20) },
		"alternates": func(r *policy.Request, d *policy.Decision) { d.Alternates = many(100_000, r.Prefixes[1]) },
		"nothing":    func(_ *policy.Request, d *policy.Decision) { d.Alternates = many(100_000, nil) },
		"options": func(_ *policy.Request, d *policy.Decision) {
			d.Options = []policy.SocketOption{{Level: 1, Name: 2, Value: make([]byte, 1<<20)}}
		},
		"many options": func(_ *policy.Request, d *policy.Decision) { d.Options = make([]policy.SocketOption, 100_000) },
		"panic":        func(*policy.Request, *policy.Decision) { panic(strings.Repeat("x", 1<<20)) },
		"scores":       func(_ *policy.Request, d *policy.Decision) { d.Scores = make([]policy.Score, 100_000) },
		"terms": func(_ *policy.Request, d *policy.Decision) {
			d.Scores = []policy.Score{{Terms: make([]policy.Term, 100_000)}}
		},
		"names": func(_ *policy.Request, d *policy.Decision) {
			d.Scores = []policy.Score{{Note: strings.Repeat("x", 1<<20)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, host(chooser(func(r *policy.Request) policy.Decision {
				dec := policy.Decision{Prefix: r.Prefixes[0], Reason: "first"}
				huge(r, &dec)
				return dec
			})), Options{})
			req := connectTo("192.0.2.1:80")
			req.Features = wire.FeatureReason | wire.FeatureAlternates
			got := d.dial(t).ask(req)
			if got.Action != wire.ActionConnectResponse || !got.Context.BindSuggested.IsValid() {
				t.Errorf("answered %v with %v", got.Action, got.Context.BindSuggested)
			}
			if len(got.Alternates) > 1 {
				t.Errorf("%d alternates", len(got.Alternates))
			}
			for _, rec := range d.Decisions().Since(0) {
				size := len(rec.Decision.Reason) + len(rec.Fallback)
				for _, o := range rec.Decision.Options {
					size += len(o.Value)
				}
				for _, s := range rec.Decision.Scores {
					size += len(s.Note) + 64*len(s.Terms)
				}
				if size > 128<<10 || len(rec.Decision.Alternates)+len(rec.Decision.Options)+len(rec.Decision.Scores) > 2000 {
					t.Errorf("some %d bytes are remembered", size)
				}
			}
		})
	}
}
