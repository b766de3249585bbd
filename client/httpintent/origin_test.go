package httpintent

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// content returns the data of these tests' servers. No two parts of it are equal.
func content(size int) []byte {
	b := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = random.Read(b)
	return b
}

// origin is a server with byte ranges (http.ServeContent) that records who requests
// what.
type origin struct {
	*httptest.Server
	data []byte

	mu     sync.Mutex
	header http.Header // of all responses
	odd    func(n int, from string, w http.ResponseWriter, r *http.Request) bool
	asked  map[string]int // requests by network
	first  string         // the network of the first request
	n      int

	both chan struct{} // closed when a second network sends a request
	// half makes the second half wait over the first network, until it is closed; nil: it
	// comes at once. On a busy machine, one network could otherwise bring everything
	// before the other one has done anything.
	half <-chan struct{}
}

// heldBack reads data. What follows after the bytes of free comes once half is closed.
type heldBack struct {
	*bytes.Reader
	free int64
	half <-chan struct{}
	ctx  context.Context
}

func (h *heldBack) Read(b []byte) (int, error) {
	if h.Size()-int64(h.Len()) >= h.free {
		select {
		case <-h.half:
		case <-h.ctx.Done():
			return 0, h.ctx.Err()
		}
	} else if left := h.free - (h.Size() - int64(h.Len())); int64(len(b)) > left {
		b = b[:left]
	}
	return h.Reader.Read(b)
}

func startOrigin(t testing.TB, size int, h2 bool) *origin {
	o := &origin{data: content(size), header: http.Header{"Etag": {`"one"`}}, asked: map[string]int{}, both: make(chan struct{})}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(o.serve))
	if h2 {
		o.EnableHTTP2 = true
		o.StartTLS()
	} else {
		o.Start()
	}
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	o.mu.Lock()
	if o.asked[from]++; o.asked[from] == 1 && len(o.asked) == 2 {
		close(o.both)
	}
	if o.n++; o.n == 1 {
		o.first = from
	}
	n, odd, first := o.n, o.odd, from == o.first
	for name, values := range o.header {
		w.Header()[name] = values
	}
	o.mu.Unlock()
	if odd != nil && odd(n, from, w, r) {
		return
	}
	if data := bytes.NewReader(o.data); o.half != nil && first {
		http.ServeContent(w, r, "", time.Time{}, &heldBack{data, data.Size() / 2, o.half, r.Context()})
	} else {
		http.ServeContent(w, r, "", time.Time{}, data)
	}
}

func (o *origin) networks() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}
