package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/operator/web"
)

// maxRuns bounds how many programs under "mammactl run" are shown.
const maxRuns = 256

// maxRunArgs bounds the arguments of a process that is shown, in bytes. A process can show
// more than there is memory as its arguments (PR_SET_MM_MAP, prctl(2)).
const maxRunArgs = 64 << 10

// runs are the programs of processes that may be looked at which "mammactl run" has
// started, by its arguments.
func (a *app) runs() []web.Run {
	var list []web.Run
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, dir := range dirs {
		if len(list) == maxRuns {
			break
		}
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || filepath.Base(exe) != "mammactl" { // somebody else's, or gone
			continue
		}
		line, err := argsOf(dir)
		info, statErr := os.Stat(dir)
		if err != nil || statErr != nil || len(line) == 0 {
			continue
		}
		var args []string
		for _, b := range bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0}) {
			args = append(args, string(b))
		}
		r, ok := a.runOf(args[1:])
		if !ok {
			continue
		}
		r.PID, _ = strconv.Atoi(filepath.Base(dir)) // digits
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			r.UID = st.Uid
		}
		list = append(list, r)
	}
	return list
}

// argsOf reads the arguments of a process, if they are few enough to be shown.
func argsOf(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, "cmdline")) //nolint:gosec // the kernel's
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return bounded.ReadAll(f, maxRunArgs)
}

// runOf takes the arguments of mammactl apart; false if they are not those of run.
func (a *app) runOf(args []string) (web.Run, bool) {
	root := (&app{getenv: a.getenv}).root()
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Name() != "run" {
		return web.Run{}, false
	}
	if cmd.ParseFlags(rest) != nil || cmd.Flags().NArg() == 0 {
		return web.Run{}, false
	}
	program := cmd.Flags().Args()
	own := rest[:len(rest)-len(program)]
	if n := len(own); n > 0 && own[n-1] == "--" {
		own = own[:n-1]
	}
	return web.Run{Program: program, Options: append([]string{}, own...)}, true
}
