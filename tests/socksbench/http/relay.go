package main

import (
	"context"
	"io"
	"net"
)

// leastName is the name of leastRelay in tables.
const leastName = "least relay"

// leastRelay carries the bytes of each connection to one address and back, and does
// nothing else: it reads no header, decides nothing and has no limits. The delay that it
// adds is what it costs on this machine to wake a process two more times. No proxy in Go
// can be faster.
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

// carry copies with read and write. io.Copy would use splice, which takes two more
// system calls for a small answer.
func carry(to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<16))
}
