package socks

import (
	"context"
	"net/netip"
)

// Rules decide what is served. If they forbid something, they return an error that
// wraps ErrNotAllowed, or another one that ReplyOf knows; its text is for the log.
// Methods may be called for several clients at the same time.
type Rules interface {
	// Allow is asked when a request was read. The destination may be a name.
	Allow(ctx context.Context, r *Request) error
	// AllowAddr is asked about each address that is going to be used for the request.
	// DestFrom tells how the client wrote that destination.
	AllowAddr(ctx context.Context, r *Request, addr netip.AddrPort) error
}

// SenderRules are Rules that also decide whose datagrams an association takes. Without
// them, the association belongs to the port of the client's address that sends the
// first datagram.
type SenderRules interface {
	// AllowSender is asked about a port of the client's address whenever datagrams have
	// come from there, before they are passed on, and every few milliseconds while
	// datagrams are sent there. It is called for each datagram unless many come at once,
	// so it should be quick. to is the address of this host to which they were sent.
	AllowSender(ctx context.Context, r *Request, from, to netip.AddrPort) error
}

// NameRules are Rules that also decide about the names in an association's datagrams before
// these are resolved. Without them each name is resolved, and AllowAddr decides afterwards.
type NameRules interface {
	// AllowName is asked about a name for which nothing is remembered. dest is the
	// destination of the datagram.
	AllowName(ctx context.Context, r *Request, dest Addr) error
}

// DestFrom returns the destination for which a function of the Config is called. It is
// a name or an address, as the client wrote it. For an association it is the
// destination of a datagram. It is zero if ctx does not come from a Server.
func DestFrom(ctx context.Context) Addr {
	sc, _ := ctx.Value(scopeKey{}).(scope)
	return sc.dest
}

// everything allows everything.
type everything struct{}

func (everything) Allow(context.Context, *Request) error                     { return nil }
func (everything) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }
