package httpintent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

var twoNetworks = clienttest.From("127.0.0.2", "127.0.0.3")

// splitting returns a Transport that splits, and asks a manager with that script.
func splitting(t testing.TB, o *origin, script clienttest.Script) *Transport {
	tr, _ := start(t, script)
	tr.Base = o.Client().Transport.(*http.Transport).Clone()
	tr.Split = &Split{MinSize: 1000}
	return tr
}

func wanted(ctx context.Context, t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func bulk(ctx context.Context) context.Context {
	return intent.NewContext(ctx, intent.Set{}.WithCategory(intent.CategoryBulkTransfer))
}

// Both networks together bring all bytes, in order and in any order, whatever the
// request is.
func TestSplit(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, expected := range []bool{false, true} {
			for _, save := range []bool{false, true} {
				t.Run(fmt.Sprintf("HTTP/2 %v, expected %v, saved %v", h2, expected, save), func(t *testing.T) {
					o := startOrigin(t, 4_000_001, h2)
					o.half = o.both
					tr := splitting(t, o, twoNetworks)
					ctx := t.Context()
					if expected {
						ctx = bulk(ctx)
					}
					resp, err := (&http.Client{Transport: tr}).Do(wanted(ctx, t, o.URL+"/file"))
					if err != nil {
						t.Fatal(err)
					}
					if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(o.data)) || resp.Header.Get("Content-Range") != "" {
						t.Errorf("status %s, length %d, header %v", resp.Status, resp.ContentLength, resp.Header)
					}
					var got []byte
					if save {
						f := tempFile(t)
						if err := Save(f, resp); err != nil {
							t.Fatal(err)
						}
						got, _ = os.ReadFile(f.Name())
					} else if got, err = io.ReadAll(resp.Body); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, o.data) {
						t.Errorf("%d bytes, not those of the server", len(got))
					}
					if o.networks() != 2 {
						t.Errorf("asked over %v", o.asked)
					}
					p, ok := ProgressOf(resp)
					if !ok || p.Received != int64(len(o.data)) || len(p.Networks) != 2 || p.Networks[0].Bytes == 0 {
						t.Errorf("progress %+v", p)
					}
					if err := resp.Body.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Whatever odd thing a server does, no byte is lost and none is doubled.
func TestSplitOdd(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		odd    func(o *origin) func(n int, from string, w http.ResponseWriter, r *http.Request) bool
		err    error // error of reading; nil: everything arrives
		plain  bool  // the response is not split
		either bool  // whether it is split depends on what was expected
	}{
		{name: "no validator", header: http.Header{}, plain: true},
		{name: "weak tag", header: http.Header{"Etag": {`W/"one"`}}, plain: true},
		{name: "fresh date", header: http.Header{"Last-Modified": {time.Now().UTC().Format(http.TimeFormat)}}, plain: true},
		{name: "old date", header: http.Header{"Last-Modified": {"Sat, 01 Jan 2022 00:00:00 GMT"}}},
		{name: "encoded", header: http.Header{"Etag": {`"one"`}, "Content-Encoding": {"br"}}, plain: true},
		{name: "ranges are ignored", either: true, odd: func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(_ int, _ string, _ http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				return false
			}
		}},
		{name: "ranges are ignored later", odd: later(func(_ *origin, _ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		})},
		{name: "another length later", odd: broken(func(o *origin, w http.ResponseWriter, r *http.Request) bool {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data[:len(o.data)-1]))
			return true
		}), err: ErrChanged},
		{name: "another length later, the first goes on", odd: later(func(o *origin, w http.ResponseWriter, r *http.Request) bool {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data[:len(o.data)-1]))
			return true
		})},
		{name: "another tag later", odd: broken(func(_ *origin, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("ETag", `"two"`)
			return false
		}), err: ErrChanged},
		{name: "tag without a condition", odd: broken(func(o *origin, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("ETag", `"two"`)
			r.Header.Del("If-Range")
			return false
		}), err: ErrChanged},
		{name: "several parts later", odd: later(func(_ *origin, w http.ResponseWriter, r *http.Request) bool {
			if v := r.Header.Get("Range"); v != "" {
				r.Header.Set("Range", v+",0-0")
			}
			return false
		})},
		{name: "another range later", odd: later(func(o *origin, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=0-9")
			}
			return false
		})},
		{name: "less than the range", odd: later(func(o *origin, w http.ResponseWriter, r *http.Request) bool {
			var from, to int
			if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, (from+to)/2))
			}
			return false
		})},
		{name: "not now", odd: func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, _ string, w http.ResponseWriter, _ *http.Request) bool {
				if n%3 != 2 {
					return false
				}
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return true
			}
		}},
		{name: "connections break", odd: func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, _ string, w http.ResponseWriter, r *http.Request) bool {
				if n%3 == 2 {
					panic(http.ErrAbortHandler)
				}
				return false
			}
		}},
		{name: "the second network is odd", odd: func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(_ int, from string, w http.ResponseWriter, _ *http.Request) bool {
				if from != "127.0.0.3" {
					return false
				}
				http.Error(w, "please log in", http.StatusOK)
				return true
			}
		}},
	} {
		for _, expected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, expected %v", test.name, expected), func(t *testing.T) {
				o := startOrigin(t, 2_500_001, false)
				if test.header != nil {
					o.header = test.header
				}
				if test.odd != nil {
					o.odd = test.odd(o)
				}
				tr := splitting(t, o, twoNetworks)
				ctx := t.Context()
				if expected {
					ctx = bulk(ctx)
				}
				resp, err := tr.RoundTrip(wanted(ctx, t, o.URL+"/file"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				_, split := ProgressOf(resp)
				if split == test.plain && !test.either {
					t.Errorf("split %v", split)
				}
				if !bytes.HasPrefix(o.data, got) {
					t.Fatalf("%d bytes that are not the server's", len(got))
				}
				if test.err == nil && (err != nil || len(got) != len(o.data)) || test.err != nil && split && len(got) < len(o.data) && !errors.Is(err, test.err) {
					t.Errorf("%d bytes of %d, %v", len(got), len(o.data), err)
				}
				if test.err != nil && split && err == nil {
					t.Error("another representation was put into this one")
				}
			})
		}
	}
}

