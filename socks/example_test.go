package socks_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/proxy"

	"github.com/socket-intents/mamma/socks"
)

// A server connects with the dial function of its Config, which sees who asks for what.
// This dial function answers by itself; there is no network behind it.
func ExampleServer() {
	s := socks.New(socks.Config{Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			_, _ = fmt.Fprintf(there, "%s, for %s", address, socks.RequestFrom(ctx).User)
			_ = there.Close()
		}()
		return here, nil
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()

	dialer, err := proxy.SOCKS5("tcp", l.Addr().String(), &proxy.Auth{User: "category=query", Password: "x"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := dialer.Dial("tcp", "www.example.net:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(c)
	fmt.Println(string(text), err)
	_ = c.Close()
	_ = s.Close()
	fmt.Println(<-served)
	// Output:
	// www.example.net:80, for category=query <nil>
	// socks: server closed
}
