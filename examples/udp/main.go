// Udp sends a datagram over the network that the manager chooses for small queries, and
// prints the answer. client.Dialer connects datagram sockets like streams. There is no
// racing, because connecting a datagram socket says nothing about the network.
//
//	udp localhost:7 hello
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

const patience = 2 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "Usage: udp HOST:PORT TEXT")
		os.Exit(2)
	}
	if err := ask(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "udp:", err)
		os.Exit(1)
	}
}

func ask(ctx context.Context, address, text string) error {
	ctx = intent.NewContext(ctx, intent.Set{}.WithCategory(intent.CategoryQuery).WithFileSize(int64(len(text))))
	var dialer client.Dialer
	conn, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	fmt.Printf("%s answered %q to %v\n", address, answer[:n], conn.LocalAddr())
	return nil
}
