package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// WithPrograms is for TestMain: it builds programs into a folder, calls run with the
// folder, removes the folder and returns what run returned. The packages are given as
// to go build, relative to the package under test. Every user may execute the programs.
// If building fails, WithPrograms says so on standard error and returns 1.
func WithPrograms(run func(bin string) int, packages ...string) int {
	bin, err := os.MkdirTemp("", "mamma-programs")
	if err == nil {
		defer func() { _ = os.RemoveAll(bin) }()
		// Some tests start the programs as another user.
		err = errors.Join(os.Chmod(bin, 0o755), build(bin, packages)) //nolint:gosec // see above
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run(bin)
}

// BuildStatic builds packages as WithPrograms does, into a folder that exists, and
// links the C library into none of them.
func BuildStatic(bin string, packages ...string) error { return build(bin, packages, "CGO_ENABLED=0") }

// build builds with the flags that the Makefile gives.
func build(bin string, packages []string, env ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-o", bin + "/"}, packages...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

// LargeByWWAN is a configuration for a bed with networks wlan0 and wwan0: bulk transfers
// take wwan0, and everything else wlan0. Each network has the name server of its bed.
const LargeByWWAN = `policy "intents" {
}
interface "wlan0" {
  default    = true
  nameserver = ["10.1.0.1"]
  options {
    category = "query"
  }
}
interface "wwan0" {
  nameserver = ["10.2.0.1"]
  options {
    category = "bulktransfer"
  }
}
`
