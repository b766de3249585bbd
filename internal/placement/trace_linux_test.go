package placement

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// busyName is the name by which this test program runs beBusy.
const busyName = "mamma-test-busy"

// beBusy has threads that compute, wait in several ways, and begin new ones. It answers
// each line.
func beBusy() int {
	go func() {
		for n := uint64(1); n != 0; n *= 3 { // an odd number never becomes 0
			continue
		}
	}()
	for range 4 {
		go func() { runtime.LockOSThread(); _ = unix.Nanosleep(&unix.Timespec{Sec: 1000}, nil) }()
		go func() { runtime.LockOSThread(); select {} }()
	}
	go func() {
		for range time.Tick(time.Millisecond) {
			go func() { runtime.LockOSThread(); runtime.Gosched() }() // the thread ends with it
		}
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(in.Text())
	}
	return 7
}

// A process with threads of all kinds is stopped as a whole, as often as is asked for, and
// is none the worse for it.
func TestHoldAll(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{busyName}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	lines := bufio.NewReader(out)
	echo := func(text string) {
		t.Helper()
		_, err := io.WriteString(in, text+"\n")
		line, err2 := lines.ReadString('\n')
		if err := errors.Join(err, err2); err != nil || line != text+"\n" {
			t.Fatalf("the process answers %q, %v; want %q", line, err, text)
		}
	}
	var tr tracer
	ended := make(chan unix.WaitStatus, 1)
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		for {
			// As the supervisor waits. This process has no other children here: tests run one
			// after the other.
			var ws unix.WaitStatus
			n, err := unix.Wait4(-1, &ws, unix.WUNTRACED, nil)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return
			case !tr.saw(n, ws) && n == pid && (ws.Exited() || ws.Signaled()):
				ended <- ws
				return
			}
		}
	}()
	defer func() {
		_ = in.Close() // the process ends then
		<-reaped
	}()
	echo("before")
	for i := range 20 {
		err := tr.holdAll(pid, func() error {
			list, err := tasks(pid)
			if err != nil || len(list) < 3 {
				return fmt.Errorf("threads %v: %w", list, cmp.Or(err, errors.New("too few")))
			}
			for _, tid := range list {
				if s := stateOf(pid, tid); s != "t" && s != "Z" && s != "X" {
					return fmt.Errorf("thread %d is in state %q", tid, s)
				}
			}
			return nil
		})
		if errors.Is(err, unix.EPERM) {
			t.Skipf("needs the right to stop a child process (ptrace): %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		echo(strconv.Itoa(i))
	}
	if len(tr.heard) != 0 {
		t.Errorf("%d threads are listened to", len(tr.heard))
	}
	_ = in.Close()
	if ws := <-ended; !ws.Exited() || ws.ExitStatus() != 7 {
		t.Errorf("the process ended with %v; want status 7", ws)
	}
}

// stateOf returns the state of a thread (proc_pid_stat(5)), "X" if it has ended.
func stateOf(pid, tid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	if err != nil {
		return "X"
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}

// What wait4(2) says of a stop is the tracer's alone, unless the program's user has stopped it.
func TestSaw(t *testing.T) {
	const interrupted = unix.WaitStatus(stopByTrace<<16 | int(unix.SIGTRAP)<<8 | 0x7f)
	for _, tt := range []struct {
		name  string
		ws    unix.WaitStatus
		alone bool
	}{
		{"interrupted", interrupted, true},
		{"for a signal", unix.WaitStatus(int(unix.SIGURG)<<8 | 0x7f), true},
		{"for a signal that will stop it", unix.WaitStatus(int(unix.SIGTSTP)<<8 | 0x7f), true},
		{"stopped by its user", unix.WaitStatus(stopByTrace<<16 | int(unix.SIGTSTP)<<8 | 0x7f), false},
		{"ended", unix.WaitStatus(3 << 8), false},
		{"killed", unix.WaitStatus(int(unix.SIGKILL)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heard := make(chan stop, 1)
			tr := tracer{heard: map[int]chan<- stop{5: heard}}
			if got := tr.saw(5, tt.ws); got != tt.alone || len(heard) != 1 {
				t.Errorf("%v, and %d are told; want %v and 1", got, len(heard), tt.alone)
			}
			if tr.saw(6, tt.ws) {
				t.Error("another thread's stop is the tracer's")
			}
		})
	}
}
