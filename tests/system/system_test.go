// Package system tests the real programs. It builds them, starts them in namespaces,
// speaks to them over their sockets, and stops them by signals.
package system

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is the folder of the programs under test.
var bin string

func TestMain(m *testing.M) {
	if socket := os.Getenv(dialerEnv); socket != "" {
		os.Exit(serveDials(socket, os.Stdin, os.Stdout))
	}
	if address := os.Getenv(steadyEnv); address != "" {
		os.Exit(serveSteadily(address, os.Stdin, os.Stdout))
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(stage.WithPrograms(func(dir string) int {
		bin = dir
		return m.Run()
	}, "../../cmd/mamma", "../../cmd/mammactl", "../../examples/fetch"))
}

// daemon is a running mamma.
type daemon struct {
	*stage.Process
	socket string
}

// start starts mamma in a namespace (nil means that of the test). It waits until mamma
// has loaded its policy and serves its socket.
func start(t *testing.T, in *testbed.Namespace, args ...string) *daemon {
	t.Helper()
	return startBy(t, in, nil, args...)
}

// startBy is start with a command that runs the program which follows in its arguments.
func startBy(t *testing.T, in *testbed.Namespace, by []string, args ...string) *daemon {
	t.Helper()
	d := launchBy(t, in, by, args...)
	stage.Until(t, "mamma serves its socket", func() bool {
		select {
		case <-d.Exited():
			t.Fatalf("mamma ended:\n%s%s", d.Out, d.Log)
		default:
		}
		c, err := net.Dial("unix", d.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	d.Log.Await(t, "msg=serving", 1) // the other sockets and the FIFO are served, too
	return d
}

// launch starts mamma and waits for nothing.
func launch(t *testing.T, in *testbed.Namespace, args ...string) *daemon {
	t.Helper()
	return launchBy(t, in, nil, args...)
}

func launchBy(t *testing.T, in *testbed.Namespace, by []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{socket: filepath.Join(t.TempDir(), "mamma.sock")}
	for i, a := range args {
		if a == "--socket" {
			d.socket = args[i+1]
		}
	}
	argv := append(append(slices.Clone(by), filepath.Join(bin, "mamma"), "--socket", d.socket), args...)
	d.Process = stage.Launch(t, in, exec.Command(argv[0], argv[1:]...))
	return d
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
