package clientapi

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is where the programs under test are.
var bin string

func TestMain(m *testing.M) {
	if actor, err := stage.Act(jobs()); actor {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(withPrograms(m.Run))
}

// withPrograms builds the programs and removes them afterwards.
func withPrograms(f func() int) int {
	var err error
	if bin, err = os.MkdirTemp("", "mamma-clientapi"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(bin) }()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "../../cmd/mamma", "../socketconnecttest", "../policytest")
	for _, name := range examples {
		cmd.Args = append(cmd.Args, "../../examples/"+name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", cmd, err, out)
		return 1
	}
	return f()
}
