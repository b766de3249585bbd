package main

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// switchable is a slog.Handler whose form a reload can change. Loggers derived
// from it keep the form that they were made with; this program derives none.
type switchable struct{ h atomic.Pointer[slog.Handler] }

func (s *switchable) set(h slog.Handler)    { s.h.Store(&h) }
func (s *switchable) current() slog.Handler { return *s.h.Load() }

func (s *switchable) Enabled(ctx context.Context, l slog.Level) bool {
	return s.current().Enabled(ctx, l)
}
func (s *switchable) Handle(ctx context.Context, r slog.Record) error {
	return s.current().Handle(ctx, r)
}
func (s *switchable) WithAttrs(a []slog.Attr) slog.Handler { return s.current().WithAttrs(a) }
func (s *switchable) WithGroup(name string) slog.Handler   { return s.current().WithGroup(name) }
