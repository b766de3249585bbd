package placement

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/bounded"
)

// stranger is a user that need not exist.
const stranger = 4711

// asStranger calls f on a thread that belongs to another user meanwhile. The test is
// skipped if there can be no other user.
func asStranger(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set := func(uid int) error {
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user for a moment")
	}
	if err := set(stranger); err != nil {
		t.Skipf("needs a second user: %v", err)
	}
	defer func() {
		if err := set(0); err != nil {
			panic(fmt.Sprintf("this thread stays another user's: %v", err))
		}
	}()
	f()
}

// Once a run is over, anybody can listen under its name. That listener is told nothing, and
// what it says does not count.
func TestOuterOfAStranger(t *testing.T) {
	name := fmt.Sprintf("@mamma-test-%d", os.Getpid())
	var l *net.UnixListener
	var err error
	asStranger(t, func() { l, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"}) })
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			heard <- err.Error()
			return
		}
		_ = json.NewEncoder(c).Encode(answer{})
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		_ = c.Close()
		heard <- string(b)
	}()
	t.Setenv(outerName, name)
	joined, err := joinOuter(Options{Rules: RulesFile{Text: "secret"}})
	if joined || err != nil {
		t.Errorf("joined %v, %v", joined, err)
	}
	if text := <-heard; text != "" {
		t.Errorf("the stranger heard %q", text)
	}
	_ = l.Close()
}

// Only processes of this run and of this user can state intents. Others make nobody wait.
func TestGuests(t *testing.T) {
	p := &placer{say: &speaker{}, follow: newFollower(), options: &stated{}}
	env, err := p.listenForInner()
	if err != nil {
		t.Fatal(err)
	}
	_, name, _ := strings.Cut(env, "=")
	dial := func() *net.UnixConn {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	t.Run("stranger", func(t *testing.T) {
		var all []*net.UnixConn
		asStranger(t, func() {
			for range 4 * maxHeard { // none of them says anything
				all = append(all, dial())
			}
		})
		for _, c := range all {
			var a answer
			if err := json.NewDecoder(c).Decode(&a); err != nil || a.Error != "this run is another user's" {
				t.Errorf("answered %+v, %v", a, err)
			}
		}
	})
	t.Setenv(outerName, name)
	if joined, err := joinOuter(Options{Require: true}); !joined || err != nil {
		t.Errorf("this process: joined %v, %v", joined, err)
	}
	if o, ok := p.guests.of(os.Getpid()); !ok || !o.Require {
		t.Errorf("for this process %+v, %v", o, ok)
	}
	// The guest may be in a sandbox, so this process opens no file that it names.
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := RulesFile{Name: "rules", Text: fmt.Sprintf("learning {\n  file = %q\n}\n", precious)}
	if joined, err := joinOuter(Options{Rules: rules}); !joined || err != nil {
		t.Errorf("with a file: joined %v, %v", joined, err)
	}
	if o, ok := p.guests.of(os.Getpid()); !ok || !o.Require {
		t.Errorf("what was required of this process is no more: %+v, %v", o, ok)
	}
	for _, o := range p.guests.all() {
		o.save(p.say)
	}
	if b, err := os.ReadFile(precious); string(b) != "data" || err != nil {
		t.Errorf("a guest has had the file replaced by %q, %v", b, err)
	}
	if joined, err := joinOuter(Options{Require: true}); !joined || err != nil {
		t.Errorf("again: joined %v, %v", joined, err)
	}
	for _, less := range []Options{{NoMessages: true}, {AllowIOURing: true}} {
		p.options.Options = less
		if joined, err := joinOuter(Options{Require: true}); joined || err == nil || !strings.Contains(err.Error(), "cannot do what --require asks for") {
			t.Errorf("in a run with %+v: joined %v, %v", less, joined, err)
		}
	}
	// Later, another process has the number of one that has announced something.
	p.guests.list[os.Getpid()] = guest{stated: p.guests.list[os.Getpid()].stated, begun: 1}
	if o, ok := p.guests.of(os.Getpid()); ok {
		t.Errorf("for another process of the same number %+v", o)
	}
	if o, ok := p.guests.of(0); !ok || !o.Require {
		t.Errorf("nothing is required of a process about which nothing is known: %+v, %v", o, ok)
	}
}

// A process that is not in this run is told so, whoever's it is.
func TestOutsiderIsNotHeard(t *testing.T) {
	p := &placer{say: &speaker{}, follow: newFollower(), options: &stated{}}
	if a := p.toldTo(t, os.Getppid(), `{"Options":{}}`); !a.Outside || p.guests.any() {
		t.Errorf("answered %+v, and noted: %t", a, p.guests.any())
	}
}

// Neither a long announcement nor many of them take more memory than there is for them.
func TestAnnouncementsAreBounded(t *testing.T) {
	p := &placer{say: &speaker{}, follow: newFollower(), options: &stated{}}
	long := `{"Options":{"Socket":"` + strings.Repeat("x", maxAnnouncement) + `"}}`
	if a := p.toldTo(t, os.Getpid(), long); !strings.Contains(a.Error, bounded.ErrTooLong.Error()) || p.guests.any() {
		t.Errorf("answered %+v, and noted: %t", a, p.guests.any())
	}
	p.guests.left = make([]*stated, maxGuests)
	if a := p.toldTo(t, os.Getpid(), `{"Options":{}}`); !strings.Contains(a.Error, "too many runs") {
		t.Errorf("one too many: answered %+v", a)
	}
}

// toldTo is what a process of some number is answered that announces a text.
func (p *placer) toldTo(t *testing.T, pid int, text string) (a answer) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("@mamma-test-%d", os.Getpid()), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	theirs, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(c, text) }() // ends when p has read enough, and closes
	p.hear(theirs, pid)
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		t.Error(err)
	}
	return a
}

