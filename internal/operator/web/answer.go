package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// codeAbsent is the code of a Failure if no daemon answers.
const codeAbsent = "absent"

// refused is an error with its HTTP status and the code of a control.Failure.
type refused struct {
	status int
	code   string
	text   string
}

func (e *refused) Error() string { return e.text }

// answer makes a handler of a function that returns the answer. The handler waits for a free
// place first, because each answer is in memory as a whole.
func (s *Server) answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.asked <- struct{}{}:
			defer func() { <-s.asked }()
		case <-r.Context().Done():
			return
		}
		v, err := f(r)
		if err != nil {
			status, code := statusOf(err)
			fail(w, status, code, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if raw, ok := v.(json.RawMessage); ok {
			_, _ = w.Write(raw) // an error means that the client has gone
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}
}

// statusOf returns the HTTP status and the code of a Failure for an error.
func statusOf(err error) (status int, code string) {
	var own *refused
	var remote *control.RemoteError
	var absent *control.NotRunningError
	switch {
	case errors.As(err, &own):
		return own.status, own.code
	case errors.As(err, &remote):
		return remote.Status, remote.Code
	case errors.As(err, &absent), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return http.StatusBadGateway, codeAbsent
	}
	return http.StatusBadGateway, "internal"
}

// ask passes the daemon's answer on unchanged.
func (s *Server) ask(r *http.Request, path string) (any, error) {
	var raw json.RawMessage
	if _, err := s.opts.Client.Get(r.Context(), path, &raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// askSince is ask with parameters whose values are numbers.
func (s *Server) askSince(r *http.Request, path string, names ...string) (any, error) {
	q := url.Values{}
	for _, name := range names {
		n, ok, err := numberOf(r, name)
		if err != nil {
			return nil, err
		}
		if name == "limit" {
			if n, ok = min(n, maxDecisions), true; r.URL.Query().Get(name) == "" {
				n = maxDecisions
			}
		}
		if ok {
			q.Set(name, strconv.FormatUint(n, 10))
		}
	}
	return s.ask(r, path+"?"+q.Encode())
}

// numberOf reads a parameter whose value is a number. ok tells whether it was given.
func numberOf(r *http.Request, name string) (n uint64, ok bool, err error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, &refused{http.StatusBadRequest, "bad_request", fmt.Sprintf("%s must be a number, not %q", name, text)}
	}
	return n, true, nil
}

// post passes a question on to the daemon, and the daemon's answer back. It decodes the
// question into body strictly first.
func (s *Server) post(r *http.Request, path string, body any) (any, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &refused{http.StatusBadRequest, "bad_request", "the body must be application/json"}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return nil, &refused{http.StatusBadRequest, "bad_request", "decode the body: " + err.Error()}
	}
	var raw json.RawMessage
	if _, err := s.opts.Client.Post(r.Context(), path, body, &raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// change allows f only if the page may change things.
func (s *Server) change(f func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if !s.opts.AllowChanges {
			return nil, &refused{http.StatusForbidden, "forbidden", "this page only shows; mammactl web --allow-changes lets it change things"}
		}
		return f(r)
	}
}

// doctor runs the checks. They send packets, so they run only when somebody asks for them, and
// one run at a time.
func (s *Server) doctor(r *http.Request) (any, error) {
	if s.opts.Doctor == nil {
		return nil, &refused{http.StatusNotImplemented, "unsupported", "there are no checks here"}
	}
	if !s.examining.TryLock() {
		return nil, &refused{http.StatusConflict, "busy", "the checks are being made already"}
	}
	defer s.examining.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), writeTimeout-headerTimeout)
	defer cancel()
	return s.opts.Doctor(ctx)
}

func (s *Server) runs(*http.Request) (any, error) {
	list := []Run{}
	if s.opts.Runs != nil {
		list = append(list, s.opts.Runs()...)
	}
	return struct {
		Runs []Run `json:"runs"`
	}{list}, nil
}
