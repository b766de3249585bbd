// Package rrpipelining is the policy that walks through the prefixes for new
// connections, and through the idle sockets if several are offered
// (doc/original/policies.md section 6).
package rrpipelining

import (
	"github.com/socket-intents/mamma/policies/internal/recent"
	"github.com/socket-intents/mamma/policies/internal/rotation"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonTurn    = "round robin"
	reasonSocket  = "round robin over idle sockets"
	reasonConnect = "plain connect: no preference"

	// maxDestinations bounds the remembered descriptors. maxHost bounds the part of a
	// host name that tells destinations apart (RFC 1035, section 2.3.4). Without bounds
	// a client could fill the memory.
	maxDestinations = 4096
	maxHost         = 255
)

// Policy is the pipelining round-robin policy. Its state is the position in each list
// of candidates, and for each client and destination the descriptor suggested last. The
// Socket Intents prototype remembers one descriptor for all of them.
type Policy struct {
	turn rotation.Rotation
	last *recent.Map[destination, int32]
}

type destination struct {
	pid, uid      uint32
	host, service string
}

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
)

// New makes the policy. It has no settings.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}); err != nil {
		return nil, err
	}
	return &Policy{last: recent.New[destination, int32](maxDestinations)}, nil
}

// Choose reuses the idle socket after the one suggested last, if at least two are
// offered. Otherwise a new connection takes the next candidate, and the default
// resolver looks the name up. A plain connect is left alone.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	switch {
	case r.Kind == policy.Connect:
		return policy.Decision{Reason: reasonConnect}
	case r.Kind == policy.SocketChoose && len(r.Sockets) >= 2:
		return shape.TakeSocket(r, p.nextSocket(r), reasonSocket)
	case r.Bound.IsValid():
		return shape.Bound(r, policy.ResolveDefault, false)
	}
	next, others := p.turn.Next(r)
	if next == nil {
		return policy.Decision{Resolution: policy.ResolveDefault, Reason: shape.ReasonNoPrefix}
	}
	d := shape.Plain(r, next, reasonTurn, "next")
	d.Alternates, d.Resolution = others, policy.ResolveDefault
	return d
}

func (p *Policy) nextSocket(r *policy.Request) *policy.Socket {
	key := destination{r.App.PID, r.App.UID, r.Host[:min(len(r.Host), maxHost)], r.Service[:min(len(r.Service), maxHost)]}
	next := &r.Sockets[0]
	if fd, known := p.last.Get(key); known {
		for i := range r.Sockets[:len(r.Sockets)-1] {
			if r.Sockets[i].FD == fd {
				next = &r.Sockets[i+1]
				break
			}
		}
	}
	p.last.Put(key, next.FD)
	return next
}

// ChooseResolver leaves the name to the client, as in the Socket Intents prototype.
func (p *Policy) ChooseResolver(*policy.Request) policy.Decision {
	return policy.Decision{Resolution: policy.ResolveNever, Reason: shape.ReasonUnresolved}
}
