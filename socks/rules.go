package socks

import (
	"context"
	"net/netip"
)

// Rules decide what is served. An error that wraps ErrNotAllowed, or any other
// that ReplyOf maps, is the reason for the log. Both are called for different
// clients at the same time.
type Rules interface {
	// Allow is asked when a request was read; its destination may be a name.
	Allow(ctx context.Context, r *Request) error
	// AllowAddr is asked about each address that is going to be used for it. See
	// DestFrom for how the client asked for that address.
	AllowAddr(ctx context.Context, r *Request, addr netip.AddrPort) error
}

// SenderRules are Rules that also decide whose datagrams an association takes.
// Without it, the first port of the client's address that sends one has it.
type SenderRules interface {
	// AllowSender is asked about a port that an association has a datagram from,
	// before it is passed on, and again from time to time. to is the address of
	// this host that it was sent to.
	AllowSender(ctx context.Context, r *Request, from, to netip.AddrPort) error
}

// DestFrom returns the destination that a function of the Config is called for, as
// the client wrote it: a name, or an address. For an association it is the one
// of a datagram. It is zero if ctx is not a Server's.
func DestFrom(ctx context.Context) Addr {
	sc, _ := ctx.Value(scopeKey{}).(scope)
	return sc.dest
}

// everything is allowed.
type everything struct{}

func (everything) Allow(context.Context, *Request) error                     { return nil }
func (everything) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }
