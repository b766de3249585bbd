package proxy

import (
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxProcText is how much is read of what a process says about itself.
const maxProcText = 1 << 20

// offersBlindly tells that a process always offers a name and a password, as tsocks
// and connect-proxy do, and was given none: by what it has mapped, its arguments and its
// environment (proc(5)), which can be read of processes of the same user, or by root.
func offersBlindly(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return false
	}
	switch path.Base(strings.TrimSuffix(exe, " (deleted)")) {
	case "connect-proxy", "connect": // connect.c, determine_relay_user
		args, ok := procText(dir, "cmdline")
		return ok && !bytes.Contains(args, []byte("@")) && !inEnvironment(dir, "SOCKS5_USER", "CONNECT_USER")
	}
	maps, ok := procText(dir, "maps")
	return ok && bytes.Contains(maps, []byte("/libtsocks.so")) && !inEnvironment(dir, "TSOCKS_PASSWORD") // tsocks(8)
}

func procText(dir, name string) ([]byte, bool) {
	f, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // the kernel's
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxProcText))
	return b, err == nil
}

// inEnvironment tells whether one of these variables is set, or may be.
func inEnvironment(dir string, names ...string) bool {
	b, ok := procText(dir, "environ")
	if !ok {
		return true
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if name, _, _ := bytes.Cut(v, []byte("=")); slices.Contains(names, string(name)) {
			return true
		}
	}
	return false
}