// later makes the server odd from the second request on.
func later(odd func(*origin, http.ResponseWriter, *http.Request) bool) func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
	return func(o *origin) func(int, string, http.ResponseWriter, *http.Request) bool {
		return func(n int, _ string, w http.ResponseWriter, r *http.Request) bool { return n > 1 && odd(o, w, r) }
	}
}

// broken is later with a first response that breaks off, so that it cannot bring
// everything.
func broken(odd func(*origin, http.ResponseWriter, *http.Request) bool) func(*origin) func(int, string, http.ResponseWriter, *http.Request) bool {
	return func(o *origin) func(int, string, http.ResponseWriter, *http.Request) bool {
		return func(n int, _ string, w http.ResponseWriter, r *http.Request) bool {
			if n > 1 {
				return odd(o, w, r)
			}
			http.ServeContent(&breaking{w, len(o.data) / 2}, r, "", time.Time{}, bytes.NewReader(o.data))
			return true
		}
	}
}

// breaking ends a response after that many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

// A server or a filter before it that refuses ranges gives what it gives without them.
func TestSplitRefused(t *testing.T) {
	for _, status := range []int{400, 403, 405, 406, 412, 416, 417, 422, 500, 501, 502} {
		o := startOrigin(t, 2_500_001, false)
		o.odd = func(_ int, _ string, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(status)
			return true
		}
		resp, err := splitting(t, o, twoNetworks).RoundTrip(wanted(bulk(t.Context()), t, o.URL+"/file"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || err != nil || !bytes.Equal(got, o.data) {
			t.Errorf("%d: status %s, %d bytes, %v", status, resp.Status, len(got), err)
		}
	}
	o := startOrigin(t, 1000, false)
	o.odd = func(_ int, _ string, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	resp, err := splitting(t, o, twoNetworks).RoundTrip(wanted(bulk(t.Context()), t, o.URL+"/file"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || o.n != 1 {
		t.Errorf("status %s after %d requests", resp.Status, o.n)
	}
}

// If a response cannot be split, or there is one network, there is one ordinary
// request.
func TestNotSplit(t *testing.T) {
	costly := func(r clienttest.Request) clienttest.Answer {
		a := twoNetworks(r)
		a.Cost.Level, a.Alternates[0].Cost.Level = clienttest.Free, clienttest.Metered
		return a
	}
	multipath := func(r clienttest.Request) clienttest.Answer {
		a := twoNetworks(r)
		a.Multipath = true
		return a
	}
	for _, test := range []struct {
		name    string
		script  clienttest.Script
		prepare func(*http.Request) *http.Request
		size    int
	}{
		{"one network", clienttest.From("127.0.0.2"), nil, 5e6},
		{"the other one is metered", costly, nil, 5e6},
		{"Multipath TCP", multipath, nil, 5e6},
		{"small", twoNetworks, nil, 500},
		{"empty", twoNetworks, nil, 0},
		{"a condition", twoNetworks, func(r *http.Request) *http.Request { r.Header.Set("If-None-Match", `"other"`); return r }, 5e6},
		{"a range", twoNetworks, func(r *http.Request) *http.Request { r.Header.Set("Range", "bytes=5-9"); return r }, 5e6},
		{"HEAD", twoNetworks, func(r *http.Request) *http.Request { r.Method = http.MethodHead; return r }, 5e6},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := startOrigin(t, test.size, false)
			tr := splitting(t, o, test.script)
			req := wanted(bulk(t.Context()), t, o.URL)
			if test.prepare != nil {
				req = test.prepare(req)
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if _, split := ProgressOf(resp); split || err != nil || o.networks() > 1 {
				t.Errorf("split %v over %v, %v", split, o.asked, err)
			}
			if test.prepare == nil && (!bytes.Equal(b, o.data) || resp.StatusCode != http.StatusOK) {
				t.Errorf("%s, %d bytes", resp.Status, len(b))
			}
		})
	}
}

// A network that takes the first request and does not answer it holds nothing up: another
// is asked, and the first request ended.
func TestSplitUnanswered(t *testing.T) {
	o := startOrigin(t, 9e6, false)
	ended := make(chan struct{})
	var silent atomic.Value
	o.odd = func(n int, from string, _ http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			silent.Store(from)
			defer close(ended)
		}
		if silent.Load() != from {
			return false
		}
		<-r.Context().Done()
		return true
	}
	tr := splitting(t, o, twoNetworks)
	tr.patience = 10 * time.Millisecond
	resp, err := tr.RoundTrip(wanted(bulk(t.Context()), t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(b, o.data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the first request goes on")
	}
}

// If no network answers, the request ends with the caller's context.
func TestSplitNeverAnswered(t *testing.T) {
	o := startOrigin(t, 9e6, false)
	ctx, cancel := context.WithCancel(bulk(t.Context()))
	o.odd = func(n int, _ string, _ http.ResponseWriter, r *http.Request) bool {
		if n == 2 {
			cancel()
		}
		<-r.Context().Done()
		return true
	}
	tr := splitting(t, o, twoNetworks)
	tr.patience = 10 * time.Millisecond
	if resp, err := tr.RoundTrip(wanted(ctx, t, o.URL)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", resp, err)
	}
}

// A metered network takes part for a request in a hurry, and brings no more than its
// budget.
func TestSplitOverMetered(t *testing.T) {
	o := startOrigin(t, 9e6, false)
	second := make(chan struct{})
	o.half = second
	tr := splitting(t, o, func(r clienttest.Request) clienttest.Answer {
		a := twoNetworks(r)
		a.Cost.Level, a.Alternates[0].Cost = clienttest.Free, clienttest.Cost{Level: clienttest.Metered, Budget: 1e6}
		return a
	})
	ctx := intent.NewContext(t.Context(), intent.Set{}.WithFileSize(9e6).WithTimeliness(intent.TimelinessStreaming))
	resp, err := tr.RoundTrip(wanted(ctx, t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	d := resp.Body.(*splitBody).download
	d.mu.Lock()
	for !d.overLocked() && d.plan.Shares(d.now())[1].Received == 0 {
		d.changed.Wait()
	}
	d.mu.Unlock()
	close(second)
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	p, _ := ProgressOf(resp)
	if err != nil || !bytes.Equal(b, o.data) || len(p.Networks) != 2 || p.Networks[1].Bytes == 0 || p.Networks[1].Bytes > 1e6 {
		t.Errorf("%d bytes, %v, %+v", len(b), err, p.Networks)
	}
}

// A slow reader holds the networks up, with bounded memory. When the reader closes the
// body, they end.
func TestSplitBackpressure(t *testing.T) {
	o := startOrigin(t, 20e6, false)
	tr := splitting(t, o, twoNetworks)
	tr.Split.Memory = 2 << 20
	resp, err := tr.RoundTrip(wanted(bulk(t.Context()), t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	buf := make([]byte, 100_000)
	for range 60 {
		n, err := io.ReadFull(resp.Body, buf)
		hash.Write(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		d := resp.Body.(*splitBody).download
		d.mu.Lock()
		kept := (len(d.store.chunks) + len(d.store.free)) * chunkSize
		d.mu.Unlock()
		if kept > 2<<20+2*chunkSize {
			t.Fatalf("%d bytes kept", kept)
		}
	}
	if hash.Sum(nil); !bytes.Equal(hash.Sum(nil), sum(o.data[:6_000_000])) {
		t.Error("not what the server has")
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := resp.Body.Read(buf); err == nil {
		t.Error("read after close")
	}
	resp.Body.(*splitBody).download.tasks.Wait()
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// The request's context ends the whole download.
func TestSplitCancel(t *testing.T) {
	o := startOrigin(t, 40e6, false)
	tr := splitting(t, o, twoNetworks)
	ctx, cancel := context.WithCancel(bulk(t.Context()))
	resp, err := tr.RoundTrip(wanted(ctx, t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	_ = resp.Body.Close()
	resp.Body.(*splitBody).download.tasks.Wait()
}

// A download continues an earlier one and fetches only what is missing.
func TestSplitResume(t *testing.T) {
	o := startOrigin(t, 9e6, false)
	tr := splitting(t, o, twoNetworks)
	f := tempFile(t)
	have := []Range{{0, 2_000_000}, {4_000_000, 7_000_000}}
	for _, r := range have {
		if _, err := f.WriteAt(o.data[r.From:r.To], r.From); err != nil {
			t.Fatal(err)
		}
	}
	var ranges []string
	o.odd = func(_ int, _ string, _ http.ResponseWriter, r *http.Request) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		ranges = append(ranges, r.Header.Get("Range"))
		return false
	}
	req := wanted(bulk(t.Context()), t, o.URL)
	req.Header.Set("Range", "bytes=2000000-")
	req.Header.Set("If-Range", `"one"`)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if want := "bytes 2000000-8999999/9000000"; resp.StatusCode != http.StatusPartialContent || resp.Header.Get("Content-Range") != want || resp.ContentLength != 7e6 {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	if err := Save(f, resp, have...); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Name()); !bytes.Equal(got, o.data) {
		t.Error("not what the server has")
	}
	for _, asked := range ranges[1:] { // how often the end is asked for depends on the machine
		var from, last int64
		if _, err := fmt.Sscanf(asked, "bytes=%d-%d", &from, &last); err != nil || from < 7e6 && last >= 4e6 {
			t.Errorf("asked for %q, and has %v", asked, have)
		}
	}

	o.header = http.Header{"Etag": {`"two"`}}
	req = wanted(bulk(t.Context()), t, o.URL)
	req.Header.Set("Range", "bytes=2000000-")
	req.Header.Set("If-Range", `"one"`)
	if resp, err = tr.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("changed meanwhile: %s", resp.Status)
	}
}

// If nothing can be written, the download ends with that error.
func TestSaveFails(t *testing.T) {
	o := startOrigin(t, 9e6, false)
	tr := splitting(t, o, twoNetworks)
	resp, err := tr.RoundTrip(wanted(bulk(t.Context()), t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	f := tempFile(t)
	_ = f.Close()
	if err := Save(f, resp); !errors.Is(err, os.ErrClosed) {
		t.Errorf("saved: %v", err)
	}
}

// Without ranges, Save writes in order.
func TestSavePlain(t *testing.T) {
	o := startOrigin(t, 5000, false)
	tr := splitting(t, o, clienttest.From("127.0.0.2"))
	resp, err := tr.RoundTrip(wanted(t.Context(), t, o.URL))
	if err != nil {
		t.Fatal(err)
	}
	f := tempFile(t)
	if err := Save(f, resp); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Name()); !bytes.Equal(got, o.data) {
		t.Error("not what the server has")
	}
}
