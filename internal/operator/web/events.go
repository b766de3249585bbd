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
	// flushPause is how long an event waits for others, so that they are sent together.
	// Hundreds may come in that time.
	flushPause = 100 * time.Millisecond
	// quietPause is the time without events after which an empty line shows that the stream
	// still works.
	quietPause = 5 * time.Second
	// eventTimeout is how long the browser may take to read what was written.
	eventTimeout = 10 * time.Second
	eventBuffer  = 32 << 10
)

// events streams the daemon's events until the browser leaves or the daemon ends. It queues
// nothing. If a browser reads slowly, the daemon cannot send, drops events, and says how many.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	since, given, err := numberOf(r, "since")
	if err == nil { // once the answer has begun, it could not say that the daemon is absent
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
	_ = out.rc.SetReadDeadline(time.Time{}) // the deadline of ordinary requests is too early
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
	_ = out.flush() // when the browser asks again, it finds out why the stream has ended
}

// same returns an error if the daemon is absent, or if it was not started at the time that the
// page names. The parameter since counts the decisions of one daemon, so it would mean nothing
// to another one.
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

// stream is the answer to a request for events. It is safe for concurrent use.
type stream struct {
	mu    sync.Mutex
	w     *bufio.Writer
	rc    *http.ResponseController
	quiet time.Duration // time since something was written
}

// line adds an event to the buffer, which the next flush writes at the latest.
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

// beat flushes the buffer regularly until ctx ends, and calls lost if the browser has gone.
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
