package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/socket-intents/mamma/internal/wire"
)

// serveBare answers each request at once, and always with the same answer. It shows
// what two processes need to exchange that many bytes, without any decision. No daemon
// in Go that waits for its clients with the net package is faster.
func serveBare(socket string) error {
	req, err := request()
	if err != nil {
		return err
	}
	m := wire.Message{Action: wire.ActionConnectResponse, Context: wire.Context{
		FD: 3, Inode: 1, Calls: wire.CallSocket | wire.CallConnect, Domain: wire.AFInet, Type: wire.SockStream,
		Remote:        wire.SockAddr{AddrPort: netip.MustParseAddrPort("192.0.2.1:80")},
		BindSuggested: wire.SockAddr{AddrPort: netip.MustParseAddrPort("192.168.0.23:0")},
	}}
	ans, err := m.Append(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			b := make([]byte, len(req))
			for {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				if _, err := c.Write(ans); err != nil {
					return
				}
			}
		}()
	}
}

// bare measures a process of its own that runs serveBare, in place of a daemon.
func (o *options) bare(ctx context.Context, w, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mamload")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "bare.sock")
	cmd := exec.CommandContext(ctx, self, "--answer", socket) //nolint:gosec // this program
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-exited
	}()
	if err := o.answers(ctx, socket, exited); err != nil {
		return fmt.Errorf("the bare process: %w", err)
	}
	return o.ask(ctx, socket, 0, "0\t0\t-\t-\t-\t-\t-\t-", w)
}
