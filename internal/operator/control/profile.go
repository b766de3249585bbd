package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/process/httpserver"
)

// Bounds of the time for which a profile is taken.
const (
	DefaultProfileTime = 10 * time.Second
	MaxProfileTime     = 5 * time.Minute
)

// maxTrace bounds an execution trace, which is held in memory. A busy daemon writes
// about a megabyte a second.
const maxTrace = maxAnswer

// blockRate is one sample per 10 µs of waiting goroutines, on average. mutexFraction is
// the number of contentions per sample.
const (
	blockRate     = 10_000
	mutexFraction = 10
)

// sampled are the kinds of profile that need some time.
var sampled = map[string]func(ctx context.Context, w io.Writer) error{
	"cpu": func(ctx context.Context, w io.Writer) error {
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		<-ctx.Done()
		return nil
	},
	"trace": func(ctx context.Context, w io.Writer) error {
		if err := trace.Start(w); err != nil {
			return err
		}
		defer trace.Stop()
		<-ctx.Done()
		return nil
	},
	"mutex": func(ctx context.Context, w io.Writer) error {
		before := runtime.SetMutexProfileFraction(mutexFraction)
		defer runtime.SetMutexProfileFraction(before)
		<-ctx.Done()
		return pprof.Lookup("mutex").WriteTo(w, 0)
	},
	"block": func(ctx context.Context, w io.Writer) error {
		runtime.SetBlockProfileRate(blockRate)
		defer runtime.SetBlockProfileRate(0)
		<-ctx.Done()
		return pprof.Lookup("block").WriteTo(w, 0)
	},
}

// instant are the kinds that the runtime has at any moment.
var instant = []string{"allocs", "goroutine", "heap", "threadcreate"}

// ProfileKinds lists the kinds of profile. Those that need some time are marked true.
func ProfileKinds() map[string]bool {
	kinds := map[string]bool{}
	for _, name := range instant {
		kinds[name] = false
	}
	for name := range sampled {
		kinds[name] = true
	}
	return kinds
}

// profile answers with a profile of the process, for go tool pprof or, for the kind
// trace, go tool trace. It works only if the daemon was started with profiling. It is
// for those who may change things, because a profile slows the daemon down and shows
// what it is doing.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	b, err := s.takeProfile(w, r)
	if err != nil {
		writeFailure(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b) // an error means that the client has gone
}

func (s *Server) takeProfile(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := s.mayChange(r); err != nil {
		return nil, err
	}
	if !s.opts.Profiling {
		return nil, failure(http.StatusNotImplemented, "unsupported", errors.New("profiling is off; mamma --profiling switches it on"))
	}
	kind := r.PathValue("kind")
	take, overTime := sampled[kind]
	if !overTime && !slices.Contains(instant, kind) {
		var known []string
		for name := range ProfileKinds() {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, failure(http.StatusNotFound, "not_found", fmt.Errorf("there is no profile %q; known: %s", kind, strings.Join(known, ", ")))
	}
	length, err := profileTime(r.URL.Query(), overTime)
	if err != nil {
		return nil, badRequest(err)
	}
	if !s.profiling.TryLock() {
		return nil, failure(http.StatusConflict, "busy", errors.New("another profile is being taken"))
	}
	defer s.profiling.Unlock()
	p := peerFrom(r.Context())
	s.log.Info("profile taken at the control socket", "uid", p.UID, "pid", p.PID, "kind", kind, "seconds", length.Seconds())
	var b traceBuffer
	if !overTime {
		err := pprof.Lookup(kind).WriteTo(&b, 0)
		return b.Bytes(), err
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // nothing more is read, and an expired deadline would look as if the client had gone
	_ = rc.SetWriteDeadline(time.Now().Add(length + httpserver.WriteTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), length)
	defer cancel()
	if err := take(ctx, &b); err != nil {
		return nil, failure(http.StatusConflict, "busy", err)
	}
	return b.Bytes(), r.Context().Err()
}

// profileTime reads the time for which to take a profile.
func profileTime(q url.Values, overTime bool) (time.Duration, error) {
	text := q.Get("seconds")
	switch {
	case !overTime && text != "":
		return 0, errors.New("this profile takes no time")
	case !overTime:
		return 0, nil
	case text == "":
		return DefaultProfileTime, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	limit := MaxProfileTime.Seconds()
	if err != nil || !(n > 0 && n <= limit) {
		return 0, fmt.Errorf("seconds must be a number above 0 and up to %g, not %q", limit, text)
	}
	return time.Duration(n * float64(time.Second)), nil
}

// traceBuffer is a buffer with a bound on its size.
type traceBuffer struct{ bytes.Buffer }

func (b *traceBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTrace {
		return 0, errors.New("the profile is too large")
	}
	return b.Buffer.Write(p)
}
