package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// shell runs a shell on a host with two networks, the simple demo's configuration, and
// the programs. The user starts mamma's own. If a command is given, it runs in place of
// an interactive shell. The page for a browser is served at listener, unless that is
// nil.
func shell(ctx context.Context, dir, command string, listener *os.File, in io.Reader, out, log io.Writer) error {
	bed, err := testbed.New(testbed.Config{
		Networks: []testbed.NetworkConfig{
			{Name: "wifi", Prefix4: netip.MustParsePrefix("192.168.0.23/24")},
			{Name: "lte", Prefix4: netip.MustParsePrefix("10.64.3.9/10")},
		},
	})
	if err != nil {
		return err
	}
	defer bed.Close()
	bin := filepath.Join(dir, "bin")
	if err := buildAll(ctx, bin); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.conf"), []byte(simpleConfig), 0o600); err != nil {
		return err
	}
	env := environment(dir, bin)
	link := ""
	if listener != nil {
		if link, err = startPage(bed, listener, dir, bin); err != nil {
			return err
		}
	}
	cmd := exec.Command(cmp.Or(os.Getenv("SHELL"), "/bin/sh"))
	if command != "" {
		cmd = exec.Command("/bin/sh", "-c", command)
	} else if _, err := fmt.Fprintf(out, `A host of its own, with two networks:  wifi %v (default route)   lte %v
http://192.0.2.1/ tells from where it was asked. policy.conf sends queries over wifi, bulk transfers over lte. "exit" ends all.
`, bed.Networks[0].Client4, bed.Networks[1].Client4); err != nil {
		return err
	}
	if link != "" {
		if _, err := fmt.Fprintf(out, "What mamma does, in a browser:  %s\n\"ip link set lte down\" pulls a network.\n", link); err != nil {
			return err
		}
	}
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, log
	cmd.Env = env
	// Processes that were left in the background become children of this one.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	defer killChildren()
	cmd.WaitDelay = time.Second // a process left in the background may keep the output open
	if err := bed.Client.Run(cmd); !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return nil
}

// buildAll builds the programs into bin.
func buildAll(ctx context.Context, bin string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "github.com/socket-intents/mamma/cmd/...")
	stop := building()
	said, err := build.CombinedOutput()
	stop()
	if err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, said)
	}
	return nil
}

// environment lets programs find those in bin, and keep in dir what they would
// otherwise look for elsewhere. This host may run a mamma of its own.
func environment(dir, bin string) []string {
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+dir, "RUNTIME_DIRECTORY="+filepath.Join(dir, "mamma"),
		"STATE_DIRECTORY="+filepath.Join(dir, "state"), "MAMMA_SOCKET=")
}

// killChildren kills the processes that the shell has left.
func killChildren() {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list) //nolint:gosec // the kernel's
		for _, text := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(text); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			}
		}
	}
}
