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

// listenerEnv names the descriptor of the page's listener to the process that testbed.Enter
// starts.
const listenerEnv = "MAMMA_PLAYGROUND_LISTENER"

// hostListener listens on this host itself, and not in the namespace that testbed.Enter
// enters; nil: by the arguments nobody needs it. It is called before Enter, and leaves the
// listener to the process that Enter starts, where it is called again.
func hostListener(args []string) (*os.File, error) {
	if text := os.Getenv(listenerEnv); text != "" {
		fd, err := strconv.Atoi(text)
		if err != nil || fd < 3 {
			return nil, fmt.Errorf("%s is %q, which is no descriptor", listenerEnv, text)
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

// listenHere listens at a port that is free.
func listenHere() (*os.File, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // the file has a descriptor of its own
	return l.File()
}

// startPage serves the page of mamma on the bed's client host at the listener, and returns
// the link to it.
func startPage(bed *testbed.Bed, listener *os.File, dir, bin string) (link string, err error) {
	// It is named, as it is not there yet.
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "web", "--listener", "3", "--control", filepath.Join(dir, "mamma", "control.sock"))
	cmd.Env, cmd.ExtraFiles = environment(dir, bin), []*os.File{listener}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := bed.Client.Start(cmd); err != nil {
		return "", fmt.Errorf("serve the page: %w", err)
	}
	// It ends with the bed.
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	select {
	case link = <-line:
	case <-time.After(time.Minute): // of a machine that is very busy
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
