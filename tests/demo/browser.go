package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// listenerEnv is the environment variable with the descriptor of the page's listener,
// for the process that testbed.Enter starts.
const listenerEnv = "MAMMA_PLAYGROUND_LISTENER"

// hostListener listens on this host itself, and not in the namespace that testbed.Enter
// makes. It returns nil if the arguments need no listener. It is called before Enter,
// and again in the process that Enter starts, which gets the listener from the first
// call.
func hostListener(args []string) (*os.File, error) {
	if text := os.Getenv(listenerEnv); text != "" {
		fd, err := strconv.Atoi(text)
		if err != nil || fd < 3 {
			return nil, fmt.Errorf("%s is %q, which is not a descriptor", listenerEnv, text)
		}
		unix.CloseOnExec(fd)
		return os.NewFile(uintptr(fd), "listener"), os.Unsetenv(listenerEnv)
	}
	if !slices.Contains(args, "--shell") && !slices.Contains(args, "--screenshot") {
		return nil, nil
	}
	file, err := listenHere()
	if err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
		return nil, err
	}
	return file, os.Setenv(listenerEnv, fmt.Sprint(file.Fd()))
}

// listenHere listens at a free port.
func listenHere() (*os.File, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // the file has a descriptor of its own
	return l.File()
}

// startPage serves mamma's page on the bed's client host, at the listener. It returns
// the link to the page.
func startPage(bed *testbed.Bed, listener *os.File, dir, bin string) (link string, err error) {
	// The control socket is named because it does not exist yet.
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "web", "--listener", "3", "--control", filepath.Join(dir, "mamma", "control.sock"))
	cmd.Env, cmd.ExtraFiles = environment(dir, bin), []*os.File{listener}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := bed.Client.Start(cmd); err != nil {
		return "", fmt.Errorf("serve the page: %w", err)
	}
	// The program ends with the bed.
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	select {
	case link = <-line:
	case <-time.After(time.Minute): // enough for a very busy machine
	}
	if link = strings.TrimSpace(link); link == "" {
		_ = cmd.Process.Kill()
		return "", errors.New("serve the page: mammactl web gives no link")
	}
	return link, nil
}

// await waits until f is true.
func await(ctx context.Context, what string, f func() bool) error {
	for !f() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
	return nil
}
