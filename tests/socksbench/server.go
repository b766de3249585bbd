package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// The servers that are part of this program.
const (
	nameLeast = "least in Go"
	nameLoop  = "least, own loop"
)

// server is a program that is measured.
type server struct {
	name       string
	command    func(port string) ([]string, error) // nil: no proxy
	setUpsOnly bool                                // the server is not fit for large transfers

	addr string
	cmd  *exec.Cmd
	dir  string
}

// servers lists what can be measured, ours first, and what is not installed.
func servers(o options) (list []*server, missing []string, err error) {
	if _, err := os.Stat(o.muacsocksd); err != nil {
		return nil, nil, err
	}
	list = append(list, &server{name: "muacsocksd", command: func(port string) ([]string, error) {
		return []string{o.muacsocksd, "--listen", "127.0.0.1:" + port, "--log-level", "error"}, nil
	}})
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	for _, own := range []server{{name: nameLeast}, {name: nameLoop, setUpsOnly: true}} {
		own.command = func(port string) ([]string, error) {
			return []string{self, "--serve", own.name, "--listen", "127.0.0.1:" + port}, nil
		}
		list = append(list, &own)
	}
	for _, a := range o.also {
		name, command, ok := strings.Cut(a, "=")
		if !ok {
			return nil, nil, fmt.Errorf("--also must be name=command, not %q", a)
		}
		list = append(list, &server{name: name, command: func(port string) ([]string, error) {
			return strings.Fields(strings.ReplaceAll(command, "{port}", port)), nil
		}})
	}
	if path, err := exec.LookPath("microsocks"); err == nil {
		list = append(list, &server{name: "microsocks", command: func(port string) ([]string, error) {
			return []string{path, "-i", "127.0.0.1", "-p", port}, nil
		}})
	} else {
		missing = append(missing, "microsocks")
	}
	path, err := exec.LookPath("danted")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/danted")
	}
	if err == nil {
		s := &server{name: "dante"}
		s.command = func(port string) ([]string, error) {
			config := filepath.Join(s.dir, "danted.conf")
			return []string{path, "-f", config, "-p", filepath.Join(s.dir, "pid")}, os.WriteFile(config, []byte(danteConfig(port)), 0o600)
		}
		list = append(list, s)
	} else {
		missing = append(missing, "dante-server")
	}
	return append(list, &server{name: "none"}), missing, nil
}

func danteConfig(port string) string {
	return `internal: 127.0.0.1 port = ` + port + `
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`
}

// start starts the program in a process group of its own, and waits until it accepts
// connections.
func (s *server) start(ctx context.Context) error {
	if s.command == nil {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	_ = l.Close()
	if s.dir, err = os.MkdirTemp("", "socksbench"); err != nil {
		return err
	}
	args, err := s.command(port)
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for range 500 {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("does not accept connections")
}

func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // on this signal dante ends its children
	kill := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	kill.Stop()
	_ = os.RemoveAll(s.dir)
}

// cpu returns the processor time that the program and its children have used, in
// seconds (proc_pid_stat(5)).
func (s *server) cpu() (float64, error) {
	if s.cmd == nil {
		return 0, nil
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return 0, err
	}
	seconds := 0.0
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil || stat.PGRP != s.cmd.Process.Pid {
			continue // another's process, or one that has ended
		}
		ended := procfs.ProcStat{UTime: uint(stat.CUTime), STime: uint(stat.CSTime)} //nolint:gosec // neither is negative
		seconds += stat.CPUTime() + ended.CPUTime()
	}
	return seconds, nil
}
