package bsd

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
)

// If a call is cancelled, the connection to an original daemon stays open until the
// daemon has answered.
func TestNoConnectionIsClosedBeforeItsAnswer(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Context) error{
		"Getaddrinfo": func(ctx context.Context, c *Context) error {
			_, err := c.Getaddrinfo(ctx, "host.test", "80", nil)
			return err
		},
		"extended Getaddrinfo": func(ctx context.Context, c *Context) error {
			_, err := Getaddrinfo(ctx, &client.Dialer{Daemon: c.Daemon}, "host.test", "80", nil)
			return err
		},
		"Connect": func(ctx context.Context, c *Context) error {
			fd, err := c.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return nil
			}
			defer func() { _ = c.Close(fd) }()
			return c.Connect(ctx, fd, netip.MustParseAddrPort("127.0.0.1:1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := rawmanager.StartSlow(t)
			c := &Context{Daemon: &client.Daemon{Path: s.Path, DecisionTimeout: 5 * time.Second}}
			s.GiveUp(t, func(ctx context.Context) {
				if call(ctx, c) == nil {
					t.Error("succeeded in spite of its context")
				}
			})
			_ = c.Daemon.Close()
		})
	}
}
