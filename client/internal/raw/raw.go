// Package raw lets the packages below client send protocol messages through a
// client.Daemon. The API of package client must not name internal types, so a method of
// Daemon cannot offer this. Instead, Of gets a Link by a detour: it calls Ping with a
// context that carries a key of this package, and Ping puts the Link into that context.
// net/http/httptrace reaches package net in the same way.
package raw

import (
	"context"
	"errors"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Link sends messages to the manager through one client.Daemon. It is safe for
// concurrent use.
type Link interface {
	// Exchange sends one request and decodes the answer into ans. The caller need not
	// set the context id, which is that of the connection. The origin is taken from
	// ctx. Exchange waits up to DecisionTimeout. It waits up to ResolveTimeout if req
	// asks for a name to be resolved, or if the daemon is an original one. After an
	// error the caller goes on without the manager.
	Exchange(ctx context.Context, req, ans *wire.Message) error

	// Report tells the manager, in the background, how the connection by candidate 0 of
	// an answer turned out. The attempt took that long and ended with err, nil for a
	// connection. Nothing is sent if the manager takes no reports.
	Report(ans *wire.Message, took time.Duration, err error, localPort uint16)
}

// Pinger is a client.Daemon. This package cannot name that type, because client imports
// this package.
type Pinger interface {
	Ping(context.Context) error
}

type visitKey struct{}

// visit travels in the context from Of to Welcome, which fills it in.
type visit struct{ link Link }

// Of returns the Link of daemon. It sends nothing to the manager.
func Of(daemon Pinger) Link {
	v := &visit{link: closed{}}
	// This call of Ping pings nobody, so its error means nothing. The result is in v.
	_ = daemon.Ping(context.WithValue(context.Background(), visitKey{}, v))
	return v.link
}

// Welcome gives l to the call of Of that ctx belongs to, and tells whether there is
// one. If so, Ping must do nothing more.
func Welcome(ctx context.Context, l Link) bool {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if ok {
		v.link = l
	}
	return ok
}

// closed is the Link for a Pinger that is not a client.Daemon.
type closed struct{}

var errNoLink = errors.New("no link to the manager")

func (closed) Exchange(context.Context, *wire.Message, *wire.Message) error { return errNoLink }

func (closed) Report(*wire.Message, time.Duration, error, uint16) {}
