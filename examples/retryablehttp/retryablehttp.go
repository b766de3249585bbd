// Package retryablehttp makes an HTTP client that repeats failed requests. Each try
// goes over the network that the manager chooses for it.
package retryablehttp

import (
	"github.com/hashicorp/go-retryablehttp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
)

// NewClient makes a client. Call the transport's CloseIdleConnections when the client
// is no longer used.
func NewClient(d *client.Dialer) (*retryablehttp.Client, *httpintent.Transport) {
	transport := &httpintent.Transport{Dialer: d}
	c := retryablehttp.NewClient()
	c.HTTPClient.Transport = transport
	return c, transport
}
