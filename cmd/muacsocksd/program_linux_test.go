package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/internal/process/limits"
)

// patience is how long the tests wait for something that should happen at once.
const patience = 20 * time.Second

// logLines collects what the program logs, and lets tests wait for it.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	close(l.more)
	l.more = make(chan struct{})
	return len(b), nil
}

// await waits until pattern is found n times. It returns the submatches of the last
// time.
func (l *logLines) await(t *testing.T, pattern string, n int) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		found := re.FindAllStringSubmatch(l.text.String(), -1)
		text, more := l.text.String(), l.more
		l.mu.Unlock()
		if len(found) >= n {
			return found[len(found)-1]
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was not logged %d times in:\n%s", pattern, n, text)
		}
	}
}

// program is a running muacsocksd.
type program struct {
	cmd  *exec.Cmd
	log  *logLines
	addr string
	done chan error
}

// command returns a command that runs this test program as muacsocksd.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "muacsocksd")
	if err := os.Symlink(exe, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "MAMMA_SOCKET=/nonexistent")
	return cmd
}

func start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd, log: &logLines{more: make(chan struct{})}, done: make(chan error, 1)}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		p.done <- cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	p.addr = p.log.await(t, `listening addr=(\S+)`, 1)[1]
	return p
}

func (p *program) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits until the program has ended in order.
func (p *program) exit(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("muacsocksd ended with %v\n%s", err, p.log.text.String())
		}
	case <-time.After(patience):
		t.Fatalf("muacsocksd does not end\n%s", p.log.text.String())
	}
}

// get fetches a URL through the program. body is "" if that was not allowed.
func (p *program) get(t *testing.T, target, user string) (status int, body string) {
	t.Helper()
	u := &url.URL{Scheme: "http", Host: p.addr}
	if user != "" {
		u.User = url.UserPassword(user, "x")
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u), DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// connect opens a tunnel to addr.
func (p *program) connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	got := make([]byte, len(established))
	_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", addr)
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || string(got) != established {
		t.Fatalf("CONNECT: %q, %v", got, err)
	}
	return c.(*net.TCPConn)
}

func TestLifeCycle(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer web.Close()
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf, learnt := filepath.Join(dir, "socks.conf"), filepath.Join(dir, "learnt.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "listen = \"127.0.0.1:0\"\nmetrics {\n listen = \"127.0.0.1:0\"\n}\nlearning {\n file = \"" + learnt + "\"\n}\n"
	write(good)
	p := start(t, command(t, "--config", conf))
	p.log.await(t, `no Multi Access Manager answers`, 1)
	if status, body := p.get(t, web.URL, "filesize=3M"); status != 200 || body != "hello" {
		t.Errorf("%d, %q", status, body)
	}
	p.log.await(t, `msg=request client=127.0.0.1:\d+ protocol=http command=connect dest=127.0.0.1:\d+ .*intents="?filesize=3MB"? intents_from=client .*source=127.0.0.1 .*reply=succeeded .*sent=\d+ received=\d+`, 1)

	// A file with a mistake changes nothing.
	write(good + "rul \"x\" {\n}\n")
	p.signal(t, syscall.SIGHUP)
	p.log.await(t, `not reloaded; the old settings stay.*unknown block`, 1)
	if status, _ := p.get(t, web.URL, ""); status != 200 {
		t.Errorf("after a failed reload: %d", status)
	}

	// A new rule counts for new connections. Existing ones go on.
	open := p.connect(t, web.Listener.Addr().String())
	write(good + "rule \"x\" {\n action = \"deny\"\n port = \"" + port + "\"\n}\n")
	p.signal(t, syscall.SIGHUP)
	p.log.await(t, `msg=reloaded`, 1)
	if status, _ := p.get(t, web.URL, ""); status != 403 {
		t.Errorf("after a reload with a rule: %d", status)
	}
	p.log.await(t, `reply="not allowed".*rule \\"x\\"`, 1)

	// The program waits for its clients before it ends.
	p.signal(t, syscall.SIGTERM)
	p.log.await(t, `waiting for clients to finish`, 1) // one client, or two if the last one is not gone yet
	if _, err := io.WriteString(open, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(open); err != nil || !strings.HasSuffix(string(b), "hello") {
		t.Errorf("%q, %v", b, err)
	}
	_ = open.Close()
	p.exit(t)
	if b, err := os.ReadFile(learnt); err != nil || !strings.Contains(string(b), `"Host":"127.0.0.1"`) {
		t.Errorf("learnt %q, %v", b, err)
	}
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := start(t, command(t, "--listen", "127.0.0.1:0"))
	p.connect(t, l.Addr().String())
	p.signal(t, os.Interrupt)
	p.log.await(t, `waiting for clients to finish`, 1)
	p.signal(t, os.Interrupt)
	p.exit(t)
	p.log.await(t, `clients were cut off`, 1)
}

func TestMetrics(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer web.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	p := start(t, command(t, "--listen", "127.0.0.1:0", "--metrics", addr))
	p.get(t, web.URL, "")
	p.get(t, "http://"+p.addr+"/", "") // the proxy itself
	for range 2 {
		p.get(t, web.URL, "category=film")
	}
	p.log.await(t, `level=WARN msg="a client states intents that make no sense.*intents="?category=film`, 1)
	open := p.connect(t, web.Listener.Addr().String())
	if _, err := io.WriteString(open, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, make([]byte, 100)); err != nil { // the connection is still open
		t.Fatal(err)
	}
	p.log.await(t, `msg=request`, 4)
	text := scrape(t, addr)
	for _, want := range []string{
		`(?m)^muacsocksd_connections 1$`,
		`(?m)^muacsocksd_manager_up 0$`,
		`(?m)^muacsocksd_requests_total{command="connect",protocol="http",reply="succeeded"} 3$`,
		`(?m)^muacsocksd_mistaken_intents_total 2$`,
		`(?m)^muacsocksd_requests_total{command="connect",protocol="http",reply="not allowed"} 1$`,
		`(?m)^muacsocksd_setup_seconds_count 4$`,
		`(?m)^muacsocksd_received_bytes_total{interface="",source="127.0.0.1"} [1-9]\d\d`,
		`(?m)^muacsocksd_sent_bytes_total{interface="",source="127.0.0.1"} [1-9]\d`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("%s is missing in:\n%s", want, regexp.MustCompile(`(?m)^(go|process|promhttp|#).*\n`).ReplaceAll(text, nil))
		}
	}
}

// Whoever reaches the metrics takes a bounded part of the descriptors, by connections that
// are kept open.
func TestMetricsConnections(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	start(t, command(t, "--listen", "127.0.0.1:0", "--metrics", addr))
	most := httpserver.Conns(limits.Files())
	served := 0
	for range most + 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			continue
		}
		if n, _ := c.Read(make([]byte, 12)); n > 0 {
			served++
		}
	}
	if served == 0 || served > most {
		t.Errorf("%d connections are served, at most %d may be", served, most)
	}
}

