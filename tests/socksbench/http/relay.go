package main

import (
	"context"
	"io"
	"net"
)

// leastName is what tables call leastRelay.
const leastName = "least relay"

// leastRelay carries the bytes of each connection to one address and back, and does
// nothing else: it reads no header, decides nothing and has no limits. What comes
// later through it than directly is what two more wakes of a process cost on this
// machine, so it is the floor of every proxy in Go.
func leastRelay(ctx context.Context, from, to string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", from)
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
			up, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			go func() {
				_, _ = carry(up, c)
				_ = up.(*net.TCPConn).CloseWrite()
			}()
			_, _ = carry(c, up)
			_ = up.Close()
		}()
	}
}

// carry copies by read and write. Splice, which io.Copy would use, takes two more
// system calls for a small answer.
func carry(to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<16))
}
