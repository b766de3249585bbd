package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/client/httpintent"
)

// A get continues what an earlier attempt has left only if the server's answer is about the
// same file and reaches its end. Otherwise the file is fetched again, or stays incomplete.
// It never has bytes of two files.
func TestGetResumesOdd(t *testing.T) {
	old, data := bytes.Repeat([]byte("old."), 1000), bytes.Repeat([]byte("new!"), 1000)
	const kept = 1000
	const date, later = "Mon, 02 Nov 2026 08:00:00 GMT", "Mon, 02 Nov 2026 09:00:00 GMT"
	for _, tt := range []struct {
		name      string
		validator string
		header    string // of the response with the rest
		sent      int    // bytes of the rest
		from      string // where the attempt was redirected to; "": nowhere
		want      []byte // nil: incomplete
	}{
		{"the rest", `"one"`, "ETag: \"one\"\r\n", 3000, "", append(old[:kept:kept], data[kept:]...)},
		{"less than the rest", `"one"`, "ETag: \"one\"\r\n", 500, "", nil},
		{"no tag, and another date", `"one"`, "Last-Modified: " + later + "\r\n", 3000, "", data},
		{"the same date", date, "Last-Modified: " + date + "\r\n", 3000, "", append(old[:kept:kept], data[kept:]...)},
		{"no date", date, "", 3000, "", append(old[:kept:kept], data[kept:]...)},
		{"another date", date, "Last-Modified: " + later + "\r\n", 3000, "", data},
		{"a tag in place of a date", date, "Last-Modified: " + date + "\r\nETag: \"two\"\r\n", 3000, "", data},
		{"a length beyond the range", `"one"`, "ETag: \"one\"\r\nContent-Length: 3500\r\n", 3000, "", data},
		{"a length short of the range", `"one"`, "ETag: \"one\"\r\nContent-Length: 500\r\n", 3000, "", data},
		{"redirected elsewhere", `"one"`, "ETag: \"one\"\r\n", 3000, "/other", data},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") == "" {
					_, _ = w.Write(data)
					return
				}
				nc, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = nc.Close() }() // which is the end of the response
				_, _ = fmt.Fprintf(nc, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n%sConnection: close\r\n\r\n", kept, len(data)-1, len(data), tt.header)
				_, _ = nc.Write(data[kept:][:tt.sent])
			}))
			defer s.Close()
			file := filepath.Join(t.TempDir(), "got")
			// The part has its whole length, as if a second network had written its end.
			part := append(append([]byte{}, old[:kept]...), make([]byte, len(data)-kept)...)
			copy(part[3900:], data[3900:])
			from := tt.from
			if from == "" {
				from = "/file"
			}
			state, err := json.Marshal(partState{
				URL: s.URL + "/file", Final: s.URL + from, Validator: tt.validator, Size: int64(len(data)),
				Ranges: []httpintent.Range{{From: 0, To: kept}, {From: 3900, To: 4000}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for name, b := range map[string][]byte{file + ".part": part, file + ".part.json": state} {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, s.URL+"/file")
			got, err := os.ReadFile(file)
			if tt.want == nil {
				if code != exitPartial || !os.IsNotExist(err) || !strings.Contains(errs, "goes on from there") {
					t.Errorf("code %d, %d bytes: %s", code, len(got), errs)
				}
				return
			}
			if code != exitOK || !bytes.Equal(got, tt.want) {
				t.Errorf("code %d, %d bytes, not what is wanted: %s", code, len(got), errs)
			}
		})
	}
}

// A file that the server says is unchanged stays as it is.
func TestGetNotModified(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, "-H", `If-None-Match: "one"`, s.URL)
	if got, err := os.ReadFile(file); code != exitOK || string(got) != "precious" || err != nil || !strings.Contains(errs, "nothing has changed") {
		t.Errorf("code %d, %q, %v: %s", code, got, err, errs)
	}
	if _, err := os.Stat(file + ".part"); !os.IsNotExist(err) {
		t.Errorf("a part is left: %v", err)
	}
	if code, out, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", "-", "-H", `If-None-Match: "one"`, s.URL); code != exitOK || out != "" || !strings.Contains(errs, "nothing is written: ") {
		t.Errorf("code %d, %q: %s", code, out, errs)
	}
}

