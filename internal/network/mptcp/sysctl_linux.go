package mptcp

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// PathManager says who decides about subflows in a network namespace.
type PathManager string

// The path managers of Linux.
const (
	InKernel  PathManager = "kernel"
	Userspace PathManager = "userspace"
)

// sysctlDir is the directory of the sysctls of the thread's own network namespace.
const sysctlDir = "/proc/sys/net/mptcp/"

// Enabled tells whether sockets may use MPTCP: net.mptcp.enabled.
func Enabled() (bool, error) {
	b, err := os.ReadFile(sysctlDir + "enabled")
	if errors.Is(err, os.ErrNotExist) {
		return false, feature{"MPTCP", "5.6"}.missing(nil)
	}
	if err != nil {
		return false, fmt.Errorf("read net.mptcp.enabled: %w", err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}

// Selector reads and sets the path manager for new connections. It works on the
// namespace in which it was opened, whatever thread uses it.
type Selector struct {
	f    *os.File
	path string
	// numeric tells that the sysctl is net.mptcp.pm_type with the values 0 and 1, as in
	// kernels before 6.16.
	numeric bool
	write   error // why it cannot be set, nil if it can
}

// OpenSelector opens the sysctl net.mptcp.path_manager or, if the kernel lacks that,
// net.mptcp.pm_type.
func OpenSelector() (*Selector, error) {
	for _, name := range []string{"path_manager", "pm_type"} {
		s := &Selector{path: "net.mptcp." + name, numeric: name == "pm_type"}
		var err error
		if s.f, err = os.OpenFile(sysctlDir+name, os.O_RDWR, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.write = err
			s.f, err = os.Open(sysctlDir + name)
		}
		switch {
		case err == nil:
			return s, nil
		case !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
	}
	return nil, featureUserspace.missing(nil)
}

// Close closes the Selector and changes nothing.
func (s *Selector) Close() error { return s.f.Close() }

// Selected tells which path manager new connections get.
func (s *Selector) Selected() (PathManager, error) {
	var buf [64]byte
	n, err := s.f.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return "", fmt.Errorf("read %s: %w", s.path, err)
	}
	text := strings.TrimSpace(string(buf[:n]))
	switch {
	case s.numeric && text == "0":
		return InKernel, nil
	case s.numeric && text == "1":
		return Userspace, nil
	}
	return PathManager(text), nil
}

// Select sets the path manager for new connections. Existing connections keep theirs.
// An error says how to set it by hand.
func (s *Selector) Select(pm PathManager) error {
	text := string(pm)
	if s.numeric {
		text = map[PathManager]string{InKernel: "0", Userspace: "1"}[pm]
	}
	err := s.write
	if err == nil {
		_, err = s.f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		return fmt.Errorf("select the MPTCP path manager (by hand: sysctl -w %s=%s): %w", s.path, text, err)
	}
	return nil
}
