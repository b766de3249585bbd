// Package raw lets the packages below client put messages of the protocol to a
// client.Daemon. The API of package client names no internal type, so what they
// need cannot be methods; it fills these variables in when it is initialised,
// once, and whoever has a client.Daemon imports it.
package raw

import (
	"context"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Exchange puts one request to the manager by daemon, which is a *client.Daemon,
// and decodes the answer into ans. The context id is the connection's and need not
// be set. Requests to resolve are waited for up to ResolveTimeout, others up to
// DecisionTimeout, and all of them up to ResolveTimeout if the manager is the
// original. The origin is that of ctx. An error means to go on without the
// manager.
var Exchange func(ctx context.Context, daemon any, req, ans *wire.Message) error

// Report tells the manager, in the background, how following an answer turned
// out: candidate 0, which took so long or failed with err. Nothing is reported
// if the manager does not take reports.
var Report func(daemon any, ans *wire.Message, took time.Duration, err error, localPort uint16)
