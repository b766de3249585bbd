// Package minio makes a client for S3 and compatible servers. Each request goes over
// the network that the manager chooses for it.
package minio

import (
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
)

// New makes a client for the server at endpoint, a host and a port. Call the
// transport's CloseIdleConnections when the client is no longer used.
func New(d *client.Dialer, endpoint string, secure bool, keys *credentials.Credentials) (*minio.Client, *httpintent.Transport, error) {
	base, err := minio.DefaultTransport(secure) // with the time-outs that minio-go wants
	if err != nil {
		return nil, nil, err
	}
	transport := &httpintent.Transport{Dialer: d, Base: base}
	c, err := minio.New(endpoint, &minio.Options{Creds: keys, Secure: secure, Transport: transport, Region: "us-east-1"})
	return c, transport, err
}
