package scopes

import (
	"fmt"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Counts counts a scope's connections since the daemon's start. Scopes of the same name in
// successive configurations count as one. Datagrams of sockets that are not connected count
// as one connection for each second and destination.
type Counts struct {
	Placed  uint64 // bound as was decided
	Left    uint64 // left to the kernel
	Refused uint64
	Failed  uint64 // those of Left and Refused that could not be bound as was decided
}

// placed notes what the kernel has done with a connection, and asks about the next
// connection to the same destination.
func (e *Engine) placed(r hook.Event) {
	g := e.answers.find(&r)
	s := e.scopeOf(r.Scope)
	if s == nil && g != nil {
		s = g.scope
	}
	if s == nil {
		return // its configuration is gone
	}
	s.count.add(&r)
	app := policy.App{UID: r.User, PID: r.Process, Command: r.Command}
	e.opts.Decider.Remember(record(s, g, &r, app))
	if e.scopeOf(r.Scope) == nil {
		return
	}
	e.await(s, &r)
	if r.Usual {
		s.used[usualOf(&r)] = true
	}
	now := time.Now()
	if o, ok := e.answers.own.Get(r.Key); !ok || o.stale || now.Sub(o.asked) >= fresh && e.budget.may(now) {
		e.askOwn(s, r.Key, app)
	}
}

func (c *Counts) add(r *hook.Event) {
	switch r.Kind {
	case hook.Place:
		c.Placed++
	case hook.Leave:
		c.Left++
	case hook.Refuse:
		c.Refused++
	}
	if r.Errno != 0 {
		c.Failed++
	}
}

func (e *Engine) scopeOf(id uint32) *scope {
	for _, s := range e.scopes {
		if s.id == id {
			return s
		}
	}
	return nil
}

// record makes what is remembered of a connection.
func record(s *scope, g *given, r *hook.Event, app policy.App) mam.Record {
	var rec mam.Record
	stated, from := s.intents(r.Variant, r.Remote.Port(), intent.Set{}) // usual answers do not know the port
	if g != nil {
		rec = g.advice.Record
		if !r.Usual {
			from = g.from
		}
	} else {
		rec.Intents = stated
	}
	rec.Time, rec.Kind, rec.App, rec.Remote = time.Now(), policy.Connect, app, r.Remote
	rec.Network = policy.Network{Family: policy.FamilyOf(r.Remote.Addr())}
	if r.Protocol == hook.UDP {
		rec.Network.Transport = policy.Datagram
	}
	rec.Origin = &mam.Origin{UID: r.User, PID: r.Process, Command: r.Command, Source: s.source(from)}
	why := ""
	switch {
	case r.Errno != 0 && r.Datagram:
		why = "a datagram cannot be bound to a device"
	case r.Errno != 0:
		why = fmt.Sprintf("the socket could not be bound: %v", r.Errno)
	case r.Aside:
		why = "the destination has a route of its own, and nothing was decided on it yet"
	case g == nil:
		why = "nothing was decided yet"
	}
	if why != "" {
		rec.Fallback = why
	}
	if d := &rec.Decision; d.Prefix != nil && r.Alternate && g.alternate != nil {
		d.Reason = nameOf(d.Prefix) + " has just gone down, so the alternate; " + d.Reason
		d.Prefix, d.Alternates = g.alternate, nil
	} else if d.Prefix != nil && r.Down && r.Kind == hook.Refuse {
		d.Reason = allDown + nameOf(d.Prefix)
	}
	if r.Kind != hook.Place {
		rec.Decision.Prefix, rec.Decision.Alternates = nil, nil
	}
	rec.Refused = r.Kind == hook.Refuse
	if !r.Datagram {
		rec.Cookie = r.Cookie
	}
	return rec
}
