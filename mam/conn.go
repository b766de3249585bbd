package mam

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// conn is one client. Its requests are answered in order.
type conn struct {
	m      *Manager
	ctx    context.Context // the server's: a connection has no caller that could pass a context
	nc     *net.UnixConn
	id     uuid.UUID
	app    policy.App
	reader *wire.Reader
	end    func() // ends the connection; called once, by the goroutine that owns the connection at its end

	msg      wire.Message  // the current request as received, later its answer
	features wire.Features // announced by the client with the current request
	out      []byte        // the answer, encoded, after those that are held back
	held     int           // length of the answers at the start of out that are held back
	rest     []byte        // the part of out that is not written yet
	raw      syscall.RawConn
	tryWrite func(fd uintptr) bool // c.writeSome as a value, made once to save allocations
	req      *request
	handed   bool   // the client has received the page of generations
	decided  bool   // the latest answer is a decision
	takeover func() // c.resume as a value, made once to save allocations
	watch    *watch // a request for the networks that is not answered yet; nil: none
}

// serve answers requests until the connection ends or another goroutine has taken the
// connection over.
func (c *conn) serve() {
	for {
		err := c.reader.Read(&c.msg)
		now := time.Now()
		c.unwatch(err == nil)
		c.trace("request", &c.msg, err)
		if (err != nil || c.msg.Action != wire.ActionReportRequest) && !c.flush() {
			return
		}
		var bad *wire.Error
		switch {
		case err == nil:
		case errors.As(err, &bad) && !bad.Fatal:
			// The request is malformed, so none of its fields is trusted or echoed.
			c.msg = wire.Message{Action: wire.ActionErrorUnknownRequest, Context: wire.Context{ID: c.id}}
			if !c.send() {
				return
			}
			continue
		default:
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.unread(err)
				c.m.log.Debug("client dropped", "pid", c.app.PID, "err", err)
			}
			c.end()
			return
		}
		if !c.handle(now) {
			return
		}
	}
}

// trace logs a message if the Trace option is set. Of a request that does not decode,
// the fields decoded so far are logged. The end of a connection is not logged.
func (c *conn) trace(direction string, m *wire.Message, err error) {
	var bad *wire.Error
	if !c.m.opts.Trace || err != nil && !errors.As(err, &bad) {
		return
	}
	attrs := []slog.Attr{slog.String("connection", c.id.String()), slog.Uint64("uid", uint64(c.app.UID)), slog.Int("pid", int(c.app.PID)), slog.Any("message", m)}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	c.m.log.LogAttrs(c.ctx, slog.LevelDebug, direction, attrs...)
}

