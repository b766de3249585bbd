package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Only complete transfers count, and wrong bytes are always reported.
func TestSummary(t *testing.T) {
	const ms = time.Millisecond
	whole := func(silence, took time.Duration) *outcome { return &outcome{Silence: silence, Took: took} }
	broken := &outcome{Broken: "idle", Silence: time.Hour, Took: time.Hour}
	for _, tt := range []struct {
		name string
		list []*outcome
		want string
	}{
		{"one", []*outcome{whole(80*ms, 2*time.Second)}, "1 of 1\t80ms (80ms to 80ms)\t2.00"},
		{"an even number", []*outcome{whole(90*ms, 3*time.Second), whole(50*ms, 2*time.Second)}, "2 of 2\t70ms (50ms to 90ms)\t2.50"},
		{"some broke", []*outcome{broken, whole(50*ms, time.Second), broken}, "1 of 3\t50ms (50ms to 50ms)\t1.00"},
		{"all broke", []*outcome{broken}, "0 of 1\t\t"},
		{"wrong", []*outcome{{Wrong: true, Broken: "wrong"}, whole(50*ms, time.Second)}, "1 of 2, WRONG BYTES\t50ms (50ms to 50ms)\t1.00"},
	} {
		if got := summary(tt.list); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// An errand notices bytes that are missing or wrong.
func TestErrand(t *testing.T) {
	const size = 100_000
	var all bytes.Buffer
	if _, err := io.Copy(&all, &content{left: size}); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(all.Bytes()[:1<<15]); sum == sha256.Sum256(all.Bytes()[1<<15:1<<16]) {
		t.Error("the content repeats itself")
	}
	other := bytes.Clone(all.Bytes())
	other[size-1]++
	for _, tt := range []struct {
		name   string
		body   []byte
		length string
		broken string // part of it
		wrong  bool
	}{
		{"whole", all.Bytes(), "100000", "", false},
		{"a byte is wrong", other, "100000", errWrong.Error(), true},
		{"it ends too early", all.Bytes()[:size-1], "100000", "EOF", false},
		{"it is too short", all.Bytes()[:size-1], "99999", errWrong.Error(), true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", tt.length)
			_, _ = w.Write(tt.body)
		}))
		e := &errand{URL: s.URL, Objects: 2, Size: size}
		out := &outcome{}
		e.run(t.Context(), s.Client(), out)
		s.Close()
		if (out.Broken == "") != (tt.broken == "") || !strings.Contains(out.Broken, tt.broken) || out.Wrong != tt.wrong || out.Bytes != 2*int64(len(tt.body)) {
			t.Errorf("%s: %+v", tt.name, out)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"--repeat", "0"}, {"E11"}, {"--unknown"}} {
		if err := run(context.Background(), args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
