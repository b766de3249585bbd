package control

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/bounded"
)

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A client reads a bounded part of an answer, and does not take that part for the answer.
func TestAnswersThatAreTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/refused") {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.Copy(w, endless{})
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	c := NewClient(path)
	defer c.Close()
	var b bytes.Buffer
	if err := c.Profile(ctx(t), "heap", 0, &b); !errors.Is(err, bounded.ErrTooLong) || b.Len() > maxAnswer {
		t.Errorf("profile: %d bytes, %v", b.Len(), err)
	}
	for _, path := range []string{"/v1/status", "/v1/refused"} {
		var v any
		if _, err := c.Get(ctx(t), path, &v); !errors.Is(err, bounded.ErrTooLong) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
