package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/placement/notify"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// fileCalls are the system calls by which package os opens files and looks at them.
var fileCalls = []uint32{unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2}

// giveUpFileCalls has the kernel ask a listener, whose descriptor it returns, before each
// file call of this thread.
func giveUpFileCalls() (int, error) {
	calls := fileCalls
	if nr, ok := map[string]uint32{"amd64": 262, "arm64": 79, "riscv64": 79}[runtime.GOARCH]; ok {
		calls = append(slices.Clip(calls), nr) // newfstatat, which has no name that is the same everywhere
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 4}} // nr of struct seccomp_data
	for _, nr := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1}, bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF})
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	if err != nil {
		return -1, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// filesUnder runs do on a thread of its own. It returns how many file calls the thread has
// made, and which locks were held at such calls, with the goroutine's stack. Nobody else may
// use the locks meanwhile. Calls that do leaves to other goroutines are not seen.
func filesUnder(t *testing.T, locks map[string]*sync.Mutex, do func()) (calls int, held map[string]string) {
	t.Helper()
	type listening struct {
		fd  int
		err error
	}
	installed, parked := make(chan listening), make(chan struct{})
	var over atomic.Bool
	var run func()
	run = func() {
		runtime.LockOSThread() // and not unlocked: the thread and its filter end with the goroutine
		if unix.Gettid() == os.Getpid() {
			go run() // the first thread does not end, but is kept from the other goroutine
			<-parked
			return
		}
		defer close(parked)
		fd, err := giveUpFileCalls()
		if installed <- (listening{fd, err}); err != nil {
			return
		}
		do()
		over.Store(true)
		_ = unix.Faccessat(unix.AT_FDCWD, "/", unix.F_OK, 0) // tells the listener
	}
	go run()
	got := <-installed
	if errors.Is(got.err, unix.ENOSYS) || errors.Is(got.err, unix.EINVAL) || errors.Is(got.err, unix.EBUSY) {
		t.Skipf("needs seccomp user notification: %v", got.err)
	}
	if got.err != nil {
		t.Fatal(got.err)
	}
	l, err := notify.NewListener(got.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody waits any more
	held = map[string]string{}
	for buf := new(notify.Buffer); ; calls++ {
		c, err := l.Receive(buf)
		if err != nil {
			t.Fatal(err)
		}
		if over.Load() {
			_ = l.Continue(c)
			<-parked
			return calls, held
		}
		for name, mu := range locks {
			if mu.TryLock() {
				mu.Unlock()
			} else {
				held[name] = stackOfLockedGoroutine()
			}
		}
		if err := l.Continue(c); err != nil {
			t.Error(err)
		}
	}
}

// stackOfLockedGoroutine is the stack of the goroutine that is locked to its thread and waits
// in a system call.
func stackOfLockedGoroutine() string {
	buf := make([]byte, 1<<20)
	for one := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if head, _, _ := strings.Cut(one, "\n"); strings.Contains(head, "syscall") && strings.Contains(head, "locked to thread") {
			return one
		}
	}
	return "unknown"
}

// addLocks adds the mutexes in v, and in what it points to, as far as this package declares
// the types.
func addLocks(locks map[string]*sync.Mutex, name string, v reflect.Value) {
	switch t := v.Type(); {
	case t == reflect.TypeFor[sync.Mutex]():
		mu := (*sync.Mutex)(v.Addr().UnsafePointer())
		for _, known := range locks {
			if known == mu {
				return
			}
		}
		locks[name] = mu
	case t.Kind() == reflect.Pointer && !v.IsNil():
		if t.Elem().PkgPath() == reflect.TypeFor[Daemon]().PkgPath() {
			addLocks(locks, name, v.Elem())
		}
	case t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Daemon]().PkgPath():
		for i := range t.NumField() {
			addLocks(locks, strings.TrimPrefix(name+"."+t.Field(i).Name, "."), v.Field(i))
		}
	}
}

