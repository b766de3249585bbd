// Package faults does to the real daemon what goes wrong in a year: it is killed,
// starved and reloaded in the middle of its work, its networks come and go, and its
// clients are hostile. A program that asks in good faith must get an answer, or dial
// plainly at once.
//
// The tests run one after the other, as they starve the machine. Other faults of
// policies are tested in mam, those of the decoder in internal/wire.
package faults

import (
	"os"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is the directory of the programs under test.
var bin string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(stage.WithPrograms(func(dir string) int {
		bin = dir
		return m.Run()
	}, "../../cmd/mamma", "../../cmd/mammactl", "../../cmd/muacsocksd"))
}

// loopbackConf manages the one network that every host has.
const loopbackConf = `policy "sample" {
}
prefix "127.0.0.0/8" {
  default = true
}
`
