// Package retryablehttp makes an HTTP client that tries again, over the network that
// the manager chooses for each try.
package retryablehttp

import (
	"github.com/hashicorp/go-retryablehttp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
)

// NewClient makes a client. The transport's CloseIdleConnections is to be called when
// it is not used any more.
func NewClient(d *client.Dialer) (*retryablehttp.Client, *httpintent.Transport) {
	transport := &httpintent.Transport{Dialer: d}
	c := retryablehttp.NewClient()
	c.HTTPClient.Transport = transport
	return c, transport
}
