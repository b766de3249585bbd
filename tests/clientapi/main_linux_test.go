package clientapi

import (
	"fmt"
	"os"
	"testing"

	"github.com/socket-intents/mamma/internal/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

func TestMain(m *testing.M) {
	if actor, err := stage.Act(jobs()); actor {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = testbed.Enter() // New says what is missing
	os.Exit(m.Run())
}
