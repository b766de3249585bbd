package placement

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// maker is what the kernel stores in a socket, or in its file, about its maker: user, groups,
// network namespace, control group, and the label of a security module. Routing rules, filters and
// permissions use it for as long as the socket exists.
type maker struct {
	users  string // the lines Uid, Gid and Groups of proc_pid_status(5)
	netns  string
	cgroup string
	label  string // "" if no security module has labels
}

// makerOf reads what the kernel would store for a process or thread. dir is its folder
// in /proc.
func makerOf(dir string) (m maker, err error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return m, err
	}
	for line := range bytes.Lines(status) {
		switch key, _, _ := bytes.Cut(line, []byte(":")); string(key) {
		case "Uid", "Gid", "Groups": // filters look at all groups (iptables-extensions(8), owner)
			m.users += string(line)
		}
	}
	if m.users == "" {
		return m, errors.New("the user of a process is not known")
	}
	if m.netns, err = os.Readlink(filepath.Join(dir, "ns/net")); err != nil {
		return m, err
	}
	cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a missing file means a kernel without control groups
		return m, err
	}
	m.cgroup = string(cgroup)
	label, err := os.ReadFile(filepath.Join(dir, "attr/current"))
	if err == nil {
		m.label = string(label)
	}
	return m, nil
}

// makesAs tells whether a socket that this process makes is the same as one that the
// caller would make. The caller is waiting, so nothing of this changes meanwhile.
func (p *placer) makesAs(c notify.Call) bool {
	theirs, err := makerOf("/proc/" + strconv.FormatUint(uint64(c.PID), 10))
	return err == nil && theirs == p.self
}