// resume continues the connection on a new goroutine, with the default decision, when a
// stuck policy holds the old goroutine. The stuck call may still write to the request,
// so resume works on a copy.
func (c *conn) resume() {
	c.req = c.req.withoutPolicy()
	if c.finish() {
		c.serve()
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// handle answers the request in c.msg. It returns false if the caller must stop serving
// this connection.
func (c *conn) handle(now time.Time) (goOn bool) {
	msg := &c.msg
	c.features = msg.Features
	msg.Paths, msg.Costs, msg.Race, msg.Only = msg.Paths[:0], msg.Costs[:0], false, 0 // only the daemon fills these
	c.decided = false
	c.plainDials()
	c.leased()
	if msg.Action == wire.ActionReportRequest && c.features&wire.FeatureReports != 0 {
		return c.report()
	}
	if msg.Action == wire.ActionNetworksRequest && msg.HasAction && c.features&wire.FeatureNetworks != 0 {
		return c.networks(now)
	}
	if len(msg.Context.Hostname) > maxName || len(msg.Context.Service) > maxName {
		msg.Action = wire.ActionErrorResolve // no name is that long
		return c.send()
	}
	kind, known := kindOf(msg.Action)
	if !known || !msg.HasAction {
		msg.Action = wire.ActionErrorUnknownRequest
		return c.send()
	}
	began := c.m.leases.now()
	c.req.fill(msg, kind, c.app, c.m.View(), now)
	c.req.seen = began
	if c.req.view.Runner == nil && c.req.selection == nil {
		msg.Action = answerTo(kind)
		return c.send()
	}
	if !c.m.choose(c.req, c.takeover) {
		return false
	}
	return c.finish()
}

// answerTo returns the action that answers a request of kind k without an error
// (doc/original/wire-protocol.md section 6).
func answerTo(k policy.Kind) wire.Action {
	switch k {
	case policy.Resolve:
		return wire.ActionResolveResponse
	case policy.SocketConnect:
		return wire.ActionSocketConnectResponse
	case policy.SocketChoose:
		return wire.ActionSocketChooseNew
	default:
		return wire.ActionConnectResponse
	}
}

// finish carries out the decision in c.req and answers.
func (c *conn) finish() (goOn bool) {
	rq, msg := c.req, &c.msg
	msg.Action = answerTo(rq.asked.Kind)
	switch {
	case rq.refused:
		return c.refuse()
	case rq.asked.Kind == policy.Resolve:
		return c.finishResolve()
	case rq.asked.Kind == policy.Connect:
	case rq.decision.Socket != nil:
		msg.Action = wire.ActionSocketChooseExisting
	case msg.NoResolve && c.features&wire.FeatureNoResolve != 0:
		msg.Context.Protocol = protocol(msg.Context.Type, rq.decision.Multipath)
	case rq.decision.Resolution != policy.ResolveNever && len(rq.result.Addrs) == 0:
		mine, err := c.resolve()
		if !mine {
			return false
		}
		if rq.refused {
			return c.refuse()
		}
		if err != nil {
			msg.Action = wire.ActionErrorResolve
			c.m.log.Debug("name not resolved", "req", rq.asked.Host, "err", err)
		}
	}
	id := c.m.remember(rq)
	c.decided = true
	if msg.Action == wire.ActionSocketChooseExisting {
		rq.putSocket(msg, c.features)
		msg.Alternates = msg.Alternates[:0]
		c.grant()
		return c.answer(id)
	}
	rq.putDecision(msg, c.features)
	c.grant()
	if len(rq.result.Addrs) > 0 {
		rq.putResult(msg)
	}
	return c.answer(id)
}

// refuse tells the client not to connect. Clients without the extension for refusals
// are told that the name has no addresses, which ends their attempt too. A classic
// connect of such a client has no name to refuse, so nothing stops it.
func (c *conn) refuse() (goOn bool) {
	rq, msg := c.req, &c.msg
	id := msg.DecisionID
	if !rq.resolves() {
		id = c.m.remember(rq)
		c.decided = true
	}
	rq.decision.Prefix, rq.decision.Alternates = nil, nil
	rq.putDecision(msg, c.features)
	msg.Context.Result = msg.Context.Result[:0]
	if c.features&wire.FeatureOnly == 0 && rq.asked.Kind != policy.Connect {
		msg.Action = wire.ActionErrorResolve
		msg.Context.Remote = wire.SockAddr{}
	}
	return c.answer(id)
}

// finishResolve answers a request that only resolves a name. A client that asked for a
// decision before gives the source address it was told, and this address names the
// prefix. If the resolved address cannot be reached from there, the answer names no
// source address.
func (c *conn) finishResolve() (goOn bool) {
	rq, msg := c.req, &c.msg
	if rq.decision.Resolution == policy.ResolveNever {
		return c.answer(msg.DecisionID)
	}
	p := rq.decision.Prefix
	if c.features != 0 && msg.Context.BindSuggested.IsValid() {
		p = rq.view.prefixOf(addr(msg.Context.BindSuggested))
		rq.decision.Resolution = policy.ResolveOnPrefix
	} else if p == nil {
		p = rq.asked.BoundPrefix
	}
	err := rq.checkName(&msg.Context, &c.m.services)
	if err == nil {
		err = c.m.resolve(c.ctx, rq, p, rq.asked.Network.Family)
	}
	if err != nil {
		c.m.log.Debug("name not resolved", "req", rq.asked.Host, "err", err)
		msg.Action = wire.ActionErrorResolve
		msg.Context.Result = msg.Context.Result[:0]
		return c.answer(msg.DecisionID)
	}
	rq.putResult(msg)
	if p != nil && msg.Context.BindSuggested.IsValid() {
		rq.narrow(p.Family(), rq.result.Addrs[0])
		switch {
		case !rq.offered(p):
			msg.Context.BindSuggested = wire.SockAddr{}
		case c.features&wire.FeaturePaths != 0:
			msg.Paths = rq.paths(msg.Paths, p, nil) // only now the destination is known
		}
	}
	return c.answer(msg.DecisionID)
}

// report stores what the client says about the result of an earlier decision.
func (c *conn) report() (goOn bool) {
	msg := &c.msg
	if o := msg.Outcome; o != nil {
		rec, ok := c.m.ring.report(msg.DecisionID, c.app.UID, Outcome{
			Candidate: o.Candidate, Took: milliseconds(o.Milliseconds), Errno: o.Errno, LocalPort: o.LocalPort,
			PlainTCP: o.Flags&wire.OutcomePlainTCP != 0,
		})
		if ok && c.m.opts.OnReport != nil {
			c.m.opts.OnReport(rec)
		}
	}
	if t := msg.Transfer; t != nil {
		if rec, ok := c.m.ring.transferred(msg.DecisionID, c.app.UID); ok {
			c.m.ended(&rec, t, time.Now())
		}
	}
	if f := msg.Flow; f != nil && c.m.opts.OnFlow != nil && userid.Known(c.app.UID) {
		if report := c.m.View().flowReport(f); report != nil {
			report.App = c.app
			c.m.opts.OnFlow(report)
		}
	}
	msg.Action = wire.ActionReportResponse
	return c.answer(msg.DecisionID)
}

// answer sends c.msg. The ID of the decision goes only to clients that announced an
// extension which uses it.
func (c *conn) answer(id uuid.UUID) (goOn bool) {
	if c.features&(wire.FeatureReports|wire.FeatureReason) != 0 {
		c.msg.DecisionID = id
	} else {
		c.msg.DecisionID = uuid.Nil
	}
	return c.send()
}

// write writes an answer. Nearly every answer fits the socket's buffer, so a write
// without a deadline is tried first. A deadline would set a timer for each answer, and
// each timer wakes a thread for nothing.
func (c *conn) write(b []byte) error {
	c.rest = b
	if err := c.raw.Write(c.tryWrite); err != nil {
		return err
	}
	if len(c.rest) == 0 {
		return nil
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.nc.Write(c.rest); err != nil {
		return err
	}
	return c.nc.SetWriteDeadline(time.Time{})
}

// writeWith writes an answer with a control message, which carries the page that tells
// when leases end. The kernel limits how many descriptors may be in flight to all
// clients together (ETOOMANYREFS in unix(7)), and a hostile client can use them up by
// never reading. The answer then goes out without the page, and this connection gets no
// leases.
func (c *conn) writeWith(b, control []byte) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, _, err := c.nc.WriteMsgUnix(b, control, nil)
	if errors.Is(err, syscall.ETOOMANYREFS) {
		n, err = 0, nil
	}
	if err == nil && n < len(b) {
		_, err = c.nc.Write(b[n:])
	}
	if err != nil {
		return err
	}
	return c.nc.SetWriteDeadline(time.Time{})
}

// writeSome writes as much of c.rest as the socket takes at once. An error is not
// returned: it shows again when the remainder is written.
func (c *conn) writeSome(fd uintptr) (done bool) {
	if n, err := syscall.Write(int(fd), c.rest); err == nil {
		c.rest = c.rest[n:]
	}
	return true
}

// maxName bounds the length of host names (RFC 1035 section 2.3.4, plus a final dot)
// and of service names. There is a bound because decisions and policies keep these
// names.
const maxName = 255

// keptAnswer bounds the memory of answers that a client keeps between its requests.
// Ordinary answers are a few hundred bytes long.
const keptAnswer = 4 << 10

// ourFeatures are the protocol extensions that this daemon announces.
const ourFeatures = wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports | wire.FeatureWideIntents | wire.FeatureNoResolve |
	wire.FeaturePaths | wire.FeatureOrigin | wire.FeaturePlainDials | wire.FeatureOnly | wire.FeatureSelection | wire.FeatureCosts | wire.FeatureLeases | wire.FeatureNetworks | wire.FeatureFlows | wire.FeatureTransfers

// features are the extensions to be announced.
func (m *Manager) features() wire.Features {
	if m.leases.page == nil {
		return ourFeatures &^ wire.FeatureLeases
	}
	return ourFeatures
}

// holds tells whether the answer at the end of c.out is held back, to be written together
// with the next one. Clients send reports several at a time. To write each answer by itself
// would wake the client for each, which costs both more than the report.
func (c *conn) holds() bool {
	return c.msg.Action == wire.ActionReportResponse && c.reader.Ready() && len(c.out) < keptAnswer
}

// flush writes the answers that are held back. It returns false if the connection has
// ended.
func (c *conn) flush() (goOn bool) {
	if c.held == 0 {
		return true
	}
	err := c.write(c.out[:c.held])
	if c.rest, c.held = nil, 0; err != nil {
		c.unread(err)
		c.end()
		return false
	}
	return true
}

// send encodes c.msg and writes it in one piece, unless it is held back. It returns false if the connection has
// ended.
func (c *conn) send() (goOn bool) {
	msg := &c.msg
	msg.Context.ID = c.id
	msg.NoResolve, msg.Outcome, msg.Transfer, msg.Flow, msg.Origin, msg.WideIntents = false, nil, nil, nil, nil, msg.WideIntents[:0]
	msg.Selection = msg.Selection[:0]
	msg.Watch, msg.Networks = nil, msg.Networks[:0]
	msg.Features = 0
	if c.features&wire.FeatureOnly == 0 {
		msg.Only = 0
	}
	if c.features != 0 {
		msg.Features = c.m.features()
	} else {
		msg.Alternates, msg.Reason, msg.DecisionID, msg.Paths = msg.Alternates[:0], "", uuid.Nil, msg.Paths[:0]
		msg.Costs = msg.Costs[:0]
		msg.Race = false
	}
	if msg.Action != wire.ActionSocketChooseExisting {
		msg.Sockets = msg.Sockets[:0]
	}
	var err error
	c.out, err = msg.Append(c.out[:c.held])
	if errors.Is(err, wire.ErrTooLong) && len(msg.Context.Result) > 1 {
		// The answer is too long. The addresses after the first one are dropped first,
		// because clients need them least.
		msg.Context.Result = msg.Context.Result[:1]
		c.out, err = msg.Append(c.out[:c.held])
	}
	if errors.Is(err, wire.ErrTooLong) && msg.Lease != nil {
		msg.Lease = nil
		c.out, err = msg.Append(c.out[:c.held])
	}
	if err != nil {
		c.m.log.Debug("answer cannot be encoded", "pid", c.app.PID, "err", err)
		msg = &wire.Message{Action: wire.ActionErrorUnknownRequest, Context: wire.Context{ID: c.id}}
		c.out, err = msg.Append(c.out[:c.held])
	}
	if err == nil {
		c.trace("answer", msg, nil)
		if c.holds() {
			c.held = len(c.out)
			return true
		}
		c.held = 0
		if page := c.m.leases.page; page != nil && !c.handed && c.features&wire.FeatureLeases != 0 {
			c.handed = true
			err = c.writeWith(c.out, page.Rights())
		} else {
			err = c.write(c.out)
		}
	}
	if c.rest = nil; cap(c.out) > keptAnswer {
		c.out = nil
	}
	if err != nil {
		c.unread(err)
		c.end()
		return false
	}
	return true
}
