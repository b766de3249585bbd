package placement

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/userid"
)

// outerName is the environment variable that tells the programs of a run where its
// supervisor listens. The kernel accepts one listener per process. So a run inside a
// run lets the outer one place its connections, with the inner one's intents.
const outerName = "MAMMA_RUN"

// guests are the processes that inner runs have announced, with the intents for them
// and their descendants. The zero value is ready to use.
type guests struct {
	mu   sync.Mutex
	list map[int]guest // by process id
	left []*stated     // those of processes that are gone, until what they learnt is saved
	// strict are those that required something themselves, whether their processes are gone
	// or not. The oldest is first.
	strict []guest
}

// guest is a process with the options that were announced for it.
type guest struct {
	*stated
	begun uint64 // start of the process; tells it from a later one with the same id
	// filters is the number of seccomp filters that the descendants have at least.
	filters int
}

// all returns what was announced, and forgets processes that are gone.
func (g *guests) all() []*stated {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.left
	g.left = nil
	for _, o := range g.list {
		list = append(list, o.stated)
	}
	return list
}

// any tells whether an inner run was announced.
func (g *guests) any() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.list)+len(g.strict) > 0
}

const (
	// maxGuests bounds the announcements in memory.
	maxGuests = 1024
	// maxStrict bounds those of them that are kept for processes whose parents have ended.
	maxStrict = 64
)

// of returns the options that an inner run has announced for a process or for its
// nearest ancestor. A process whose parent has ended has lost its ancestors, so what is
// required of it is found out by other means.
func (g *guests) of(pid int) (*stated, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, ok := g.announcedLocked(pid)
	if ok && o.Require {
		return o, true
	}
	if s := g.strictLocked(pid); s != nil {
		return s, true
	}
	return o, ok
}

// strictLocked returns the options of an inner run from which a process may descend, and
// which requires something; nil: there is none. Each process of such a run has one filter more
// than the run itself had, which nothing takes away from its descendants (seccomp(2)). Programs
// with filters of their own may be taken for descendants, and so are processes about which
// nothing can be found out, such as without free descriptors. Where more than one run is
// possible, the latest counts.
func (g *guests) strictLocked(pid int) *stated {
	if len(g.strict) == 0 {
		return nil
	}
	_, begun := parentOf(pid)
	filters, known := filtersOf(pid)
	for _, r := range slices.Backward(g.strict) {
		if begun == 0 || begun >= r.begun && (!known || filters >= r.filters) {
			return r.stated
		}
	}
	return nil
}

// filtersOf returns the number of seccomp filters of a process.
func filtersOf(pid int) (n int, known bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "Seccomp_filters:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			return n, err == nil
		}
	}
	return 0, false
}

// announcedLocked looks for what was announced for a process or its nearest ancestor.
func (g *guests) announcedLocked(pid int) (*stated, bool) {
	if len(g.list) == 0 {
		return nil, false
	}
	for range maxAncestors {
		parent, begun := parentOf(pid)
		if o, ok := g.list[pid]; ok && o.begun == begun {
			return o.stated, true
		}
		if pid = parent; pid <= 1 {
			break
		}
	}
	return nil, false
}

// maxAncestors is more than the depth of any real process tree.
const maxAncestors = 64

// descends tells whether a process descends from another one.
func descends(pid, from int) bool {
	for range maxAncestors {
		if pid == from {
			return true
		}
		if pid, _ = parentOf(pid); pid <= 1 {
			break
		}
	}
	return false
}

// parentOf returns the parent of a process, and the start of the process in ticks since
// boot; 0 if the process is gone (proc_pid_stat(5)).
func parentOf(pid int) (parent int, begun uint64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	// The name in brackets may contain anything, including brackets.
	_, rest, ok := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), ") ")
	f := strings.Fields(rest) // the fields from the third on
	if !ok || len(f) < 20 {
		return 0, 0
	}
	parent, err1 := strconv.Atoi(f[1])
	begun, err2 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	return parent, begun
}

// add notes the options that were announced for a process, and forgets processes that
// are gone. marks tells that the process will give itself a further filter, because it
// requires something.
func (g *guests) add(pid int, o *stated, marks bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, o := range g.list {
		if _, begun := parentOf(p); begun != o.begun {
			delete(g.list, p)
			g.left = append(g.left, o.stated)
		}
	}
	if len(g.list)+len(g.left) >= maxGuests {
		return errors.New("too many runs inside this one")
	}
	if g.list == nil {
		g.list = map[int]guest{}
	}
	_, begun := parentOf(pid)
	n := guest{stated: o, begun: begun}
	g.list[pid] = n
	if !marks {
		return nil
	}
	if filters, known := filtersOf(pid); known {
		n.filters = filters + 1
	}
	if g.strict = append(g.strict, n); len(g.strict) > maxStrict {
		first, second := &g.strict[0], &g.strict[1]
		second.begun, second.filters = min(first.begun, second.begun), min(first.filters, second.filters)
		g.strict = slices.Delete(g.strict, 0, 1)
	}
	return nil
}

