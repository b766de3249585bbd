package bsd_test

import (
	"context"
	"fmt"

	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/intent"
)

// One connection with the classic calls.
func ExampleContext() {
	ctx := context.Background()
	var c bsd.Context
	if err := c.SetIntents(intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(1 << 20)); err != nil {
		fmt.Println(err)
		return
	}
	list, err := c.Getaddrinfo(ctx, "www.example.net", "80", &bsd.Hints{Type: bsd.SockStream})
	if err != nil {
		fmt.Println(err)
		return
	}
	fd, err := c.Socket(list[0].Family, list[0].Type, list[0].Protocol)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Connect(ctx, fd, list[0].Addr); err != nil {
		fmt.Println(err)
	}
	if err := c.Close(fd); err != nil {
		fmt.Println(err)
	}
}

// Intents are socket options, which can be read back.
func ExampleContext_Getsockopt() {
	var c bsd.Context
	if err := c.SetsockoptInt(-1, bsd.SolIntents, int(intent.OptCategory), int32(intent.CategoryStream)); err != nil {
		fmt.Println(err)
		return
	}
	value := make([]byte, 4)
	n, err := c.Getsockopt(-1, bsd.SolIntents, int(intent.OptCategory), value)
	fmt.Println(n, err)
	_, err = c.Getsockopt(-1, bsd.SolIntents, int(intent.OptFileSize), value)
	fmt.Println(err)
	// Output:
	// 4 <nil>
	// getsockopt: protocol not available
}

// The results say how to make their sockets.
func ExampleGetaddrinfo() {
	hints := &bsd.Hints{Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer)}
	list, err := bsd.Getaddrinfo(context.Background(), nil, "www.example.net", "80", hints)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range list {
		fd, err := a.Socket()
		if err != nil {
			fmt.Println(err)
			return
		}
		err = a.SimpleConnect(fd)
		if err == nil {
			fmt.Println("connected to", a.Addr, "from", a.Bind)
			// ... and close it in the end
			return
		}
		fmt.Println(err) // close fd and try the next
	}
}
