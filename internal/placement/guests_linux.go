package placement

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// outerName is the environment variable by which the programs of a run know where
// its supervisor listens. The kernel takes one listener for a process: a run
// inside a run has the outer one place its connections, with its own intents.
const outerName = "MAMMA_RUN"

// guests are the processes that inner runs have announced, with the intents that
// count for them and their descendants. The zero value is ready.
type guests struct {
	mu   sync.Mutex
	list map[int]*stated // by process
	left []*stated       // of those that are gone, until what they learnt is saved
}

// all gives what was announced, and forgets those that are gone.
func (g *guests) all() []*stated {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.left
	g.left = nil
	for _, o := range g.list {
		list = append(list, o)
	}
	return list
}

// maxGuests bounds the memory of announcements.
const maxGuests = 1024

// of gives the options that an inner run has stated for a process or the nearest
// of its ancestors.
func (g *guests) of(pid int) (*stated, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.list) == 0 {
		return nil, false
	}
	for range 64 { // deeper than any tree of processes that people make
		if o, ok := g.list[pid]; ok {
			return o, true
		}
		if pid = parentOf(pid); pid <= 1 {
			break
		}
	}
	return nil, false
}

// parentOf reads the parent of a process, 0 if it is gone (proc_pid_stat(5)).
func parentOf(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold anything.
	_, rest, ok := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// add notes what counts for a process, and forgets those that are gone.
func (g *guests) add(pid int, o *stated) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, o := range g.list {
		if parentOf(p) == 0 {
			delete(g.list, p)
			g.left = append(g.left, o)
		}
	}
	if len(g.list)+len(g.left) >= maxGuests {
		return errors.New("too many runs inside of this one")
	}
	if g.list == nil {
		g.list = map[int]*stated{}
	}
	g.list[pid] = o
	return nil
}

// announcement is what an inner run tells the outer one's supervisor, and answer
// what it hears.
type (
	announcement struct{ Options Options }
	answer       struct{ Error string }
)

// maxAnnouncement bounds what is read of an announcement, in bytes.
const maxAnnouncement = 1 << 20

// guestPatience bounds how long an exchange between two runs takes.
const guestPatience = 5 * time.Second

// listenForInner listens for runs inside this one, on a socket without a file, and
// returns the environment that tells them where.
func (p *placer) listenForInner() (environment string, err error) {
	name := fmt.Sprintf("@mamma-run-%d-%d", os.Getpid(), time.Now().UnixNano())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return "", fmt.Errorf("listen for runs inside this one: %w", err)
	}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go p.hear(c)
		}
	}()
	return outerName + "=" + name, nil
}

// hear takes one announcement. It counts for the process that makes it, and only
// if that is of this user: nobody states intents for others.
func (p *placer) hear(c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(guestPatience))
	reply := func(err error) {
		var a answer
		if err != nil {
			a.Error = err.Error()
		}
		_ = json.NewEncoder(c).Encode(a)
	}
	who, err := peer(c)
	if err != nil || !userid.Own(who.Uid) {
		reply(errors.New("this run is another user's"))
		return
	}
	var a announcement
	if err := json.NewDecoder(io.LimitReader(c, maxAnnouncement)).Decode(&a); err != nil {
		reply(fmt.Errorf("the announcement makes no sense: %w", err))
		return
	}
	s, err := newStated(a.Options, p.say)
	if err != nil {
		reply(err)
		return
	}
	reply(p.guests.add(int(who.Pid), s))
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

// joinOuter announces o to the run that this process is in, if it is in one. Then
// the program is to be executed by this very process.
func joinOuter(o Options) (joined bool, err error) {
	name := os.Getenv(outerName)
	if name == "" {
		return false, nil
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if errors.Is(err, unix.ECONNREFUSED) {
		return false, nil // that run is over; its name went on in the environment
	}
	if err != nil {
		return false, fmt.Errorf("reach the run that this is in: %w", err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(guestPatience))
	if err := json.NewEncoder(c).Encode(announcement{o}); err != nil {
		return false, fmt.Errorf("tell the run that this is in: %w", err)
	}
	var a answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return false, fmt.Errorf("hear from the run that this is in: %w", err)
	}
	if a.Error != "" {
		return false, fmt.Errorf("the run that this is in refuses: %s", a.Error)
	}
	return true, nil
}
