package run

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is an interactive shell on a terminal of its own.
type terminal struct {
	t    *testing.T
	file *os.File

	mu      sync.Mutex
	printed strings.Builder
	more    chan struct{} // closed and replaced when something is printed
	seen    int           // what was waited for already, in bytes
}

// newTerminal starts a shell on a terminal of 37 rows and 91 columns.
func newTerminal(t *testing.T, w *world) *terminal {
	t.Helper()
	require(t, "bash")
	file, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tty.Close() }()
	if err := pty.Setsize(file, &pty.Winsize{Rows: 37, Cols: 91}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i")
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "PS1=prompt> ", "TERM=dumb", "RUN=" + bin + "/mammactl run --socket " + w.daemon.Socket}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := w.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, file: file, more: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(x.read)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = file.Close()
		reading.Wait()
	})
	x.await("prompt> ")
	return x
}

func (x *terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := x.file.Read(b)
		x.mu.Lock()
		x.printed.Write(b[:n])
		close(x.more)
		x.more = make(chan struct{})
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// key types text, which may contain control characters.
func (x *terminal) key(text string) {
	x.t.Helper()
	if _, err := x.file.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// await waits until the terminal shows what the pattern matches, after the place of the
// last match.
func (x *terminal) await(pattern string) string {
	x.t.Helper()
	want := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		x.mu.Lock()
		text, more := x.printed.String(), x.more
		x.mu.Unlock()
		if at := want.FindStringIndex(text[x.seen:]); at != nil {
			found := text[x.seen+at[0] : x.seen+at[1]]
			x.seen += at[1]
			return found
		}
		select {
		case <-more:
		case <-deadline:
			x.t.Fatalf("the terminal does not show %q, but %q", pattern, text[x.seen:])
		}
	}
}

// The shell controls an interactive program as it would without run: ^C, ^Z, jobs, the
// foreground, and the size of the window.
func TestTerminal(t *testing.T) {
	w := newWorld(t)
	x := newTerminal(t, w)

	x.key("$RUN -- stty size\n")
	x.await(`\n37 91\r`)
	x.await("prompt> ")

	// This program reads from the terminal, is interrupted, and says so.
	const asks = `$RUN -- sh -c 'trap "echo interr""upted; exit 3" INT; echo rea""dy; read x; echo "got $x"'`
	x.key(asks + "\n")
	x.await("ready")
	x.key("hello\n")
	x.await("got hello")
	x.await("prompt> ")
	x.key(asks + "; echo status $?\n")
	x.await("ready")
	x.key("\x03")
	x.await("interrupted")
	x.await("status 3")
	x.await("prompt> ")

	// A program dies of ^C, and the shell is told the same.
	x.key("$RUN -- sh -c 'echo rea\"\"dy; exec cat'; echo status $?\n")
	x.await("ready")
	x.key("\x03")
	x.await("prompt> ")
	x.key("echo status $?\n")
	x.await("status 130")
	x.await("prompt> ")

	// A program is stopped, listed, and continued in the foreground, where it reads again.
	x.key(asks + "\n")
	x.await("ready")
	x.key("\x1a")
	x.await(`\[1\]\+ +Stopped`)
	x.await("prompt> ")
	x.key("fg\n")
	x.await("mammactl|RUN")
	x.key("again\n")
	x.await("got again")
	x.await("prompt> ")

	// The window becomes larger while a program runs.
	x.key(`$RUN -- bash -c 'trap "stty size; exit" WINCH; echo rea""dy; while :; do read -t 1 x; done'` + "\n")
	x.await("ready")
	if err := pty.Setsize(x.file, &pty.Winsize{Rows: 40, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	x.await(`40 100`)
	x.await("prompt> ")

	// In the background, a program may not read: the terminal stops it.
	x.key("$RUN -- sh -c 'echo rea\"\"dy; read x; echo got $x' &\n")
	x.await(`Stopped|ready`)
	x.key("wait; jobs\n")
	x.await(`Stopped`)
	x.await("prompt> ")
	x.key("fg\n")
	x.key("late\n")
	x.await("got late")
	x.await("prompt> ")

	// Its connections are placed.
	x.key(fmt.Sprintf("$RUN --intents category=bulktransfer -- %s/dialer tcp %s:7000\n", bin, service4))
	x.await("\n" + regexp.QuoteMeta(w.address("wwan0", false)))
	x.await("prompt> ")
}
