package client

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/internal/wire"
)

// errNoSay is for what is dialled plainly by nature.
var errNoSay = errors.New("the manager has no say in this")

// Exchange puts one request to the manager and decodes the answer into ans. It
// is for the packages of this module that speak the protocol themselves, as bsd
// does; the context id is the connection's and need not be set. Requests to
// resolve are waited for up to ResolveTimeout, others up to DecisionTimeout. The
// origin is that of ctx. An error means to go on without the manager.
func (d *Daemon) Exchange(ctx context.Context, req, ans *wire.Message) error {
	origin := originOf(ctx)
	_, err := d.ask(ctx, func(f wire.Features) (*wire.Message, time.Duration) {
		if f&wire.FeatureWideIntents == 0 {
			req.WideIntents = nil
		}
		if req.Origin = nil; f&wire.FeatureOrigin != 0 {
			req.Origin = origin
		}
		if req.Action == wire.ActionResolveRequest {
			return req, d.resolveTimeout()
		}
		return req, d.decisionTimeout()
	}, ans)
	return err
}

// Report tells the manager, in the background, how following an answer turned
// out: candidate 0, which took so long or failed with err. Nothing is reported
// if the manager does not take reports.
func (d *Daemon) Report(ans *wire.Message, took time.Duration, err error, localPort uint16) {
	if ans.Features&wire.FeatureReports == 0 || ans.DecisionID == uuid.Nil {
		return
	}
	errno := errnoOf(err)
	if err != nil && errno == 0 {
		return
	}
	later := err == nil && ans.Context.Protocol != wire.ProtoMPTCP
	d.report(later, &wire.Message{Action: wire.ActionReportRequest, DecisionID: ans.DecisionID, Outcome: &wire.Outcome{
		Milliseconds: uint32(took.Milliseconds()), Errno: errno, LocalPort: localPort,
	}})
}
