// Package raw lets the packages below client put messages of the protocol to a
// client.Daemon. The API of package client names no internal type, so what they
// need cannot be methods. Of gets it from the Daemon itself: Ping, the one method
// whose context nobody else has a use for, hands it to who asks with the key of this
// package. net/http/httptrace reaches package net in the same way.
package raw

import (
	"context"
	"errors"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Link puts messages to the manager by one client.Daemon. It is safe for concurrent
// use.
type Link interface {
	// Exchange puts one request and decodes the answer into ans. The context id is
	// the connection's and need not be set. Requests to resolve are waited for up to
	// ResolveTimeout, others up to DecisionTimeout, and all of them up to
	// ResolveTimeout if the manager is the original. The origin is that of ctx. An
	// error means to go on without the manager.
	Exchange(ctx context.Context, req, ans *wire.Message) error

	// Report tells the manager, in the background, how following an answer turned
	// out: candidate 0, which took so long or failed with err. Nothing is reported
	// if the manager does not take reports.
	Report(ans *wire.Message, took time.Duration, err error, localPort uint16)
}

// Pinger is a client.Daemon, which this package cannot name: client imports it.
type Pinger interface {
	Ping(context.Context) error
}

type visitKey struct{}

// visit is what Of leaves in the context for Welcome to fill in.
type visit struct{ link Link }

// Of returns the Link of daemon, without a word to the manager.
func Of(daemon Pinger) Link {
	v := &visit{link: closed{}}
	// The error is that of a Ping which is none; what it says is in v.
	_ = daemon.Ping(context.WithValue(context.Background(), visitKey{}, v))
	return v.link
}

// Welcome gives l to the Of that ctx is from, and tells whether there is one. Ping
// has nothing to do then.
func Welcome(ctx context.Context, l Link) bool {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if ok {
		v.link = l
	}
	return ok
}

// closed is the Link of what is no client.Daemon.
type closed struct{}

var errNoLink = errors.New("no link to the manager")

func (closed) Exchange(context.Context, *wire.Message, *wire.Message) error { return errNoLink }

func (closed) Report(*wire.Message, time.Duration, error, uint16) {}
