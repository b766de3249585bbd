package clientapi

import (
	"fmt"
	"os"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is the directory of the programs under test.
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
	packages := []string{"../../cmd/mamma", "../socketconnecttest", "../policytest"}
	for _, name := range examples {
		packages = append(packages, "../../examples/"+name)
	}
	os.Exit(stage.WithPrograms(func(dir string) int {
		bin = dir
		return m.Run()
	}, packages...))
}
