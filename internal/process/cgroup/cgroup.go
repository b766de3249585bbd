// Package cgroup tells where control groups of version 2 are, and which one this process
// is in (cgroups(7)).
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrNotMounted says that control groups of version 2 cannot be seen.
var ErrNotMounted = errors.New("cgroup2 is not mounted")

// Mount returns the directory at which control groups of version 2 are mounted, the first
// one if there are several. The error is ErrNotMounted, or says why that is not known.
func Mount() (string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("look for cgroup2: %w", err)
	}
	dir, ok := mountIn(string(text))
	if !ok {
		return "", ErrNotMounted
	}
	return dir, nil
}

// mountIn finds the directory in the text of /proc/self/mounts.
func mountIn(text string) (dir string, ok bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return unescape(f[1]), true
		}
	}
	return "", false
}

// unescape decodes a path of /proc/self/mounts (getmntent(3)).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Own returns the path of this process's control group from the root of the tree that it
// sees, or "" if its group is the root or is not known.
func Own() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	return ownIn(string(text))
}

// ownIn finds the path in the text of /proc/self/cgroup.
func ownIn(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::/"); ok && path != "" {
			return "/" + path
		}
	}
	return ""
}
