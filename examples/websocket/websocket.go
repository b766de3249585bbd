// Package websocket opens a WebSocket over the network that the manager chooses.
package websocket

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/socket-intents/mamma/client"
)

// Dial opens a WebSocket. Intents in ctx take precedence over those of d.
func Dial(ctx context.Context, d *client.Dialer, url string) (*websocket.Conn, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() // keeps its proxy and time-outs
	transport.DialContext = d.DialContext
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	return conn, err
}