// scrape returns the metrics.
func scrape(t *testing.T, addr string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Fragments of datagrams are dropped. The metrics count them while the association is
// open, and the log tells of them when it has ended.
func TestFragments(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	far, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	p := start(t, command(t, "--listen", "127.0.0.1:0", "--metrics", addr))
	control, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = control.Close() }()
	_ = control.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(control, "\x05\x01\x00"+"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	var answer [2 + 10]byte
	if _, err := io.ReadFull(control, answer[:]); err != nil || answer[3] != 0 {
		t.Fatalf("answer % x, %v", answer, err)
	}
	relay, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IP(answer[6:10]), Port: int(answer[10])<<8 | int(answer[11])})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = relay.Close() }()
	port := far.LocalAddr().(*net.UDPAddr).Port
	to := string([]byte{1, 127, 0, 0, 1, byte(port >> 8), byte(port)})
	for _, datagram := range []string{"\x00\x00\x01" + to + "one of", "\x00\x00\x82" + to + " two", "\x00\x00\x00" + to + "whole"} {
		if _, err := io.WriteString(relay, datagram); err != nil {
			t.Fatal(err)
		}
	}
	_ = far.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	if n, err := far.Read(b); err != nil || string(b[:n]) != "whole" {
		t.Fatalf("the destination got %q, %v", b[:n], err)
	}
	if text := scrape(t, addr); !regexp.MustCompile(`(?m)^muacsocksd_dropped_fragments_total 2$`).Match(text) {
		t.Errorf("not two fragments:\n%s", text)
	}
	_ = control.Close()
	p.log.await(t, `command=udp.*dropped_fragments=2`, 1)
	if text := scrape(t, addr); !regexp.MustCompile(`(?m)^muacsocksd_dropped_fragments_total 2$`).Match(text) {
		t.Errorf("not two fragments at the end:\n%s", text)
	}
}

// A service manager passes listeners in. It is told when the service is ready, and from
// time to time that the service is alive.
func TestActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notify.Close() }()
	cmd := command(t)
	// The environment must have the process's number.
	cmd.Args = []string{"sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0"`, cmd.Path}
	if cmd.Path, err = exec.LookPath("sh"); err != nil {
		t.Skip("needs a shell: no sh in PATH")
	}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=20000")
	cmd.ExtraFiles = []*os.File{f}
	p := start(t, cmd)
	_ = f.Close()
	if p.addr != l.Addr().String() {
		t.Errorf("it listens at %s", p.addr)
	}
	_ = l.Close()
	said := func() string {
		b := make([]byte, 100)
		if err := notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := notify.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := said(); got != "READY=1" {
		t.Errorf("said %q", got)
	}
	for range 3 { // and so on
		if got := said(); got != "WATCHDOG=1" {
			t.Errorf("said %q", got)
		}
	}
	if status, _ := p.get(t, "http://"+p.addr+"/", ""); status != 403 {
		t.Errorf("status %d", status)
	}
	p.signal(t, syscall.SIGTERM)
	got := said()
	for got == "WATCHDOG=1" {
		got = said()
	}
	if got != "STOPPING=1" {
		t.Errorf("said %q", got)
	}
	p.exit(t)
}

// systemd-socket-activate passes a Unix socket in. A client that connects to it has the
// rights of its user.
func TestUnixSocketActivation(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate to be installed")
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	defer web.Close()
	conf := filepath.Join(t.TempDir(), "socks.conf")
	text := fmt.Sprintf("rule \"me\" {\n  action = \"allow\"\n  uid = [\"%d\"]\n}\nrule \"others\" {\n  action = \"deny\"\n}\n", os.Getuid())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inner := command(t, "--config", conf)
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(activate, append([]string{"--listen=" + path, "--setenv=MAMMA_SOCKET=/nonexistent", inner.Path}, inner.Args[1:]...)...)
	output := &logLines{more: make(chan struct{})}
	cmd.Stderr = output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	output.await(t, "Listening on", 1)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy"}),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}}
	resp, err := client.Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || string(b) != "served" {
		t.Errorf("%s, %q, %v", resp.Status, b, err)
	}
}
