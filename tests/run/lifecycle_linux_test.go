package run

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestExitStatus(t *testing.T) {
	w := newWorld(t)
	plain := filepath.Join(w.dir, "plain")
	if err := os.WriteFile(plain, []byte("no program\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int // -1: ended by a signal
		said   string
	}{
		{"well", []string{"true"}, 0, ""},
		{"a status", []string{"sh", "-c", "exit 42"}, 42, ""},
		{"a signal", []string{"sh", "-c", "kill -TERM $$"}, -1, ""},
		{"a signal of a fault", []string{"sh", "-c", "ulimit -c 0; kill -SEGV $$"}, -1, ""}, // nothing about mammactl itself
		{"not found", []string{"no-such-program"}, 127, "no-such-program: executable file not found"},
		{"no path", []string{"/no/such/program"}, 127, "no such file"},
		{"not executable", []string{plain}, 126, "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, errs, status := w.output(t, w.command(root, append([]string{"--"}, tt.args...)...))
			if status != tt.status || !strings.Contains(errs, tt.said) || tt.said == "" && errs != "" {
				t.Errorf("status %d, want %d; said %q, want %q", status, tt.status, errs, tt.said)
			}
		})
	}
}

// start starts a command. Its lines can be read, and its input can be written to.
func (w *world) start(t *testing.T, args ...string) (p *process) {
	t.Helper()
	cmd := w.command(root, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p = &process{lines: make(chan string, 1000)}
	cmd.Stderr = &p.errs
	if err := w.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	p.say = func(text string) { _, _ = fmt.Fprintln(in, text) }
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			p.lines <- s.Text()
		}
		close(p.lines)
	}()
	p.wait = func() syscall.WaitStatus {
		_ = in.Close()
		_ = cmd.Wait()
		return cmd.ProcessState.Sys().(syscall.WaitStatus)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

type process struct {
	pid   int
	lines chan string
	errs  strings.Builder
	say   func(string)
	wait  func() syscall.WaitStatus
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			t.Fatalf("the program ended\n%s", p.errs.String())
		}
		return l
	case <-time.After(patience):
		t.Fatalf("the program says nothing\n%s", p.errs.String())
		return ""
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, "--", "sh", "-c", `trap 'echo term' TERM; trap 'echo usr1' USR1; trap 'echo hup; exit 7' HUP; echo ready; while :; do read x; done`)
	p.line(t)
	for _, s := range []struct {
		signal syscall.Signal
		want   string
	}{{syscall.SIGTERM, "term"}, {syscall.SIGUSR1, "usr1"}, {syscall.SIGHUP, "hup"}} {
		if err := syscall.Kill(p.pid, s.signal); err != nil {
			t.Fatal(err)
		}
		p.say("") // the shell runs a trap when it has read
		if got := p.line(t); got != s.want {
			t.Errorf("%v: %q", s.signal, got)
		}
	}
	if ws := p.wait(); ws.ExitStatus() != 7 {
		t.Errorf("status %v", ws)
	}
}

