package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
)

// holder is this program once more, in the host's namespace. It holds the connections for
// which this process may not have descriptors.
type holder struct {
	cmd *exec.Cmd
	in  io.Closer // when it is closed, the process ends
}

// held is the line that a holder writes once it has its connections.
const held = "held\n"

// delegate has a process of its own open n connections and hold them.
func (b *background) delegate(n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	l, err := b.bed.Service.Listen("tcp4", "192.0.2.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	file, err := l.(*net.TCPListener).File() // it stays in the namespace of the server
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(self, "--hold", strconv.Itoa(n)) //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.bed.Client.Start(cmd); err != nil {
		return err
	}
	b.holders = append(b.holders, &holder{cmd, in})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != held {
		return fmt.Errorf("the process that should hold %d connections says %q: %w", n, line, err)
	}
	return nil
}

func (h *holder) end() {
	_ = h.in.Close()
	_ = h.cmd.Wait()
}

// hold is the whole of such a process: it opens n connections to the listener that is its
// descriptor 3, says so, and holds them until its input ends.
func hold(ctx context.Context, n int, in io.Reader, out io.Writer) error {
	if _, err := allowFiles(2*n + spareFiles); err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	conns, err := pairs(ctx, l, n)
	if err != nil {
		return fmt.Errorf("connection %d of %d: %w", len(conns)/2+1, n, err)
	}
	defer reset(conns)
	if _, err := io.WriteString(out, held); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
