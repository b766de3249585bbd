package service

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/socket-intents/mamma/internal/display"
)

// Handler is a slog.Handler that writes to a Spool, in a form that a reload can
// change. Loggers derived from it keep the form that they were made with; the
// daemons derive none. A Handler says how many messages were lost as soon as there is
// room again. It logs the same message, whatever its details are, 20 times in a minute;
// it counts further ones, and logs the last of them at the end of the minute. Messages at
// debug level, those of [AccessMessage] and those about reloads are always logged.
type Handler struct {
	spool   *Spool
	to      io.Writer
	options slog.HandlerOptions
	form    atomic.Pointer[slog.Handler]
	repeats *repeats
}

var _ slog.Handler = (*Handler)(nil)

// Handler makes one that writes text to w, and nothing below level.
func (s *Spool) Handler(w io.Writer, level slog.Leveler) *Handler {
	h := &Handler{spool: s, to: s.Writer(w), options: slog.HandlerOptions{Level: level}}
	h.SetJSON(false)
	h.repeats = newRepeats(h.say)
	s.mu.Lock()
	s.handlers = append(s.handlers, h)
	s.mu.Unlock()
	return h
}

// SetJSON changes the form to JSON, or back to text.
func (h *Handler) SetJSON(on bool) {
	var form slog.Handler = slog.NewTextHandler(h.to, &h.options)
	if on {
		form = slog.NewJSONHandler(display.JSONWriter(h.to), &h.options)
	}
	h.form.Store(&form)
}

func (h *Handler) current() slog.Handler { return *h.form.Load() }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.current().Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error { return h.repeats.take(ctx, r) }

func (h *Handler) say(ctx context.Context, r slog.Record) error {
	if n := h.spool.Lost(); n > 0 {
		lost := slog.NewRecord(r.Time, slog.LevelWarn, "messages were lost, because nobody read them", 0)
		lost.AddAttrs(slog.Int("n", n))
		if err := h.current().Handle(ctx, lost); err != nil {
			return err
		}
	}
	return h.current().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(a []slog.Attr) slog.Handler { return h.current().WithAttrs(a) }

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler { return h.current().WithGroup(name) }
