// Socketconnect asks a web server for its front page several times with a client.Pool.
// Each time the manager chooses between a new connection and an idle one.
//
//	socketconnect localhost:80
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "Usage: socketconnect HOST:PORT")
		os.Exit(2)
	}
	ctx := intent.NewContext(context.Background(), intent.Set{}.WithCategory(intent.CategoryQuery))
	var pool client.Pool
	defer func() { _ = pool.Close() }()
	for range 3 {
		if err := head(ctx, &pool, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "socketconnect:", err)
			os.Exit(1)
		}
	}
}

func head(ctx context.Context, pool *client.Pool, address string) error {
	conn, err := pool.Get(ctx, "tcp", address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		_ = conn.Close()
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		_ = conn.Close()
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body) // a response to HEAD has no body
	_ = resp.Body.Close()
	fmt.Printf("%s over %v, used before: %v\n", resp.Status, conn.LocalAddr(), conn.Reused())
	if resp.Close {
		return conn.Close()
	}
	return conn.Release() // others may use it now
}