// watchedDaemon makes a Daemon on the networks of nets, with all that makes it read files.
// It returns its locks, too.
func watchedDaemon(t *testing.T, nets *script) (*Daemon, map[string]*sync.Mutex) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "mamma.conf")
	servers := filepath.Join(dir, "resolv.conf")
	text := fmt.Sprintf(`state_dir = %q
		system_bus = "off"
		policy "sample" {}
		probe { when = "always" }
		interface "wlan0" { resolvconf = %q }
		interface "wwan0" {
			cost = "metered"
			budget = "1GB"
		}`, dir, servers)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(servers, []byte("nameserver 192.168.0.1\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: policies.All()}, nets.watch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	locks := map[string]*sync.Mutex{}
	addLocks(locks, "", reflect.ValueOf(d))
	// Held during a reload, so that there is one at a time. A reload reads files.
	delete(locks, "reloads.reloading")
	return d, locks
}

// Nothing waits for a file while it holds a lock of the daemon: a disk that hangs would
// otherwise stop decisions.
func TestNoFileUnderLock(t *testing.T) {
	_ = time.Now().Local().String() // reads the time zone, once
	nets := newScript(laptop())
	d, locks := watchedDaemon(t, nets)
	want := []string{"budgets.mu", "current.mu", "current.routed.mu", "health.mu", "links.mu", "reloads.mu"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(locks))); diff != "" {
		t.Errorf("the locks have changed: do below what is done under them (-want +got)\n%s", diff)
	}
	calls, held := filesUnder(t, locks, func() {
		id := d.current.list[0].prefix.ID
		p := d.manager.View().Prefixes[0]
		rec := mam.Record{
			Time: time.Now(), App: policy.App{UID: 1000, PID: 1}, Remote: netip.MustParseAddrPort("192.0.2.1:80"),
			Decision: policy.Decision{Prefix: p}, Outcome: &mam.Outcome{Errno: int32(unix.ETIMEDOUT)},
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range []error{
			d.Reload(t.Context()), d.budgets.run(ended), d.Dump(io.Discard), announceEnd(io.Discard, d.current.chosen()),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		d.links.look(nets.Snapshot(), nil)
		d.current.follow(false)
		d.measured(&pathstat.Snapshot{Time: time.Now(), Bytes: map[int]uint64{2: 1, 3: 1}})
		nets.become(moved())
		d.links.look(nets.Snapshot(), nil)
		d.current.follow(true)
		d.resumed(time.Hour)
		d.decided(&rec)
		d.leased(&rec, 1)
		d.reported(rec)
		d.health.heard(&rec)
		d.flow(&mam.FlowReport{App: rec.App, Over: id, Remote: rec.Remote, Silent: true})
		if jobs, _ := d.health.probes(map[policy.PrefixID]lastProbe{}); len(jobs) == 0 {
			t.Error("no probe is due, and so no name server is looked up")
		}
		d.health.took(result{job{id: id, stay: d.health.stays[id].number}, errors.New("no answer")})
		d.current.publish()
		d.forget("")
		d.state()
		if _, err := planNow(&routing.Tables{}, d.current); err != nil {
			t.Error(err)
		}
		d.current.routed.noted(othersNow(d.current))
		d.current.routed.failed(nil)
	})
	for name, stack := range held {
		t.Errorf("a file is opened or looked at while %s is held\n%s", name, stack)
	}
	if calls == 0 {
		t.Error("no file call was seen, not even those of the reload")
	}
}

// What TestNoFileUnderLock looks for is found if it is there.
func TestFileUnderLockIsSeen(t *testing.T) {
	d, locks := watchedDaemon(t, newScript(laptop()))
	calls, held := filesUnder(t, locks, func() {
		d.links.mu.Lock()
		defer d.links.mu.Unlock()
		_, _ = os.ReadFile(d.opts.ConfigPath)
	})
	if diff := cmp.Diff([]string{"links.mu"}, slices.Sorted(maps.Keys(held))); diff != "" || calls == 0 {
		t.Errorf("%d file calls; held at them (-want +got)\n%s", calls, diff)
	}
	if stack := held["links.mu"]; !strings.Contains(stack, "TestFileUnderLockIsSeen") {
		t.Errorf("the stack is %q", stack)
	}
}
