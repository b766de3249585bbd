package client

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/internal/wire"
)

// errNoSay is for what is dialled plainly by nature.
var errNoSay = errors.New("the manager has no say in this")

func init() {
	raw.Exchange = func(ctx context.Context, daemon any, req, ans *wire.Message) error {
		d := daemon.(*Daemon)
		err := d.exchange(ctx, req, ans)
		if err != nil && req.Action != wire.ActionResolveRequest {
			d.wentPlain(err)
		}
		return err
	}
	raw.Report = func(daemon any, ans *wire.Message, took time.Duration, err error, localPort uint16) {
		daemon.(*Daemon).reportFirst(ans, took, err, localPort)
	}
}

// Ping asks whether the manager is there, and returns nil if it answers within
// DecisionTimeout, or the original within ResolveTimeout. An error says why it cannot be asked now, which errors.Is finds
// the cause in: fs.ErrNotExist where no manager runs. Dials go plainly then.
func (d *Daemon) Ping(ctx context.Context) error {
	// No manager knows this as a request; each that is there says so.
	var ans wire.Message
	return d.exchange(ctx, &wire.Message{Action: wire.ActionErrorUnknownRequest}, &ans)
}

// exchange is what raw.Exchange says.
func (d *Daemon) exchange(ctx context.Context, req, ans *wire.Message) error {
	origin := originOf(ctx)
	q := question{intents: req.Intents()}
	q.request = func(f wire.Features) *wire.Message {
		if f&wire.FeatureWideIntents == 0 {
			req.WideIntents = nil
		}
		if req.Origin = nil; f&wire.FeatureOrigin != 0 {
			req.Origin = origin
		}
		return req
	}
	q.resolves = func(wire.Features) bool { return req.Action == wire.ActionResolveRequest }
	_, err := d.ask(ctx, q, ans)
	return err
}

// reportFirst is what raw.Report says.
func (d *Daemon) reportFirst(ans *wire.Message, took time.Duration, err error, localPort uint16) {
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