// A file that replaces a private file is just as private.
func TestGetKeepsMode(t *testing.T) {
	s := startShelf(t, 1000, false)
	file := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, s.URL+"/file.bin"); code != exitOK {
		t.Fatalf("code %d: %s", code, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 1000 {
		t.Errorf("%v, %v", info, err)
	}
}

// Credentials go to the server that they were given for, by the scheme and at the port that were
// named, and to nobody else.
func TestCredentialsAreForOneServer(t *testing.T) {
	for to, want := range map[string]bool{
		"https://a.test/b": true, "https://a.test/": true, "http://a.test/": false, "https://b.test/": false, "https://a.test:444/": false,
		"https://x.a.test/": false, "https://a.test.evil.test/": false, "https://a.test@evil.test/": false,
	} {
		req := &http.Request{Header: http.Header{}}
		var err error
		if req.URL, err = url.Parse(to); err != nil {
			t.Fatal(err)
		}
		names := []string{"Authorization", "Cookie", "Proxy-Authorization"}
		for _, name := range names {
			req.Header.Set(name, "secret")
		}
		first, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRedirect(req, []*http.Request{first}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		for _, name := range names {
			if got := req.Header.Get(name) != ""; got != want {
				t.Errorf("%s: %s is sent: %t", to, name, got)
			}
		}
	}
}

// A part is taken only if nobody else can have put it there.
func TestPartOfOthers(t *testing.T) {
	open := func(name string) error {
		p, err := openPart(name, true)
		if err == nil {
			_ = p.file.Close()
		}
		return err
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(name+".2", nil, 0o600), os.Link(name+".2", name+".part")); err != nil {
		t.Fatal(err)
	}
	if err := open(name); err != nil {
		t.Errorf("a second name in a folder of one's own: %v", err)
	}
	if err := os.Chmod(filepath.Dir(name), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := open(name); err == nil {
		t.Error("a second name is taken in a folder like /tmp")
	}
	if err := os.Remove(name + ".2"); err != nil {
		t.Fatal(err)
	}
	if err := open(name); err != nil {
		t.Errorf("the only name in a folder like /tmp: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	if err := os.Chown(name+".part", 4711, -1); err != nil {
		t.Fatal(err)
	}
	if err := open(name); err == nil {
		t.Error("another user's part is taken")
	}
}

// What a part already holds is believed only of a state that nobody else can have put there.
func TestStateOfOthers(t *testing.T) {
	const address = "http://a.test/file"
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name+".part", make([]byte, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := openPart(name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.file.Close() }()
	state := partState{URL: address, Final: address, Validator: `"one"`, Size: 20, Ranges: []httpintent.Range{{From: 0, To: 10}}}
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(p.state()), os.WriteFile(path, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	known := func(what string, want bool) {
		t.Helper()
		s, err := p.known(address)
		if got := s.Validator != ""; got != want || err != nil {
			t.Errorf("%s: believed %t, %v", what, got, err)
		}
	}
	write(p.state())
	known("its own", true)
	write(filepath.Join(dir, "other"))
	if err := os.Symlink("other", p.state()); err != nil {
		t.Fatal(err)
	}
	known("a link", false)
	text = append(text, bytes.Repeat([]byte(" "), maxState)...)
	write(p.state())
	known("a long one", false)
	text = text[:len(text)-maxState]
	if os.Geteuid() == 0 {
		write(p.state())
		if err := os.Chown(p.state(), 4711, -1); err != nil {
			t.Fatal(err)
		}
		known("another user's", false)
	}
}

// A response goes on with a file only if it is the part that was asked for, of the same file.
func TestWhatContinuesAFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*http.Response)
		want   bool
	}{
		{"the part", func(*http.Response) {}, true},
		{"of unknown length", func(r *http.Response) { r.ContentLength = -1 }, true},
		{"all of it", func(r *http.Response) { r.StatusCode = http.StatusOK }, false},
		{"of another length", func(r *http.Response) { r.ContentLength = 9 }, false},
		{"another part", func(r *http.Response) { r.Header.Set("Content-Range", "bytes 0-9/20") }, false},
		{"of a longer file", func(r *http.Response) { r.Header.Set("Content-Range", "bytes 10-19/30") }, false},
		{"no range", func(r *http.Response) { r.Header.Del("Content-Range") }, false},
		{"another version", func(r *http.Response) { r.Header.Set("ETag", `"two"`) }, false},
		{"no version", func(r *http.Response) { r.Header.Del("ETag") }, false},
		{"from elsewhere", func(r *http.Response) { r.Request.URL.Host = "b.test" }, false},
	} {
		s := partState{Final: "http://a.test/file", Validator: `"one"`, Size: 20, Ranges: []httpintent.Range{{From: 0, To: 10}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Final+"?signed", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: http.StatusPartialContent, ContentLength: 10, Request: req, Header: http.Header{}}
		resp.Header.Set("ETag", `"one"`)
		resp.Header.Set("Content-Range", "bytes 10-19/20")
		tt.change(resp)
		if got := s.continues(resp); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// What another user's file permits does not count for the part that is to take its place. In a
// folder like /tmp, anybody can put such a file there first.
func TestGetDistrustsModeOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	for _, tt := range []struct {
		uid        int
		mode, want os.FileMode
	}{{0, 0o666, 0o666}, {0, 0o600, 0o600}, {4711, 0o666, 0o644}, {4711, 0o600, 0o600}, {4711, 0o044, 0o644}} {
		name := filepath.Join(t.TempDir(), "file")
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chmod(name, tt.mode), os.Chown(name, tt.uid, 0), os.WriteFile(name+".part", nil, 0o644), os.Chmod(name+".part", 0o644)); err != nil {
			t.Fatal(err)
		}
		p, err := openPart(name, false)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := p.file.Stat(); err != nil || info.Mode().Perm() != tt.want {
			t.Errorf("%#o of user %d: %v, want %#o: %v", tt.mode, tt.uid, info.Mode().Perm(), tt.want, err)
		}
		p.close()
	}
}

// Only get itself asks for ranges.
func TestGetRefusesRange(t *testing.T) {
	for _, header := range []string{"Range: bytes=100-", "if-range: \"one\""} {
		if code, _, errs := mammactl(t.Context(), "", "get", "-o", filepath.Join(t.TempDir(), "x"), "-H", header, "http://127.0.0.1:1/"); code != exitUsage || !strings.Contains(errs, "whole files") {
			t.Errorf("%s: code %d: %s", header, code, errs)
		}
	}
}

// The password of a URL is not written to disk. The part of such a get can be continued
// nevertheless.
func TestGetKeepsNoPassword(t *testing.T) {
	s := startShelf(t, 4_000_000, false)
	s.limit.Store(2_500_000)
	file := filepath.Join(t.TempDir(), "got")
	args := []string{"get", "--json", "--socket", "/nonexistent", "-o", file, strings.Replace(s.URL, "://", "://user:geheim@", 1) + "/file.bin"}
	code, out, errs := mammactl(t.Context(), "", args...)
	state, err := os.ReadFile(file + ".part.json")
	if code == exitOK || err != nil || strings.Contains(string(state)+out+errs, "geheim") {
		t.Fatalf("code %d, %v: %s%s%s", code, err, state, out, errs)
	}
	s.limit.Store(0)
	code, out, errs = mammactl(t.Context(), "", args...)
	var r gotten
	if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil || r.Fetched >= r.Size || strings.Contains(out+errs, "geheim") {
		t.Errorf("code %d, %v: %s%s", code, err, out, errs)
	}
}

// The messages that net/http logs about a server are not shown, because they contain
// bytes from the server.
func TestLogIsNotShown(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	if code, _, errs := mammactl(t.Context(), "", "version"); code != exitOK {
		t.Fatalf("code %d: %s", code, errs)
	}
	log.Print("Unsolicited response received on idle HTTP channel")
	if logged.Len() > 0 {
		t.Errorf("shown: %s", &logged)
	}
}

// A part of another program stays as it is, unless the user wants it overwritten.
func TestGetLeavesForeignPart(t *testing.T) {
	s := startShelf(t, 1000, false)
	file := filepath.Join(t.TempDir(), "got")
	if err := os.WriteFile(file+".part", []byte("precious"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"get", "--socket", "/nonexistent", "-o", file, s.URL + "/file.bin"}
	code, _, errs := mammactl(t.Context(), "", args...)
	got, err := os.ReadFile(file + ".part")
	if code != exitWrite || string(got) != "precious" || err != nil || !strings.Contains(errs, "--restart") {
		t.Errorf("code %d, %q, %v: %s", code, got, err, errs)
	}
	if info, err := os.Stat(file + ".part"); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if code, _, errs = mammactl(t.Context(), "", append(args, "--restart")...); code != exitOK {
		t.Errorf("code %d: %s", code, errs)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The part of a get that was killed is recognised as its own, with a strong validator or
// without. A state is beside the part from the first byte on.
func TestGetKilled(t *testing.T) {
	for _, tag := range []string{`"one"`, ""} {
		file := filepath.Join(t.TempDir(), "got")
		p, err := openPart(file, false)
		if err != nil {
			t.Fatal(err)
		}
		s := startShelf(t, 1000, false)
		s.tag.Store(tag)
		resp, err := http.Get(s.URL + "/file.bin") //nolint:noctx // ends with the server
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.begin(s.URL+"/file.bin", resp, partState{})
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.WriteAt(make([]byte, 500), 0); err != nil {
			t.Fatal(err)
		}
		if err := p.file.Close(); err != nil { // as the end of the process does
			t.Fatal(err)
		}
		code, _, errs := mammactl(t.Context(), "", "get", "--socket", "/nonexistent", "-o", file, s.URL+"/file.bin")
		if got, err := os.ReadFile(file); code != exitOK || err != nil || !bytes.Equal(got, s.data) {
			t.Errorf("%q: code %d, %v: %s", tag, code, err, errs)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
