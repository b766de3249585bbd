// Package redis makes a Redis client over the network that the manager chooses.
package redis

import (
	"github.com/redis/go-redis/v9"

	"github.com/socket-intents/mamma/client"
)

// NewClient makes a client. d dials its connections, with d's intents.
func NewClient(d *client.Dialer, address string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:   address,
		Dialer: d.DialContext,
	})
}
