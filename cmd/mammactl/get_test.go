package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/client/httpintent"
)

// shelf is a server that has one file.
type shelf struct {
	*httptest.Server
	data  []byte
	tag   atomic.Value // of string
	sent  atomic.Int64
	limit atomic.Int64 // bytes after which the server breaks connections; 0: never
	broke atomic.Value // called when a connection is broken
	extra http.Header
}

func startShelf(t *testing.T, size int, secure bool) *shelf {
	s := &shelf{data: make([]byte, size), extra: http.Header{}}
	random := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = random.Read(s.data)
	s.tag.Store(`"one"`)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tag := s.tag.Load().(string); tag != "" {
			w.Header().Set("ETag", tag)
		}
		for name, values := range s.extra {
			w.Header()[name] = values
		}
		http.ServeContent(&limited{w, s}, r, "", time.Time{}, bytes.NewReader(s.data))
	})
	mux := http.NewServeMux()
	mux.Handle("/file.bin", h)
	mux.Handle("/moved", http.RedirectHandler("/file.bin", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	mux.HandleFunc("/closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/stuck", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = nil
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// limited breaks the connection when the server has sent enough.
type limited struct {
	http.ResponseWriter
	s *shelf
}

func (l *limited) Write(b []byte) (int, error) {
	if most := l.s.limit.Load(); most > 0 && l.s.sent.Load()+int64(len(b)) > most {
		if f, ok := l.s.broke.Load().(func()); ok {
			f()
		}
		panic(http.ErrAbortHandler)
	}
	n, err := l.ResponseWriter.Write(b)
	l.s.sent.Add(int64(n))
	return n, err
}

// two starts a manager with two networks and returns its socket.
func two(t *testing.T) string {
	return clienttest.Start(t, clienttest.From("127.0.0.2", "127.0.0.3")).Path
}

func (s *shelf) sum() string { return fmt.Sprintf("%x", sha256.Sum256(s.data)) }

func TestGet(t *testing.T) {
	s := startShelf(t, 5_000_001, false)
	file := filepath.Join(t.TempDir(), "got")
	code, out, errs := mammactl(t.Context(), "", "get", "--json", "--socket", two(t), "-o", file, "--digest", "sha-256:"+s.sum(), s.URL+"/moved")
	if code != exitOK || errs != "" {
		t.Fatalf("code %d: %s", code, errs)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	var r gotten
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.URL != s.URL+"/file.bin" || r.Size != 5_000_001 || r.Fetched != r.Size || !r.Split || !r.Manager || len(r.Networks) != 2 || *r.Validator != `"one"` || r.Digest.Value != s.sum() {
		t.Errorf("%s", out)
	}
	for _, left := range []string{".part", ".part.json"} {
		if _, err := os.Stat(file + left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", left, err)
		}
	}
	if code, out, errs = mammactl(t.Context(), "", "get", "--socket", two(t), "-o", "-", s.URL+"/file.bin"); code != exitOK || out != string(s.data) || errs != "" {
		t.Errorf("to standard output: code %d, %d bytes, %s", code, len(out), errs)
	}
}

// A file that is not a regular one is written to and never replaced, because people
// name /dev/null and /dev/stdout.
func TestGetInto(t *testing.T) {
	s := startShelf(t, 300_000, false)
	dir := t.TempDir()
	fifo, link, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	read := make(chan []byte, 1)
	go func() {
		b, _ := os.ReadFile(fifo)
		read <- b
	}()
	for _, name := range []string{fifo, link} {
		before, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		code, out, errs := mammactl(t.Context(), "", "get", "--json", "--socket", two(t), "-o", name, s.URL+"/file.bin")
		if code != exitOK || errs != "" {
			t.Fatalf("%s: code %d: %s", name, code, errs)
		}
		if r := (gotten{}); json.Unmarshal([]byte(out), &r) != nil || r.Size != 300_000 || r.Fetched != r.Size {
			t.Errorf("%s: %s", name, out)
		}
		if after, err := os.Lstat(name); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is another file now: %v", name, err)
		}
	}
	if got := <-read; !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes through the FIFO", len(got))
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes through the link, %v", len(got), err)
	}
	// --max-time also ends the wait for a reader of a FIFO.
	if code, _, errs := mammactl(t.Context(), "", "get", "--socket", two(t), "--max-time", "50ms", "-o", fifo, s.URL+"/file.bin"); code != exitTooLate {
		t.Errorf("without a reader: code %d: %s", code, errs)
	}
	late, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0) // lets opens return that still wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, late); err != nil {
		t.Error(err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
}

// Without a manager the file comes over one network, and one message says so.
func TestGetAlone(t *testing.T) {
	s := startShelf(t, 3_000_000, false)
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	t.Chdir(dir)
	code, out, errs := mammactl(t.Context(), "", "get", "--socket", none, s.URL+"/file.bin")
	if code != exitOK || out != "" || strings.Count(errs, "no mamma answers") != 1 || strings.Count(errs, "\n") != 2 {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if got, err := os.ReadFile("file.bin"); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if code, _, errs = mammactl(t.Context(), "", "get", "-q", "--socket", none, s.URL+"/file.bin"); code != exitOK || errs != "" {
		t.Errorf("quiet: code %d: %s", code, errs)
	}
}

// After an interruption the bytes are kept with their validator, and only the rest is
// fetched.
func TestGetResumes(t *testing.T) {
	for _, test := range []struct {
		name   string
		script clienttest.Script
		tag    string // the validator at the second attempt
		anew   bool
		args   []string
	}{
		{"two networks", clienttest.From("127.0.0.2", "127.0.0.3"), `"one"`, false, nil},
		{"one network", clienttest.From("127.0.0.2"), `"one"`, false, nil},
		{"another version", clienttest.From("127.0.0.2", "127.0.0.3"), `"two"`, true, nil},
		{"another version over one network", clienttest.From("127.0.0.2"), `"two"`, true, nil},
		{"anew", clienttest.From("127.0.0.2"), `"one"`, true, []string{"--restart"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startShelf(t, 4_000_000, false)
			s.limit.Store(2_500_000)
			socket := clienttest.Start(t, test.script).Path
			file := filepath.Join(t.TempDir(), "got")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var breaks atomic.Int64
			s.broke.Store(func() { // with two networks, the download would be retried for a while
				if breaks.Add(1) == 4 {
					cancel()
				}
			})
			code, _, errs := mammactl(ctx, "", "get", "--socket", socket, "-o", file, s.URL+"/file.bin")
			if code != exitPartial && code != exitReceive && code != exitInterrupted || !strings.Contains(errs, "goes on from there") {
				t.Fatalf("code %d: %s", code, errs)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("an incomplete file has the name of the complete one")
			}
			var kept partState
			if b, err := os.ReadFile(file + ".part.json"); err != nil || json.Unmarshal(b, &kept) != nil {
				t.Fatal(err)
			}
			left := kept.Size - kept.bytes()
			if strings.Contains(test.name, "one") {
				left = kept.Size - kept.missing()
			}
			if test.anew {
				left = kept.Size
			}
			s.limit.Store(0)
			s.tag.Store(test.tag)
			code, out, errs := mammactl(t.Context(), "", append([]string{"get", "--json", "--socket", socket, "-o", file, s.URL + "/file.bin"}, test.args...)...)
			if code != exitOK {
				t.Fatalf("code %d: %s", code, errs)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, s.data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			var r gotten
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			if r.Fetched != left || r.Size != 4_000_000 || len(kept.Ranges) == 0 {
				t.Errorf("kept %v, %d bytes left; %s", kept.Ranges, left, out)
			}
		})
	}
}

// Without a strong validator no bytes are kept.
func TestGetKeepsNothing(t *testing.T) {
	s := startShelf(t, 4_000_000, false)
	s.tag.Store(`W/"one"`)
	s.limit.Store(2_500_000)
	file := filepath.Join(t.TempDir(), "got")
	code, _, errs := mammactl(t.Context(), "", "get", "--socket", two(t), "-o", file, s.URL+"/file.bin")
	if left, _ := filepath.Glob(file + "*"); code != exitPartial || len(left) != 0 {
		t.Errorf("code %d: %s; left %v", code, errs, left)
	}
}

// A part that does not match its stored state is not continued.
func TestGetDistrustsPart(t *testing.T) {
	for name, state := range map[string]string{
		"no JSON":        "{",
		"beyond the end": `{"url":"URL","validator":"\"one\"","size":1000,"ranges":[{"From":0,"To":900}]}`,
		"backwards":      `{"url":"URL","validator":"\"one\"","size":1000,"ranges":[{"From":400,"To":300}]}`,
		"negative":       `{"url":"URL","validator":"\"one\"","size":1000,"ranges":[{"From":-5,"To":300}]}`,
		"overlapping":    `{"url":"URL","validator":"\"one\"","size":1000,"ranges":[{"From":0,"To":300},{"From":200,"To":400}]}`,
		"no validator":   `{"url":"URL","validator":"","size":1000,"ranges":[{"From":0,"To":300}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := startShelf(t, 1000, false)
			file := filepath.Join(t.TempDir(), "got")
			if err := errors.Join(
				os.WriteFile(file+".part", make([]byte, 500), 0o600),
				os.WriteFile(file+".part.json", []byte(strings.ReplaceAll(state, "URL", s.URL+"/file.bin")), 0o600),
			); err != nil {
				t.Fatal(err)
			}
			if code, _, errs := mammactl(t.Context(), "", "get", "--socket", two(t), "-o", file, s.URL+"/file.bin"); code != exitOK {
				t.Fatalf("code %d: %s", code, errs)
			}
			if got, _ := os.ReadFile(file); !bytes.Equal(got, s.data) {
				t.Error("not what the server has")
			}
		})
	}
	s := startShelf(t, 1000, false)
	file := filepath.Join(t.TempDir(), "got")
	if err := os.Symlink("elsewhere", file+".part"); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := mammactl(t.Context(), "", "get", "--socket", two(t), "-o", file, s.URL+"/file.bin"); code != exitWrite {
		t.Errorf("a link: code %d: %s", code, errs)
	}
}

func TestGetDigest(t *testing.T) {
	s := startShelf(t, 100_000, false)
	sum := sha256.Sum256(s.data)
	b64 := base64.StdEncoding.EncodeToString(sum[:])
	wrong := strings.Repeat("00", 32)
	for _, test := range []struct {
		name   string
		flag   string
		header string
		code   int
	}{
		{"hexadecimal", "sha-256:" + s.sum(), "", exitOK},
		{"as people write it", "SHA256:" + strings.ToUpper(s.sum()), "", exitOK},
		{"as a field", "sha-256=:" + b64 + ":", "", exitOK},
		{"wrong", "sha-256:" + wrong, "", exitDigest},
		{"the server's", "", "sha-256=:" + b64 + ":", exitOK},
		{"the server's among others", "", "md5=:AAAA:, sha-256=:" + b64 + ":;q=1", exitOK},
		{"the server's is wrong", "", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":", exitDigest},
		{"the flag counts", "sha-256:" + s.sum(), "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":", exitOK},
		{"the server's is not understood", "", "sha-256=:x:, other", exitOK},
		{"too short", "sha-256:00", "", exitUsage},
		{"unknown", "md5:00", "", exitUsage},
		{"nonsense", "00", "", exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.extra.Del("Repr-Digest")
			if test.header != "" {
				s.extra.Set("Repr-Digest", test.header)
			}
			file := filepath.Join(t.TempDir(), "got")
			args := []string{"get", "-q", "--socket", two(t), "-o", file, s.URL + "/file.bin"}
			if test.flag != "" {
				args = append(args, "--digest", test.flag)
			}
			code, _, errs := mammactl(t.Context(), "", args...)
			if code != test.code {
				t.Errorf("code %d, want %d: %s", code, test.code, errs)
			}
			if left, _ := filepath.Glob(file + "*"); (code == exitOK) != (len(left) == 1) {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestGetExitCodes(t *testing.T) {
	s := startShelf(t, 1000, false)
	secure := startShelf(t, 1000, true)
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a writer ends what still waits for one
		if f, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			_ = f.Close()
		}
	})
	socket := two(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"not found", []string{s.URL + "/none"}, exitStatus, "404 Not Found"},
		{"no URL", []string{"file.bin"}, exitMalformed, "not a URL"},
		{"no host", []string{"http:///x"}, exitMalformed, "not a URL"},
		{"another scheme", []string{"ftp://example.net/x"}, exitProtocol, "neither http nor https"},
		{"nobody listens", []string{"http://127.0.0.1:1/x"}, exitConnect, "refused"},
		{"redirections", []string{s.URL + "/round"}, exitRedirects, "more than 10 redirections"},
		{"no answer", []string{s.URL + "/closed"}, exitNothing, "EOF"},
		{"stuck", []string{"--max-time", "50ms", s.URL + "/stuck"}, exitTooLate, "longer than --max-time"},
		{"not trusted", []string{secure.URL + "/file.bin"}, exitCertificate, "certificate"},
		{"trusted", []string{"--cacert", roots, secure.URL + "/file.bin"}, exitOK, ""},
		{"no TLS", []string{strings.Replace(s.URL, "http:", "https:", 1) + "/file.bin"}, exitTLS, "HTTP response to HTTPS"},
		{"not writable", []string{"-o", filepath.Join(dir, "none", "x"), s.URL + "/file.bin"}, exitWrite, "no such file or directory"},
		{"a directory", []string{"-o", dir, s.URL + "/file.bin"}, exitWrite, "is a directory"},
		{"prohibited", []string{"--prohibit", "interface=lo", s.URL + "/file.bin"}, exitConnect, "permit"},
		{"no name", []string{"-o", "", s.URL + "/"}, exitUsage, "give one with -o"},
		{"no field", []string{"-H", "x", s.URL + "/file.bin"}, exitUsage, "FIELD: VALUE"},
		{"no field name", []string{"-H", "a b: c", s.URL + "/file.bin"}, exitUsage, "FIELD: VALUE"},
		{"no field value", []string{"-H", "a: b\nc: d", s.URL + "/file.bin"}, exitUsage, "FIELD: VALUE"},
		{"no port", []string{"http://127.0.0.1:65536/x"}, exitMalformed, "65535"},
		{"no file of roots", []string{"--cacert", filepath.Join(dir, "none"), secure.URL + "/file.bin"}, exitRoots, "no such file"},
		{"no end of roots", []string{"--cacert", "/dev/zero", secure.URL + "/file.bin"}, exitRoots, "longer than"},
		{"roots that do not come", []string{"--cacert", fifo, "--max-time", "50ms", secure.URL + "/file.bin"}, exitTooLate, "longer than --max-time"},
		{"no roots", []string{"--cacert", "get.go", secure.URL + "/file.bin"}, exitRoots, "no certificate in PEM"},
		{"negative time", []string{"--max-time", "-1s", s.URL + "/file.bin"}, exitUsage, "negative"},
		{"two for standard output", []string{"--json", "-o", "-", s.URL + "/file.bin"}, exitUsage, "standard output"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"get", "-q", "--socket", socket, "-o", filepath.Join(t.TempDir(), "x")}, test.args...)
			code, _, errs := mammactl(t.Context(), "", args...)
			if code != test.code || !strings.Contains(errs, test.says) || strings.Count(errs, "mammactl:") > 1 {
				t.Errorf("code %d, want %d; %s", code, test.code, errs)
			}
		})
	}
}

func TestExitOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{&net.DNSError{Err: "no such host", Name: "x.test", IsNotFound: true}, exitResolve},
		{&client.DialError{Attempts: []client.Attempt{{Err: errors.New("not resolved")}}}, exitResolve},
		{&client.DialError{Err: client.ErrRefused}, exitConnect},
		{&client.DialError{Err: client.ErrNotPermitted}, exitConnect},
		{fmt.Errorf("get: %w", httpintent.ErrChanged), exitPartial},
		{&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: unix.ECONNREFUSED}}, exitConnect},
		{&net.OpError{Op: "proxyconnect", Err: &net.DNSError{Err: "no such host", Name: "x.test", IsNotFound: true}}, exitProxy},
		{&net.OpError{Op: "proxyconnect", Err: &client.DialError{Attempts: []client.Attempt{{Err: errors.New("not resolved")}}}}, exitProxy},
		{io.ErrUnexpectedEOF, exitPartial},
		{&writeError{io.ErrShortWrite}, exitWrite},
		{os.ErrDeadlineExceeded, exitTooLate},
		{errors.New("connection reset"), exitReceive},
	} {
		if got := exitOf(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

// No line is wider than the terminal, and names from outside cannot move the cursor.
func TestGetProgress(t *testing.T) {
	g := &getting{output: "image\x1b[2J.iso"}
	p := &progress{g: g, resp: &http.Response{Body: http.NoBody}, total: 200e6, count: func() int64 { return 84_100_000 }}
	networks := []httpintent.NetworkProgress{
		{Name: "wlan0", Bytes: 61e6, Rate: 3.4e6}, {Name: "wwan\x1b0", Bytes: 23_100_000, Rate: 1.3e6},
		{Name: "eth0", Bytes: 0, Failures: 2}, {Name: "usb0", Ended: true},
	}
	at := time.Unix(1000, 0)
	p.recent = []moment{{at.Add(-2 * time.Second), 74_700_000}}
	want := []string{
		"image?[2J.iso   42 %  84.1 MB of 200 MB  37.6 Mbit/s  25 s left",
		"  wlan0    61.0 MB    27.2 Mbit/s  ██████████████████████████████",
		"  wwan?0   23.1 MB    10.4 Mbit/s  ███████████",
		"  eth0         0 B     0.0 Mbit/s  failed, is tried again",
		"  usb0         0 B     0.0 Mbit/s  not used any more",
	}
	if diff := cmp.Diff(want, p.text(at, networks, 80)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for width := range 90 {
		for _, l := range p.text(at, networks, width) {
			if n := len([]rune(l)); n > max(0, width-1) {
				t.Errorf("%d characters at a width of %d: %q", n, width, l)
			}
		}
	}
}

// A redirection is followed only by HTTP. Credentials for the first server go to no
// other, not even to another port of the same host.
func TestGetRedirects(t *testing.T) {
	var told atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Authorization") + r.Header.Get("Cookie") + r.Header.Get("X-Own"))
		_, _ = io.WriteString(w, "data")
	}))
	t.Cleanup(other.Close)
	var target string
	first := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{target}
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(first.Close)
	dir := t.TempDir()
	cert, secret, file := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "secret"), filepath.Join(dir, "file")
	pemText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first.Certificate().Raw})
	if err := errors.Join(os.WriteFile(cert, pemText, 0o600), os.WriteFile(secret, []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	get := func() (int, string) {
		code, _, errs := mammactl(t.Context(), "", "get", "-q", "--socket", filepath.Join(dir, "none"), "--cacert", cert, "-o", file,
			"-H", "Authorization: Bearer token", "-H", "Cookie: a=b", "-H", "X-Own: ", first.URL+"/file")
		return code, errs
	}
	for _, target = range []string{"file://" + secret, "ftp://127.0.0.1/file", "unix:" + secret, "data:,secret"} {
		code, errs := get()
		if code != exitProtocol || !strings.Contains(errs, "neither http nor https") {
			t.Errorf("%s: code %d: %s", target, code, errs)
		}
		if b, err := os.ReadFile(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %q, %v", target, b, err)
		}
	}
	for _, target = range []string{"http://127.0.0.1:99999/x", "http://[::1", "http://127.0.0.1:80:80/", "http:///x", "http:opaque", "http://a%20b/"} {
		if code, errs := get(); code != exitMalformed || !strings.Contains(errs, "not a URL") {
			t.Errorf("%s: code %d: %s", target, code, errs)
		}
	}
	target = other.URL
	if code, errs := get(); code != exitOK {
		t.Errorf("code %d: %s", code, errs)
	}
	if got := told.Load(); got != "" {
		t.Errorf("another server of the host is told %q, without TLS", got)
	}
}

// A range that was not requested is not taken for the file.
func TestGetPartUnasked(t *testing.T) {
	for _, bounds := range []string{"bytes 0-99/1000", "bytes 900-999/1000", "bytes 1099511627676-1099511627775/1099511627776", "bytes 0-99/*"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", bounds)
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 100))
		}))
		for _, more := range []string{"--one-network", "--restart"} {
			file := filepath.Join(t.TempDir(), "file")
			code, _, errs := mammactl(t.Context(), "", "get", more, "--socket", two(t), "-o", file, s.URL+"/file")
			if code != exitPartial && code != exitReceive {
				t.Errorf("%s, %s: code %d, taken for the file: %s", bounds, more, code, errs)
			}
			if info, err := os.Stat(file); err == nil {
				t.Errorf("%s, %s: %d bytes are the file", bounds, more, info.Size())
			}
		}
		s.Close()
	}
}
