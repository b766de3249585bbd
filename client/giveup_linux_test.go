package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
)

// If a dial is cancelled, the connection to an original daemon stays open until the
// daemon has answered. Every program of the host depends on that.
func TestNoConnectionIsClosedBeforeItsAnswer(t *testing.T) {
	const address = "127.0.0.1:1"
	for name, connect := range map[string]func(context.Context, *client.Dialer) error{
		"Dialer": func(ctx context.Context, d *client.Dialer) error {
			_, err := d.DialContext(ctx, "tcp", address)
			return err
		},
		"Dialer by name": func(ctx context.Context, d *client.Dialer) error {
			_, err := d.DialContext(ctx, "tcp", "host.test:1")
			return err
		},
		"Decide": func(ctx context.Context, d *client.Dialer) error {
			_, err := d.Decide(ctx, "tcp", address)
			return err
		},
		"Pool": func(ctx context.Context, d *client.Dialer) error {
			_, err := (&client.Pool{Dialer: d}).Get(ctx, "tcp", address)
			return err
		},
		"Pool without reuse": func(ctx context.Context, d *client.Dialer) error {
			_, err := (&client.Pool{Dialer: d}).GetNew(ctx, "tcp", address)
			return err
		},
		"Pending": func(ctx context.Context, d *client.Dialer) error {
			_, err := (&client.Pool{Dialer: d}).Start(ctx, "tcp", address).Result()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := rawmanager.StartSlow(t)
			d := &client.Dialer{Daemon: &client.Daemon{Path: s.Path, DecisionTimeout: 5 * time.Second}}
			s.GiveUp(t, func(ctx context.Context) {
				if connect(ctx, d) == nil {
					t.Error("connected in spite of its context")
				}
			})
			_ = d.Daemon.Close()
		})
	}
}
