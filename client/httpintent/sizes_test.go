package httpintent

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func request(t testing.TB, method, address string) *http.Request {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{Method: method, URL: u}
}

func TestPattern(t *testing.T) {
	long := "http://h/" + strings.Repeat("x", maxPattern)
	for _, tt := range []struct {
		method, url string
		max         int
		want        string
	}{
		{"GET", "http://cdn.example.net/video/7/seg-0041.ts?token=3f", 0, "GET cdn.example.net/video/#/seg-#.ts"},
		{"", "http://CDN.example.net/video/8/seg-12.ts", 0, "GET cdn.example.net/video/#/seg-#.ts"},
		{"POST", "http://h:8080/", 0, "POST h:8080/"},
		{"GET", "http://h", 0, "GET h"},
		{"GET", "http://h/o/0123456789abcdef0123456789ABCDEF/raw", 0, "GET h/o/#/raw"},
		{"GET", "http://h/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", 0, "GET h/o/#"},
		{"GET", "http://h/deadbeef", 0, "GET h/deadbeef"},
		{"GET", "http://h/a", -1, ""},
		{"GET", long, 0, ""},
	} {
		var s sizes
		if got := s.pattern(request(t, tt.method, tt.url), tt.max); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.url, got, tt.want)
		}
	}
}

func TestSizes(t *testing.T) {
	var s sizes
	_ = s.pattern(request(t, "GET", "http://h/"), 2)
	if _, ok := s.expected("a"); ok {
		t.Error("something is expected of nothing")
	}
	s.learn("", 7)
	s.learn("a", 1000)
	s.learn("a", 5000) // 2000 now
	if got, ok := s.expected("a"); !ok || got != 2048 {
		t.Errorf("expected %d, %v", got, ok)
	}
	s.learn("b", 0)
	_, _ = s.expected("a")
	s.learn("c", 3)
	for pattern, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, ok := s.expected(pattern); ok != want {
			t.Errorf("%s is known: %v", pattern, ok)
		}
	}
	for i := range 100 {
		s.learn(fmt.Sprint("p", i), 1)
	}
	if len(s.all) != 2 || s.used.Len() != 2 {
		t.Errorf("%d patterns are kept", len(s.all))
	}
}

func TestNearestPower(t *testing.T) {
	for n, want := range map[int64]int64{-1: 0, 0: 0, 1: 1, 3: 2, 5: 4, 6: 4, 7: 8, 300_000_000: 268_435_456, 1<<63 - 1: 1 << 62} {
		if got := nearestPower(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// Whatever the URL is, the memory for its pattern is bounded.
func FuzzPattern(f *testing.F) {
	f.Add("h", "/a/1")
	f.Add("h:80", "//\x00\xff0")
	f.Fuzz(func(t *testing.T, host, path string) {
		var s sizes
		p := s.pattern(&http.Request{URL: &url.URL{Scheme: "http", Host: host, Path: path}}, 1)
		if len(p) > 8+3*maxPattern { // an invalid byte becomes a replacement character of three bytes
			t.Errorf("%d bytes", len(p))
		}
		if p != "" && strings.ContainsAny(pathPattern(path), "0123456789") {
			t.Errorf("digits in %q", p)
		}
	})
}