// announcement is what an inner run tells the outer run's supervisor. answer is the
// reply. Its field Outside says that the process does not belong to the outer run, and
// only inherited the variable.
type (
	announcement struct{ Options Options }
	answer       struct {
		Error   string
		Outside bool
	}
)

// maxAnnouncement bounds the size of an announcement, in bytes.
const maxAnnouncement = 1 << 20

const (
	// guestPatience bounds an exchange between two runs.
	guestPatience = 5 * time.Second
	// maxHeard is the number of announcements that are handled at once.
	maxHeard = 16
	// acceptPause is the wait after the process ran out of descriptors.
	acceptPause = 50 * time.Millisecond
)

// listenForInner listens for inner runs on a socket without a file. It returns the
// environment variable that tells them where.
func (p *placer) listenForInner() (environment string, err error) {
	name := fmt.Sprintf("@mamma-run-%d-%d", os.Getpid(), time.Now().UnixNano())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return "", fmt.Errorf("listen for runs inside this one: %w", err)
	}
	go func() {
		places := make(chan struct{}, maxHeard)
		for {
			c, err := l.AcceptUnix()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil: // there are no free descriptors for now
				time.Sleep(acceptPause)
				continue
			}
			// Everybody can connect to a socket without a file. Connections of other
			// users are closed at once, so that they take no place and make nobody
			// wait.
			who, err := peer(c)
			if err != nil || !userid.Own(who.Uid) {
				say(c, answer{Error: "this run is another user's"})
				_ = c.Close()
				continue
			}
			places <- struct{}{}
			go func() {
				defer func() { <-places }()
				p.hear(c, int(who.Pid))
			}()
		}
	}()
	return outerName + "=" + name, nil
}

// say sends an answer. It does not wait: an answer fits the socket's buffer.
func say(c *net.UnixConn, a answer) {
	_ = c.SetDeadline(time.Now().Add(guestPatience))
	_ = json.NewEncoder(c).Encode(a)
}

// hear handles an announcement from a process of this user. The announcement is for the
// announcing process itself, and only if that belongs to this run. So nobody can state
// intents for programs of others, and this run places only its own processes.
func (p *placer) hear(c *net.UnixConn, pid int) {
	defer func() { _ = c.Close() }()
	if !descends(pid, os.Getpid()) {
		say(c, answer{Outside: true})
		return
	}
	_ = c.SetDeadline(time.Now().Add(guestPatience))
	var a announcement
	err := json.NewDecoder(bounded.NewReader(c, maxAnnouncement)).Decode(&a)
	if err != nil {
		say(c, answer{Error: fmt.Sprintf("the announcement makes no sense: %v", err)})
		return
	}
	marks := a.Options.Require
	if err = p.admit(&a.Options, pid); err == nil {
		var s *stated
		if s, err = newGuest(a.Options, p.say); err == nil {
			err = p.guests.add(pid, s, marks)
		}
	}
	if err != nil {
		say(c, answer{Error: err.Error()})
		return
	}
	say(c, answer{})
}

// admit tells whether this run can do what an inner run asks for. The requirements for
// the announcing process stay in force.
func (p *placer) admit(o *Options, pid int) error {
	if p.optionsOf(caller{pid: pid}).Require {
		o.Require = true
	}
	if !o.Require {
		return nil
	}
	own := p.options.Options
	own.Require = true
	if err := own.Check(); err != nil {
		return fmt.Errorf("it cannot do what --require asks for: %w", err)
	}
	return p.holdsAlready(o, pid)
}

func peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}

// joinOuter announces o to the run that this process is in, if it is in one. If joined
// is true, this process itself must execute the program.
func joinOuter(o Options) (joined bool, err error) {
	name := os.Getenv(outerName)
	if name == "" {
		return false, nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if errors.Is(err, unix.ECONNREFUSED) {
		return false, nil // that run has ended; its variable was inherited
	}
	if err != nil {
		return false, fmt.Errorf("reach the run that this is in: %w", err)
	}
	defer func() { _ = c.Close() }()
	// After that run has ended, anybody can listen under its name. Only a trusted
	// user's process is told anything, and believed.
	if who, err := peer(c); err != nil || !userid.Trusted(who.Uid) {
		return false, nil //nolint:nilerr // as if nobody listened
	}
	_ = c.SetDeadline(time.Now().Add(guestPatience))
	sent := json.NewEncoder(c).Encode(announcement{o})
	var a answer
	err = json.NewDecoder(bounded.NewReader(c, maxAnnouncement)).Decode(&a)
	switch { // an answer counts even if it came before all was sent
	case err != nil:
		return false, fmt.Errorf("hear from the run that this is in: %w", errors.Join(sent, err))
	case a.Outside:
		return false, nil // this process is not in that run
	case a.Error != "":
		return false, fmt.Errorf("the run that this is in refuses: %s", a.Error)
	}
	return true, nil
}