// A process that has lost its ancestors is known by its filters. One that had them before the
// run began is not of that run.
func TestOrphans(t *testing.T) {
	filters, known := filtersOf(os.Getpid())
	if !known {
		t.Skip("needs a kernel that tells the number of filters (Linux 5.9)")
	}
	_, begun := parentOf(os.Getpid())
	run := func(begun uint64, filters int, name string) guest {
		return guest{&stated{Options: Options{Require: true, Socket: name}}, begun, filters}
	}
	for _, tt := range []struct {
		name   string
		strict []guest
		want   string // "": it is of no run
	}{
		{"no run", nil, ""},
		{"a run", []guest{run(begun, filters, "a")}, "a"},
		{"a later run", []guest{run(begun+1, filters, "a")}, ""},
		{"another run", []guest{run(begun, filters+1, "a")}, ""},
		{"the latest of two that are possible", []guest{run(1, filters, "a"), run(2, filters, "b"), run(2, filters+1, "c"), run(begun+1, filters, "d")}, "b"},
	} {
		g := guests{strict: tt.strict}
		got := ""
		if o, ok := g.of(os.Getpid()); ok {
			got = o.Socket
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// Few are kept. What the first ones required is required on.
	g := guests{strict: []guest{run(1, filters, "first")}}
	for range 2 * maxStrict {
		if err := g.add(os.Getpid(), run(0, 0, "later").stated, true); err != nil {
			t.Fatal(err)
		}
	}
	if o, ok := g.of(os.Getpid()); !ok || len(g.strict) != maxStrict || !g.any() {
		t.Errorf("of %d runs there are %d: %+v, %v", 2*maxStrict, len(g.strict), o, ok)
	}
	clear(g.list)
	if o, ok := g.of(os.Getpid()); !ok || !g.any() {
		t.Errorf("with a run that is no longer kept: %+v, %v", o, ok)
	}
}

func TestDescends(t *testing.T) {
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Skip("needs cat: ", err)
	}
	for _, tt := range []struct {
		pid, from int
		want      bool
	}{
		{child.Process.Pid, os.Getpid(), true},
		{os.Getpid(), os.Getpid(), true},
		{os.Getppid(), os.Getpid(), false},
		{1, os.Getpid(), false},
		{0, os.Getpid(), false},
	} {
		if got := descends(tt.pid, tt.from); got != tt.want {
			t.Errorf("%d descends from %d: %v", tt.pid, tt.from, got)
		}
	}
	_ = in.Close()
	_ = child.Wait()
	if descends(child.Process.Pid, os.Getpid()) {
		t.Error("a process that has ended descends from this one")
	}
}
