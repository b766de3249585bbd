package resolve

import (
	"context"
	"errors"
	"net/netip"
)

// Error is the type of all errors of lookups.
type Error struct {
	Host string // as the caller gave it
	// Server is the server asked last; invalid if none was asked.
	Server netip.AddrPort
	// NotFound means that there is nothing to find: the name does not exist, has no
	// address of the family, or is not a name at all. Another resolver may know better.
	NotFound bool
	// Timeout means that a server did not answer in time, or that the caller's time was
	// up.
	Timeout bool
	// Temporary means that the same question may succeed later.
	Temporary bool
	Err       error // what went wrong, never nil
}

func (e *Error) Error() string {
	if e.Server.IsValid() {
		return "resolve " + quote(e.Host) + ": server " + e.Server.String() + ": " + e.Err.Error()
	}
	return "resolve " + quote(e.Host) + ": " + e.Err.Error()
}

// Unwrap returns the cause. errors.Is finds context.Canceled and os.ErrDeadlineExceeded
// through it.
func (e *Error) Unwrap() error { return e.Err }

// of returns a copy of e with another host name. A copy is needed because the cache and
// other callers may share e.
func (e *Error) of(host string) *Error {
	if e == nil {
		return &Error{Host: host, NotFound: true, Err: errNoHost}
	}
	c := *e
	c.Host = host
	return &c
}

var (
	errNumber    = errors.New("name ends in a number but is not an address")
	errNoHost    = errors.New("no such host")
	errNoData    = errors.New("no address of that family")
	errNoAAAA    = errors.New("no address of that family: options no-aaaa")
	errSpecial   = errors.New("no such host: the name is not for name servers")
	errNoServer  = errors.New("no name server")
	errAliases   = errors.New("too many aliases")
	errAliasName = errors.New("alias for something that is not a host name")
	errLame      = errors.New("server offers no recursion")
	errClosed    = errors.New("resolver closed")
)

// ended makes the error of a lookup whose context has ended.
func ended(ctx context.Context) *Error {
	timeout := errors.Is(ctx.Err(), context.DeadlineExceeded)
	return &Error{Timeout: timeout, Temporary: timeout, Err: context.Cause(ctx)}
}
