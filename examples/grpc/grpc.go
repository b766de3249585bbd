// Package grpc makes a gRPC channel over the network that the manager chooses.
package grpc

import (
	"context"
	"net"

	"google.golang.org/grpc"

	"github.com/socket-intents/mamma/client"
)

// NewClient makes a channel to address. d dials its connections, with d's intents.
func NewClient(d *client.Dialer, address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	// With "passthrough" the dialer gets the name. The default scheme would resolve the
	// name before.
	return grpc.NewClient("passthrough:///"+address, append(options, grpc.WithContextDialer(dial))...)
}
