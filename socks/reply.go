package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
)

// Reply says how a request ended (RFC 1928 section 6). The codes of SOCKS 4 and HTTP
// are derived from it.
type Reply uint8

// The replies.
const (
	Succeeded               Reply = 0
	GeneralFailure          Reply = 1
	NotAllowed              Reply = 2 // by our rules or by a firewall
	NetworkUnreachable      Reply = 3
	HostUnreachable         Reply = 4 // or the name does not exist
	ConnectionRefused       Reply = 5
	TTLExpired              Reply = 6 // also for time-outs, for which SOCKS has no code
	CommandNotSupported     Reply = 7
	AddressTypeNotSupported Reply = 8
)

// String returns the reply in words, or its number if it has no name here.
func (r Reply) String() string {
	return name(int(r), "reply", "succeeded", "general failure", "not allowed", "network unreachable", "host unreachable",
		"connection refused", "timed out", "command not supported", "address type not supported")
}

// Reply codes of SOCKS 4.
const (
	socks4Granted  = 90
	socks4Rejected = 91
)

func (r Reply) socks4() byte {
	if r == Succeeded {
		return socks4Granted
	}
	return socks4Rejected
}

// HTTPStatus returns the HTTP status code for the reply (RFC 9110 section 15).
func (r Reply) HTTPStatus() int {
	switch r {
	case Succeeded:
		return http.StatusOK
	case NotAllowed:
		return http.StatusForbidden
	case NetworkUnreachable, HostUnreachable, ConnectionRefused:
		return http.StatusBadGateway
	case TTLExpired:
		return http.StatusGatewayTimeout
	case CommandNotSupported:
		return http.StatusNotImplemented
	case AddressTypeNotSupported:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// Error is an error that names its reply. Rules and dial functions may return an Error
// if ReplyOf would not find the right reply.
type Error struct {
	Reply Reply
	Err   error // the reason, for the log; may be nil
	// Told is the reason that clients are given if the reply is NotAllowed. Only HTTP
	// can carry it. If Told is empty, clients are given no reason.
	Told string
}

// Error returns the reply in words, followed by the cause if there is one.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reply.String()
	}
	return fmt.Sprintf("%v: %v", e.Reply, e.Err)
}

// Unwrap returns the cause, nil if there is none.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotAllowed is the error that Rules return to forbid something.
var ErrNotAllowed = errors.New("not allowed by the rules")

// errLoop is the error if the destination is this proxy itself.
var errLoop = fmt.Errorf("%w: the destination is this proxy", ErrNotAllowed)

// replies are in order of precedence. A dial with many attempts fails with an error
// that holds several causes. It gets the reply that tells most.
var replies = []struct {
	reply  Reply
	causes []error
}{
	{NotAllowed, []error{ErrNotAllowed}},
	{ConnectionRefused, []error{syscall.ECONNREFUSED}},
	{HostUnreachable, []error{syscall.EHOSTUNREACH, syscall.EHOSTDOWN}},
	{NetworkUnreachable, []error{syscall.ENETUNREACH, syscall.ENETDOWN}},
	// A firewall of this host causes these, see connect(2).
	{NotAllowed, []error{syscall.EACCES, syscall.EPERM}},
	{AddressTypeNotSupported, []error{syscall.EAFNOSUPPORT}},
	{TTLExpired, []error{syscall.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded}},
}

// ReplyOf returns the reply for an error. If err wraps an Error, the reply is the one in
// that Error. Otherwise ReplyOf chooses the reply by the cause.
func ReplyOf(err error) Reply {
	if err == nil {
		return Succeeded
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reply
	}
	for _, r := range replies {
		for _, cause := range r.causes {
			if errors.Is(err, cause) {
				return r.reply
			}
		}
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsTimeout {
			return TTLExpired
		}
		return HostUnreachable
	}
	if e, ok := errors.AsType[*net.AddrError](err); ok && e != nil {
		return AddressTypeNotSupported // no address of the wanted family
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return TTLExpired
	}
	return GeneralFailure
}
