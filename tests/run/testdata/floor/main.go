// Floor runs a program of which each connect(2) is given up to this process, which does as
// little about it as possible. So it costs what the kernel takes for that, and
// what "mammactl run" cannot go below.
//
//	floor continue PROGRAM [ARGUMENT ...]
//	floor SOURCE PROGRAM [ARGUMENT ...]
//
// With continue, each call goes on at once. With an address of IPv4, the socket is copied
// and bound to it before.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

func main() {
	var err error
	if os.Args[1] == "child" {
		err = become(os.Args[2:])
	} else {
		err = supervise(os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// become gives the calls up, tells the other process by which descriptor, and executes
// the program when that process has a copy.
func become(program []string) error {
	runtime.LockOSThread()
	fd, err := notify.Install(notify.Calls{Connect: true})
	if err != nil {
		return err
	}
	tell, hear := os.NewFile(3, "tell"), os.NewFile(4, "hear")
	if _, err := fmt.Fprintln(tell, fd); err != nil {
		return err
	}
	_ = tell.Close()
	if _, err := bufio.NewReader(hear).ReadString('\n'); err != nil {
		return err
	}
	_ = hear.Close()
	return unix.Exec(program[0], program, os.Environ())
}

func supervise(how string, program []string) error {
	var source *unix.SockaddrInet4
	if how != "continue" {
		a, err := netip.ParseAddr(how)
		if err != nil {
			return err
		}
		source = &unix.SockaddrInet4{Addr: a.As4()}
	}
	hear, tell, err := os.Pipe()
	hear2, tell2, err2 := os.Pipe()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"child"}, program...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{tell, hear2}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = tell.Close()
	line, err := bufio.NewReader(hear).ReadString('\n')
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return err
	}
	fd, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		return err
	}
	l, err := notify.NewListener(fd)
	if err != nil {
		return err
	}
	go serve(l, source)
	if _, err := fmt.Fprintln(tell2, "go"); err != nil {
		return err
	}
	return cmd.Wait()
}

// serve lets calls go on until the last thread is gone.
func serve(l *notify.Listener, source *unix.SockaddrInet4) {
	var buf notify.Buffer
	threads := map[uint32]int{}
	for {
		c, err := l.Receive(&buf)
		if err != nil {
			return
		}
		if source != nil {
			if err := bind(threads, c, source); err != nil {
				fmt.Fprintln(os.Stderr, "floor:", err)
			}
		}
		_ = l.Continue(c)
	}
}

// bind binds the socket that a call is about. threads are the descriptors of those that
// have called.
func bind(threads map[uint32]int, c notify.Call, source *unix.SockaddrInet4) error {
	th, ok := threads[c.PID]
	if !ok {
		var err error
		if th, err = unix.PidfdOpen(int(c.PID), unix.O_EXCL); err != nil { // of a thread (Linux 6.9)
			return err
		}
		threads[c.PID] = th
	}
	fd, err := unix.PidfdGetfd(th, int(int32(c.Args[0])), 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1), unix.Bind(fd, source), unix.Close(fd))
	if errors.Is(err, unix.EINVAL) {
		return nil // it is bound: a signal has made the kernel report the same call twice
	}
	return err
}
