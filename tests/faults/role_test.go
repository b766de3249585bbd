package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// These users need not exist. They are not "nobody", which identifies no user.
const (
	userA = 4711
	userB = 4712
)

// roleEnv makes this program play a part as another user, instead of running tests.
const roleEnv = "MAMMA_FAULTS_ROLE"

// play plays a part. It prints a line, and ends when its input ends.
func play(role string) int {
	args := strings.Split(role, " ")
	said, err := "", error(nil)
	switch args[0] {
	case "ask":
		said, err = ask(args[1])
	case "hog":
		said, err = hog(args[1], args[2])
	case "replay":
		said, err = replay(args[1], args[2])
	case "torment":
		return torment(args[1])
	default:
		err = fmt.Errorf("unknown role %q", args[0])
	}
	if err != nil {
		said = err.Error()
	}
	fmt.Println(said)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// ask is a client that behaves well.
func ask(socket string) (string, error) {
	l, err := open(socket)
	if err != nil {
		return "", err
	}
	a, err := l.ask(toLoopback)
	return a.String(), err
}

// replay reports again and again that another user's connection has failed.
func replay(socket, decision string) (string, error) {
	id, err := uuid.Parse(decision)
	if err != nil {
		return "", err
	}
	l, err := open(socket)
	if err != nil {
		return "", err
	}
	for range 200 {
		if err := l.report(id, syscall.ENETUNREACH); err != nil {
			return "", err
		}
	}
	return "done", nil
}

// hoard keeps connections from being garbage-collected.
var hoard []net.Conn

// hog opens n connections and tells how many of them the daemon keeps.
func hog(socket, n string) (string, error) {
	count, err := strconv.Atoi(n)
	if err != nil {
		return "", err
	}
	kept := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(hoard) < count {
		c, err := net.Dial("unix", socket)
		switch {
		case err == nil:
			hoard = append(hoard, c)
		case errors.Is(err, syscall.EAGAIN): // the daemon's queue is full
			<-tick.C
		default:
			return "", err
		}
	}
	// The last question is after all connections in the daemon's queue. So when it is
	// answered or refused, all refusals have been made.
	for _, c := range hoard {
		_ = c.SetReadDeadline(time.Now().Add(stage.Patience))
		if _, err := c.Write(toLoopback); err != nil {
			continue
		}
		if _, err := io.ReadFull(c, make([]byte, 12)); err == nil {
			kept++
		}
	}
	return strconv.Itoa(kept), nil
}

// torment makes all attacks until its input ends. Meanwhile it takes as many connections as
// it can get.
func torment(socket string) int {
	fmt.Println("begun")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for {
		select {
		case <-ended:
			return 0
		default:
		}
		if len(hoard) == tormentors {
			for _, c := range hoard {
				_ = c.Close()
			}
			hoard = hoard[:0]
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			continue // the queue is full, or the daemon has refused it
		}
		hoard = append(hoard, c)
		_ = attacks[len(hoard)%len(attacks)].do(c) // whoever is refused has no answer either
	}
}

// tormentors is how many connections torment holds, each in the state in which its attack
// left it. More of them would come and go in numbers that TestSoak takes for growth.
const tormentors = 40

// role is a process of this program that plays a part.
type role struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startRole lets a user play a part. The test is skipped if there can be no other user.
func startRole(t *testing.T, uid, gid uint32, args ...string) *role {
	t.Helper()
	r, err := tryRole(t, uid, gid, args...)
	if err != nil {
		t.Skipf("needs CAP_SETUID and a second user: %v", err)
	}
	return r
}

// tryRole is startRole, but returns the error if there can be no other user.
func tryRole(t *testing.T, uid, gid uint32, args ...string) (*role, error) {
	t.Helper()
	r := &role{cmd: exec.Command("/proc/self/exe")}
	r.cmd.Env = append(os.Environ(), roleEnv+"="+strings.Join(args, " "))
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewScanner(out)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { r.end(t) })
	return r, nil
}

func (r *role) line(t *testing.T) string {
	t.Helper()
	if !r.out.Scan() {
		t.Fatalf("the other user's program ended: %v", r.out.Err())
	}
	return r.out.Text()
}

// end ends the role. It may be called twice.
func (r *role) end(t *testing.T) {
	t.Helper()
	_ = r.in.Close()
	_ = r.cmd.Wait()
}

// requireFiles skips the test if a process cannot have so many files open.
func requireFiles(t *testing.T, n uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Max < n {
		t.Skipf("needs a limit of %d open files, not %d", n, l.Max)
	}
}
