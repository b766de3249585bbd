package web

import (
	"bufio"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
)

const (
	// flushPause is how long events wait for others: hundreds may come in that time.
	flushPause = 100 * time.Millisecond
	// quietPause is after what time without events an empty line shows that all is well.
	quietPause = 5 * time.Second
	// eventTimeout is how long the browser may take to read what is there.
	eventTimeout = 10 * time.Second
	eventBuffer  = 32 << 10
)

// events streams the daemon's events until the browser leaves or the daemon ends. Nothing
// is queued: a browser that reads slowly has the daemon wait, which forgets, and says how
// much.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	since, given, err := numberOf(r, "since")
	if err == nil { // an absent daemon is told of before the answer begins
		err = s.same(r)
	}
	if err != nil {
		status, code := statusOf(err)
		fail(w, status, code, err.Error())
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		fail(w, http.StatusServiceUnavailable, "busy", "the page is open too often")
		return
	}
	var from *uint64
	if given {
		from = &since
	}
	out := &stream{w: bufio.NewWriterSize(w, eventBuffer), rc: http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // those of ordinary requests do not fit
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if out.flush() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	var beating sync.WaitGroup
	beating.Go(func() { out.beat(ctx, cancel) })
	_ = s.opts.Client.Events(ctx, from, control.Filter{}, func(line []byte, _ *control.Event) error { return out.line(line) })
	cancel()
	beating.Wait()
	_ = out.flush() // the browser finds out what is the matter when it asks again
}

// same tells by an error that the daemon is absent, or another one than was started at the
// time that the page names: since is a number of that one.
func (s *Server) same(r *http.Request) error {
	var st control.Status
	if _, err := s.opts.Client.Get(r.Context(), "/v1/status", &st); err != nil {
		return err
	}
	if text := r.URL.Query().Get("started"); text != "" {
		if t, err := time.Parse(time.RFC3339Nano, text); err != nil || !t.Equal(st.Started) {
			return &refused{http.StatusConflict, "restarted", "mamma was started anew"}
		}
	}
	return nil
}

// stream is the answer. Its methods may be called by several goroutines.
type stream struct {
	mu    sync.Mutex
	w     *bufio.Writer
	rc    *http.ResponseController
	quiet time.Duration // since something was written
}

// line writes an event, at the latest when the next flush comes.
func (st *stream) line(b []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	_ = st.rc.SetWriteDeadline(time.Now().Add(eventTimeout))
	if _, err := st.w.Write(b); err != nil {
		return err
	}
	return st.w.WriteByte('\n')
}

func (st *stream) flush() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.flushLocked()
}

func (st *stream) flushLocked() error {
	_ = st.rc.SetWriteDeadline(time.Now().Add(eventTimeout))
	if err := st.w.Flush(); err != nil {
		return err
	}
	return st.rc.Flush()
}

// beat flushes what is there until ctx ends, and calls lost if the browser is gone.
func (st *stream) beat(ctx context.Context, lost func()) {
	t := time.NewTicker(flushPause)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if st.tick() != nil {
			lost()
			return
		}
	}
}

func (st *stream) tick() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.w.Buffered() == 0 {
		if st.quiet += flushPause; st.quiet < quietPause {
			return nil
		}
		if err := st.w.WriteByte('\n'); err != nil {
			return err
		}
	}
	st.quiet = 0
	return st.flushLocked()
}
