package quicintent_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/quicintent"
)

// A QUIC connection for a call, which also moves to a better network.
func ExampleDialer() {
	dialer := &quicintent.Dialer{
		Client:       &client.Dialer{Intents: intent.Set{}.WithCategory(intent.CategoryStream).WithTimeliness(intent.TimelinessInteractive)},
		MoveToBetter: true,
		OnMove:       func(_ *quic.Conn, m quicintent.Move) { fmt.Println(m) },
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dialer.Dial(ctx, "call.example.net:443", &tls.Config{NextProtos: []string{"call"}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = conn.CloseWithError(0, "")
}

// HTTP/3 is used where the server speaks it. The intents of the request that opens a
// connection decide on the network.
func ExampleRoundTripper() {
	transport := &quicintent.RoundTripper{}
	defer func() { _ = transport.Close() }()
	web := &http.Client{Transport: transport}
	resp, err := web.Get("https://www.example.net/")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.Proto, resp.Status)
	_ = resp.Body.Close()
}
