// Tls opens a TLS connection over the network that the manager chooses, and prints what
// was negotiated and which network that is. Any code that takes a net.Conn or a dial
// function works with client.Dialer: here crypto/tls, and likewise gRPC
// (WithContextDialer), net/smtp or database drivers.
//
//	tls localhost:443
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "Usage: tls HOST:PORT")
		os.Exit(2)
	}
	if err := shake(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "tls:", err)
		os.Exit(1)
	}
}

// handshakeTimeout has the value of http.DefaultTransport.
const handshakeTimeout = 10 * time.Second

func shake(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	dialer := &client.Dialer{Intents: intent.Set{}.WithTimeliness(intent.TimelinessInteractive)}
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	// The handshake has no time-out of its own.
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Client(nc, &tls.Config{ServerName: host})
	defer func() { _ = conn.Close() }()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	fmt.Println(tls.VersionName(conn.ConnectionState().Version), "with", conn.RemoteAddr())
	if info, ok := client.InfoOf(conn); ok { // InfoOf looks through the TLS connection
		fmt.Println("from", info.Local, info.Reason)
	}
	return nil
}
