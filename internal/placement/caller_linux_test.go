package placement

import (
	"os"
	"runtime"
	"testing"

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
