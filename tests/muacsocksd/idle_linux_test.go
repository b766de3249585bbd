package muacsocksd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

const (
	// idleConns is as many idle connections as an ordinary limit of 20 000 open files
	// allows. Each takes two files of the proxy, and two of the test, which is both ends.
	idleConns = 9000
	idleFiles = 2*idleConns + 1000

	// idleMemory is for a connection with two goroutines and no buffer, before it has been
	// idle for some seconds. Half of the resident memory may be garbage.
	idleMemory = 40 << 10 // bytes per connection
)

// Idle connections cost the proxy little, each as much as the one before. Soon they have no
// goroutine any more, and they leave nothing behind.
func TestIdleConnections(t *testing.T) {
	if raceDetector {
		t.Skip("needs memory to be the program's own: the race detector shadows it")
	}
	// The Go runtime has raised the soft limit to the hard one, in the proxy as in this
	// process.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < idleFiles {
		t.Skipf("needs a limit of %d open files, not %d", idleFiles, limit.Cur)
	}
	dest := serveOneByte(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := free.Addr().String()
	_ = free.Close()
	p := stage.Launch(t, nil, exec.Command(filepath.Join(bin, "muacsocksd"), "--metrics", metrics,
		"--listen", "127.0.0.1:0", "--socket", filepath.Join(t.TempDir(), "none"), "--log-level", "info", "--config", quiet(t)))
	p.Log.Await(t, "msg=listening", 1)
	proxy := regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(p.Log.String())[1]

	const steps = 3
	open(t, proxy, dest, 100) // what is made once
	files := openFiles(t, p)
	memory := []int{resident(t, p)}
	var conns []net.Conn
	for range steps {
		conns = append(conns, open(t, proxy, dest, idleConns/steps)...)
		memory = append(memory, resident(t, p))
	}
	each := func(from, to int) int {
		return (memory[to] - memory[from]) / (idleConns / steps * (to - from))
	}
	t.Logf("resident: %d bytes; each connection %d", memory, each(0, steps))
	if n := each(0, steps); n > idleMemory {
		t.Errorf("an idle connection takes %d bytes, want %d at most; resident %d", n, idleMemory, memory)
	}
	if first, all := each(0, 1), each(0, steps); all > first+first/2 {
		t.Errorf("each of the first %d took %d bytes, each of all %d: resident %d", idleConns/steps, first, all, memory)
	}
	stage.Until(t, "idle connections hold no goroutine", func() bool { return goroutines(t, metrics) < 100 })

	// All of them work, the last one like the first.
	for _, c := range conns {
		var b [1]byte
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(b[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range conns {
		_ = c.Close()
	}
	stage.Until(t, "the proxy closes what is not needed any more", func() bool { return openFiles(t, p) <= files+1 }) // where idle connections wait
}

var goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// goroutines returns how many goroutines a proxy has, by its metrics.
func goroutines(t *testing.T, metrics string) int {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := goroutinesLine.FindSubmatch(b)
	if m == nil {
		t.Fatal("the metrics lack go_goroutines")
	}
	n, _ := strconv.Atoi(string(m[1])) // it matched
	return n
}

// quiet writes a configuration that logs no requests.
func quiet(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socks.conf")
	if err := os.WriteFile(path, []byte("log {\n access = false\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveOneByte starts a server that sends each byte back.
func serveOneByte(t *testing.T) netip.AddrPort { return serveBack(t, 1) }

// serveBack starts a server that sends back what it receives, size bytes at a time.
func serveBack(t *testing.T, size int) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, size) // io.Copy would open pipes to splice
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// open opens n connections to dest, a few at a time, and checks that each carries a byte.
func open(t *testing.T, proxy string, dest netip.AddrPort, n int) []net.Conn {
	t.Helper()
	const atATime = 20
	conns := make([]net.Conn, n)
	errs := make(chan error, atATime)
	for w := range atATime {
		go func() {
			for i := w; i < n; i += atATime {
				var err error
				if conns[i], err = connect(proxy, dest); err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
			}
			errs <- nil
		}()
	}
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	for range atATime {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

func connect(proxy string, dest netip.AddrPort) (net.Conn, error) {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	ip := dest.Addr().Unmap().As4()
	request := append([]byte{5, 1, 0, 5, 1, 0, 1}, ip[:]...)
	request = append(request, byte(dest.Port()>>8), byte(dest.Port()), 'x')
	reply := make([]byte, 2+10+1)
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err = c.Write(request); err == nil {
		_, err = io.ReadFull(c, reply)
	}
	if err == nil && (reply[3] != 0 || reply[12] != 'x') {
		err = fmt.Errorf("reply % x", reply)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns how much memory a program has, in bytes (proc_pid_status(5)).
func resident(t *testing.T, p *stage.Process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(string(residentLine.FindSubmatch(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func openFiles(t *testing.T, p *stage.Process) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
