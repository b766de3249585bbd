//go:build linux

// Classic sends 1 MiB to a server with the classic socket calls: getaddrinfo, socket,
// connect, write, close. All of them use one bsd.Context, which states that the
// connection is a bulk transfer of that size. The example is for programs that need the
// descriptor; others should use client.Dialer.
//
//	classic localhost 9
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/intent"
)

const size = 1 << 20

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "Usage: classic HOST PORT")
		os.Exit(2)
	}
	if err := send(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "classic:", err)
		os.Exit(1)
	}
}

func send(ctx context.Context, host, port string) (err error) {
	var c bsd.Context
	// Intents are socket options; no socket is needed yet.
	if err := c.SetsockoptInt(-1, bsd.SolIntents, int(intent.OptCategory), int32(intent.CategoryBulkTransfer)); err != nil {
		return err
	}
	if err := c.SetsockoptInt(-1, bsd.SolIntents, int(intent.OptFileSize), size); err != nil {
		return err
	}
	list, err := c.Getaddrinfo(ctx, host, port, &bsd.Hints{Type: bsd.SockStream})
	if err != nil {
		return err
	}
	fd, err := c.Socket(list[0].Family, list[0].Type, list[0].Protocol)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(fd)) }()
	if err := c.Connect(ctx, fd, list[0].Addr); err != nil {
		return err
	}
	for data := make([]byte, size); len(data) > 0; {
		n, err := unix.Write(fd, data)
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		data = data[n:]
	}
	return nil
}
