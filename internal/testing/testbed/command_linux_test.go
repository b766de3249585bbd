package testbed_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// writerEnv is the environment variable with the path of a file. A process with it
// writes the file and its folder for ever.
const writerEnv = "MAMMA_TESTBED_WRITER"

func writeForEver(path string) {
	for begun := false; ; {
		_ = os.MkdirAll(filepath.Dir(path), 0o700) // the folder is removed meanwhile
		if os.WriteFile(path, nil, 0o600) == nil && !begun {
			begun = true
			fmt.Println("begun")
		}
	}
}

// Files that a command writes until its last moment are removed with the test's folder,
// even if the folder was made after the bed.
func TestCommandsLeaveNothing(t *testing.T) {
	t.Parallel()
	var dir string
	cmd := exec.Command("/proc/self/exe")
	t.Run("writing", func(t *testing.T) {
		b := testbed.ForTest(t, testbed.Config{})
		dir = t.TempDir()
		cmd.Env = append(os.Environ(), writerEnv+"="+filepath.Join(dir, "state", "file"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Client.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	})
	if cmd.Process == nil {
		t.Skip("needs a test bed")
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the command ended with %v, want a signal", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
}