// A program that goes into the background is still placed.
func TestDescendantsOutliveTheProgram(t *testing.T) {
	w := newWorld(t)
	fifo := filepath.Join(w.dir, "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// The shell ends at once. Its child reads from the FIFO, and then connects.
	script := fmt.Sprintf("(setsid sh -c 'read x <%s; %s/dialer udp 192.0.2.1:7001' >/dev/null 2>&1 </dev/null &)", fifo, bin)
	_, errs, status := w.output(t, w.command(root, "--intents", "category=bulktransfer", "--", "sh", "-c", script))
	if status != 0 || errs != "" {
		t.Fatalf("status %d\n%s", status, errs)
	}
	if err := os.WriteFile(fifo, []byte("now\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.await(t, func() bool { return len(w.datagrams) > 0 })
	if got, want := w.datagrams[0].Addr().String(), w.address("wwan0", false); got != want {
		t.Errorf("the server saw %s, want %s", got, want)
	}
}

// Nobody else keeps open what the program had open.
func TestDescriptorsAreThePrograms(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, "--", "sh", "-c", "exec >&-; echo closed >&2; read x; exit 3")
	// The end of the program's output is seen although the program runs on.
	select {
	case l, ok := <-p.lines:
		if ok {
			t.Errorf("line %q", l)
		}
	case <-time.After(patience):
		t.Fatal("the output has no end")
	}
	p.say("x")
	if ws := p.wait(); ws.ExitStatus() != 3 {
		t.Errorf("status %v", ws)
	}
}

// Without mamma, connections go as they always did, which is said once. With --require,
// they are refused.
func TestWithoutMamma(t *testing.T) {
	w := newWorld(t)
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	twice := bin + "/dialer tcp 192.0.2.1:7000; " + bin + "/dialer tcp 192.0.2.1:7000"
	out, errs, status := w.output(t, w.command(root, "--intents", "category=bulktransfer", "--", "sh", "-c", twice))
	want := w.address("wlan0", false)
	if out != want+"\n"+want+"\n" || status != 0 || strings.Count(errs, "no Multi Access Manager answers") != 1 {
		t.Errorf("status %d, the server saw %q\n%s", status, out, errs)
	}
	for _, how := range []string{"tcp", "udp", "sendmsg", "listen"} {
		port := 7001
		if how == "tcp" {
			port = 7000
		}
		out, errs, status = w.output(t, w.command(root, "--require", "--", bin+"/dialer", how, fmt.Sprintf("192.0.2.1:%d", port)))
		if out != "" || status != 1 || !strings.Contains(errs, "network is unreachable") || !strings.Contains(errs, "may not connect to 192.0.2.1:") {
			t.Errorf("%s: status %d, the server saw %q\n%s", how, status, out, errs)
		}
	}
	// A destination on this host needs no network.
	if _, errs, _ = w.output(t, w.command(root, "--require", "--", bin+"/dialer", "tcp", "127.0.0.1:9")); !strings.Contains(errs, "connection refused") {
		t.Errorf("loopback: %s", errs)
	}
}

// mamma is killed, stopped and started again while a program runs.
func TestMammaGoesAndComes(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, "--intents", "category=bulktransfer", "--", "sh", "-c", "while read x; do "+bin+"/dialer tcp 192.0.2.1:7000; done")
	dial := func(when, network string) {
		t.Helper()
		p.say("go")
		if got, want := p.line(t), w.address(network, false); got != want {
			t.Errorf("%s: the server saw %s, want %s", when, got, want)
		}
	}
	dial("at first", "wwan0")
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	dial("without mamma", "wlan0")
	w.startMamma(t)
	dial("with mamma again", "wwan0")
	if ws := p.wait(); ws.ExitStatus() != 0 {
		t.Errorf("status %v\n%s", ws, p.errs.String())
	}
}

// ^Z stops the job as the shell sees it, and the job can be continued.
func TestStopAndContinue(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, "--intents", "category=bulktransfer", "--", "sh", "-c", "kill -STOP $$; "+bin+"/dialer tcp 192.0.2.1:7000")
	// The process at the terminal stops like the program.
	var si unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.pid, &si, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got, want := p.line(t), w.address("wwan0", false); got != want {
		t.Errorf("the server saw %s, want %s", got, want)
	}
	if ws := p.wait(); ws.ExitStatus() != 0 {
		t.Errorf("status %v\n%s", ws, p.errs.String())
	}
}

// The manager is told how a connection went, as a client of its own would tell it. mammactl
// decisions shows it.
func TestOutcomes(t *testing.T) {
	w := newWorld(t)
	silent := silence(t, w.Service)
	for _, tt := range []struct {
		dest  string
		errno syscall.Errno
		how   []string
	}{
		{"192.0.2.1:7000", 0, []string{"tcp"}},
		{"192.0.2.1:9", unix.ECONNREFUSED, []string{"tcp"}},
		// The program ends long before the kernel would give up.
		{silent, unix.ETIMEDOUT, []string{"within", "1500ms"}},
	} {
		_, errs, _ := w.output(t, w.command(root, append([]string{"--intents", "category=bulktransfer", "--", bin + "/dialer", tt.how[0], tt.dest}, tt.how[1:]...)...))
		if timedOut := strings.Contains(errs, "i/o timeout"); timedOut != (tt.errno == unix.ETIMEDOUT) {
			t.Errorf("%s: the program says %q", tt.dest, errs)
		}
		for deadline := time.Now().Add(patience); ; {
			got := w.decision(t, tt.dest)
			if got != nil && got.Outcome != nil {
				if syscall.Errno(got.Outcome.Errno) != tt.errno || got.Outcome.Candidate != 0 || //nolint:gosec // small
					got.Origin == nil || got.Origin.Command == nil || *got.Origin.Command != "dialer" || got.Origin.Source == nil || *got.Origin.Source != "run" {
					t.Errorf("%s: %+v, %+v", tt.dest, got.Origin, got.Outcome)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: no outcome in %+v", tt.dest, got)
			}
		}
	}
}

// silence returns the address of a port at which requests for a connection are dropped.
func silence(t *testing.T, n *testbed.Server) string {
	t.Helper()
	// The kernel attaches no filter to a socket of Multipath TCP, which is Go's default.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // keeps no byte of any packet
		var err error
		cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
		})
		return errors.Join(cerr, err)
	}}
	config.SetMultipathTCP(false)
	var l net.Listener
	if err := n.Do(func() (err error) {
		l, err = config.Listen(t.Context(), "tcp", net.JoinHostPort(testbed.ServiceAddr4.String(), "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// decision returns the last decision about a destination, or nil if there is none.
func (w *world) decision(t *testing.T, dest string) *control.Decision {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "--control", filepath.Join(filepath.Dir(w.daemon.Socket), "control.sock"), "--json", "decisions", "-n", "10")
	out, errs, status := w.output(t, cmd)
	var last *control.Decision
	for l := range strings.Lines(out) {
		var e control.Event
		if err := json.Unmarshal([]byte(l), &e); err != nil || e.Decision == nil || status != 0 {
			t.Fatalf("status %d: %s%s, %v", status, out, errs, err)
		}
		if d := e.Decision; d.Host != nil && d.Service != nil && net.JoinHostPort(*d.Host, *d.Service) == dest {
			last = d
		}
	}
	return last
}
