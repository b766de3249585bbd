package client

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/internal/wire"
)

// errNotDecided is the reason for plain dials that the manager does not decide about, such
// as those of Unix sockets or to an address with a zone.
var errNotDecided = errors.New("the manager does not decide about such dials")

// rawLink makes a Daemon a raw.Link, by which package bsd asks the manager.
type rawLink struct{ daemon *Daemon }

func (l rawLink) Exchange(ctx context.Context, req, ans *wire.Message) error {
	err := l.daemon.exchange(ctx, req, ans)
	if err != nil && req.Action != wire.ActionResolveRequest {
		l.daemon.wentPlain(err)
	}
	return err
}

func (l rawLink) Report(ans *wire.Message, took time.Duration, err error, localPort uint16) {
	l.daemon.reportFirst(ans, took, err, localPort)
}

// Ping returns nil if the manager answers in time, which is DecisionTimeout, or
// ResolveTimeout for the daemon of the Socket Intents prototype. An error says why the
// manager cannot be asked now; dials are plain then. errors.Is finds fs.ErrNotExist in
// the error if no manager runs.
func (d *Daemon) Ping(ctx context.Context) error {
	if raw.Welcome(ctx, rawLink{d}) {
		return nil
	}
	// This action is the answer to unknown requests. As a request it is unknown itself,
	// so every manager answers it, and does nothing else.
	var ans wire.Message
	return d.exchange(ctx, &wire.Message{Action: wire.ActionErrorUnknownRequest}, &ans)
}

// exchange sends req and decodes the answer into ans, as raw.Link describes. A lease
// takes the place of the manager's answer if there is one for req.
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
	if req.Action != wire.ActionConnectRequest {
		_, err := d.ask(ctx, q, ans)
		return err
	}
	key, asked := exchangeKey(req, origin), time.Now()
	if l := d.leased(key, false, q.intents, asked); l != nil {
		*ans = *l.answer
		ans.Context = l.answer.Context.Clone()
		ans.Lease, ans.Leased = nil, []wire.LeaseUse{{ID: ans.DecisionID}}
		return nil
	}
	from, err := d.ask(ctx, q, ans)
	if err == nil && ans.Lease != nil && ans.Action == wire.ActionConnectResponse {
		kept := *ans
		kept.Context = ans.Context.Clone()
		d.keepLease(key, q.intents, &kept, from, asked)
	}
	return err
}

// reportFirst reports how the connection by the first candidate of ans turned out, as
// raw.Link describes.
func (d *Daemon) reportFirst(ans *wire.Message, took time.Duration, err error, localPort uint16) {
	if ans.Features&wire.FeatureReports == 0 || ans.DecisionID == uuid.Nil {
		return
	}
	errno := errnoOf(err)
	if err != nil && errno == 0 {
		return
	}
	later := err == nil && ans.Context.Protocol != wire.ProtoMPTCP
	if later && len(ans.Leased) > 0 {
		d.connected(ans.DecisionID, took)
		return
	}
	d.report(later, &wire.Message{Action: wire.ActionReportRequest, DecisionID: ans.DecisionID, Outcome: &wire.Outcome{
		Milliseconds: milliseconds(took), Errno: errno, LocalPort: localPort,
	}})
}
