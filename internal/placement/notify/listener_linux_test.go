package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// under runs do on a thread that gives its calls up, and returns the listener.
func under(t *testing.T, do func()) *Listener {
	t.Helper()
	type installed struct {
		fd  int
		err error
	}
	made := make(chan installed)
	over := make(chan struct{})
	var run func()
	run = func() {
		runtime.LockOSThread() // and not unlocked: the thread and its filter end with the goroutine
		if unix.Gettid() == os.Getpid() {
			go run() // the first thread does not end, but is kept from the other goroutine
			<-over
			return
		}
		defer close(over)
		fd, err := Install(Calls{Connect: true})
		made <- installed{fd, err}
		if err == nil {
			do()
		}
	}
	go run()
	got := <-made
	if errors.Is(got.err, ErrUnsupported) || errors.Is(got.err, ErrBusy) {
		t.Skipf("needs seccomp user notification: %v", got.err)
	}
	if got.err != nil {
		t.Fatal(got.err)
	}
	l, err := NewListener(got.fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A call gets the answer that is given, or is carried out. When the last thread is gone,
// so is the wait for calls.
func TestReceive(t *testing.T) {
	if !atLeast(t, 6, 11) {
		t.Skip("needs a kernel that ends SECCOMP_IOCTL_NOTIF_RECV with the last process (6.11)")
	}
	nowhere := unix.SockaddrInet4{Addr: netip.MustParseAddr("127.0.0.1").As4()} // no program has port 0
	const calls = 100
	results := make(chan error, 2*calls)
	l := under(t, func() {
		for range 2 * calls {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Connect(fd, &nowhere)
				_ = unix.Close(fd)
			}
			results <- err
		}
	})
	var buf Buffer
	for range calls {
		for _, want := range []unix.Errno{unix.ECONNREFUSED, unix.EXDEV} {
			c, err := l.Receive(&buf)
			if err != nil {
				t.Fatal(err)
			}
			if c.NR != unix.SYS_CONNECT || c.Foreign || !l.Valid(c) {
				t.Errorf("received %+v", c)
			}
			if want == unix.EXDEV {
				err = l.Fail(c, want)
			} else {
				err = l.Continue(c)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := <-results; !errors.Is(err, want) {
				t.Errorf("the call ended with %v; want %v", err, want)
			}
			if l.Valid(c) {
				t.Error("a call that was answered waits")
			}
		}
	}
	if c, err := l.Receive(&buf); !errors.Is(err, ErrEnded) {
		t.Errorf("after the last thread: %+v, %v", c, err)
	}
}

// atLeast tells whether the kernel is of this version or a later one.
func atLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var have [2]int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &have[0], &have[1]); err != nil {
		t.Fatal(err)
	}
	return have[0] > major || have[0] == major && have[1] >= minor
}
