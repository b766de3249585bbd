package run

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// A Multipath TCP socket that is made for a program is the one that the program would have
// made. A program of another user, network namespace or control group makes its own socket.
func TestSocketsAreTheirMakers(t *testing.T) {
	require(t, "setpriv", "unshare")
	w := newWorld(t)
	maker := func(t *testing.T, before ...string) string {
		t.Helper()
		args := append(append([]string{"--mptcp", "--"}, before...), bin+"/dialer", "maker", service4+":7000")
		out, errs, status := w.output(t, w.command(root, args...))
		if status != 0 {
			t.Fatalf("status %d: %s", status, errs)
		}
		return strings.TrimSpace(out)
	}
	if got := maker(t); got != "uid 0 here protocol 262" {
		testbed.SkipOrFail(t, fmt.Errorf("%w: needs Multipath TCP: %s", testbed.ErrUnavailable, got))
	}
	t.Run("another user", func(t *testing.T) {
		if len(users()) < 2 {
			testbed.SkipOrFail(t, fmt.Errorf("%w: needs a second user", testbed.ErrUnavailable))
		}
		if got, want := maker(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"), "uid 65534 here protocol 6"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("other groups", func(t *testing.T) {
		if os.Getuid() != 0 {
			testbed.SkipOrFail(t, fmt.Errorf("%w: only root can have other groups", testbed.ErrUnavailable))
		}
		if got, want := maker(t, "setpriv", "--groups=4711"), "uid 0 here protocol 6"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("another network", func(t *testing.T) {
		if got, want := maker(t, "unshare", "--net"), "uid 0 here protocol 6"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// A program that only has the environment of a run, but is not in it, is placed by a run of
// its own.
func TestEnvironmentOfAnotherRun(t *testing.T) {
	w := newWorld(t)
	for _, u := range users() {
		other := w.command(u, "--", "sh", "-c", "echo $MAMMA_RUN; exec cat")
		in, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := other.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		other.Stderr = os.Stderr
		if err := w.Client.Start(other); err != nil {
			t.Fatal(err)
		}
		name, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.HasPrefix(name, "@") {
			t.Errorf("%v: MAMMA_RUN is %q, %v", u, name, err)
		}
		cmd := w.command(u, "--require", "--intents", "category=bulktransfer", "--", bin+"/dialer", "tcp", service4+":7000")
		cmd.Env = append(cmd.Env, "MAMMA_RUN="+strings.TrimSpace(name))
		seen, errs, status := w.output(t, cmd)
		if want := w.address("wwan0", false) + "\n"; seen != want || status != 0 {
			t.Errorf("%v: status %d, the server saw %q, want %q\n%s", u, status, seen, want, errs)
		}
		_ = in.Close()
		if err := other.Wait(); err != nil {
			t.Error(err)
		}
	}
}
