package placement

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// maker is what the kernel keeps of who makes a socket, for as long as there is the
// socket: its user, network namespace and control group, and the label of a security
// module. Rules, filters and what the user may do go by them.
type maker struct {
	users  string // the lines Uid and Gid of proc_pid_status(5)
	netns  string
	cgroup string
	label  string // "" without a security module that has labels
}

// makerOf reads it of a process or thread, of which /proc is dir.
func makerOf(dir string) (m maker, err error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return m, err
	}
	for line := range bytes.Lines(status) {
		if bytes.HasPrefix(line, []byte("Uid:")) || bytes.HasPrefix(line, []byte("Gid:")) {
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
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without control groups
		return m, err
	}
	m.cgroup = string(cgroup)
	label, err := os.ReadFile(filepath.Join(dir, "attr/current"))
	if err == nil {
		m.label = string(label)
	}
	return m, nil
}

// makesAs tells whether a socket that this process makes for the caller is what the
// caller would make. The caller waits meanwhile, so that it stays who it is.
func (p *placer) makesAs(c notify.Call) bool {
	theirs, err := makerOf("/proc/" + strconv.FormatUint(uint64(c.PID), 10))
	return err == nil && theirs == p.self
}
