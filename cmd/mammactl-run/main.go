// Command mammactl-run is a part of mammactl, which starts it for "mammactl run" if it is
// there, and else does the same itself. It stays as long as the program that is run, and
// takes half of the memory that mammactl takes.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/socket-intents/mamma/internal/placement"
	"github.com/socket-intents/mamma/internal/process/service"
)

// version is set by the build.
var version = ""

func main() { os.Exit(run(os.Args, os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	self := placement.Program{Name: args[0], Version: service.Version(version)}
	if status, handled := placement.Dispatch(self, args[1:]); handled {
		return status
	}
	_, _ = fmt.Fprintln(stderr, "mammactl-run is a part of mammactl. Call: mammactl run PROGRAM")
	return 2
}
