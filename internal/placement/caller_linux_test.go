package placement

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCaller(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := uint32(unix.Gettid())
	th, err := openThread(tid)
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	fast, err := th.caller()
	if err != nil {
		t.Fatal(err)
	}
	slow, err := readCaller(tid)
	if err != nil {
		t.Fatal(err)
	}
	if fast.pid != os.Getpid() || int(fast.uid) != os.Getuid() || slow.pid != fast.pid || slow.uid != fast.uid || fast.command == "" {
		t.Errorf("%+v, and from /proc %+v", fast, slow)
	}
}

// A thread that has ended is not taken for the one that has its number next, and what is
// kept of it is closed.
func TestThreads(t *testing.T) {
	var kept threads
	tid, end, ended := make(chan uint32), make(chan struct{}), make(chan struct{})
	var run func()
	run = func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			go run() // the first thread does not end, but is kept from the other goroutine
			<-ended
			return
		}
		defer close(ended)
		tid <- uint32(unix.Gettid())
		<-end
	}
	go run()
	number := <-tid
	th, who, err := kept.caller(number)
	if err != nil {
		t.Fatal(err)
	}
	kept.give(th)
	if !th.lasting {
		t.Skip("needs descriptors of threads that tell their process (PIDFD_GET_INFO, Linux 6.13)")
	}
	again, who2, err := kept.caller(number)
	if err != nil || again != th || who2 != who {
		t.Fatalf("asked again: %+v, %v; want %+v of the same descriptor", who2, err, who)
	}
	kept.give(again)
	close(end)
	<-ended
	dir := "/proc/self/task/" + strconv.Itoa(int(number))
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the thread does not end")
		}
	}
	if _, who, err := kept.caller(number); err == nil {
		t.Errorf("a thread that is gone is of %+v", who)
	}
	if _, err := unix.FcntlInt(uintptr(th.pidfd), unix.F_GETFD, 0); err == nil || len(kept.kept) != 0 {
		t.Errorf("%d are kept", len(kept.kept))
	}
}

// A kernel whose descriptors do not tell the process (PIDFD_GET_INFO, Linux 6.13) is asked
// by the thread's number. That may be another thread's at the next call, so the descriptor
// is not kept for it.
func TestThreadsByNumberAreNotKept(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var kept threads
	tid := uint32(unix.Gettid())
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) // does not know the request, either
	if err != nil {
		t.Fatal(err)
	}
	kept.give(&thread{tid: tid, pidfd: fd, lasting: true, name: -1})
	th, who, err := kept.caller(tid)
	if err != nil || th.pidfd != fd || who.pid != os.Getpid() {
		t.Fatalf("%+v, %v; want this process", who, err)
	}
	if kept.give(th); len(kept.kept) != 0 {
		t.Error("the descriptor is kept")
	}
}

// No more threads are kept open than the bound says.
func TestThreadsAreBounded(t *testing.T) {
	var kept threads
	var all []*thread
	for n := range 2 * maxThreads {
		th, err := openThread(uint32(os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		th.tid, th.lasting = uint32(n), true
		all = append(all, th)
		kept.give(th)
	}
	open := 0
	for _, th := range all {
		if _, err := unix.FcntlInt(uintptr(th.pidfd), unix.F_GETFD, 0); err == nil {
			open++
			th.close()
		}
	}
	if open != maxThreads || len(kept.kept) != maxThreads {
		t.Errorf("%d are open, and %d kept; want %d", open, len(kept.kept), maxThreads)
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte("Name:\ta b:\tc\nUmask:\t0022\nTgid:\t12\nPid:\t13\nUid:\t1000\t0\t0\t0\n"))
	if want := (caller{12, 1000, "a b:\tc"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "Name:\tx\n", "Name:\tx\nTgid:\ty\nUid:\t1\n", "Name:\tx\nTgid:\t1\nUid:\t-1\t2\n"} {
		if c, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}
