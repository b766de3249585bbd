// Package ssh opens an SSH connection over the network that the manager chooses.
package ssh

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/socket-intents/mamma/client"
)

// Dial connects to the server at address, a host and a port. Intents in ctx take
// precedence over those of d. The deadline of ctx, or else config.Timeout, also limits
// the handshake.
func Dial(ctx context.Context, d *client.Dialer, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	if config.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, config.Timeout)
		defer cancel()
	}
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(deadline)
	}
	conn, channels, requests, err := ssh.NewClientConn(nc, address, config)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}
