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

// Reply says how a request ended (RFC 1928 section 6). SOCKS 4 and HTTP have
// their own codes, which are derived from it.
type Reply uint8

// The replies.
const (
	Succeeded               Reply = 0
	GeneralFailure          Reply = 1
	NotAllowed              Reply = 2 // by the rules, ours or those of a firewall
	NetworkUnreachable      Reply = 3
	HostUnreachable         Reply = 4 // or its name does not exist
	ConnectionRefused       Reply = 5
	TTLExpired              Reply = 6 // also for time-outs, which have no code of their own
	CommandNotSupported     Reply = 7
	AddressTypeNotSupported Reply = 8
)

// String is the reply in words; a number where it has no name here.
func (r Reply) String() string {
	return name(int(r), "reply", "succeeded", "general failure", "not allowed", "network unreachable", "host unreachable",
		"connection refused", "timed out", "command not supported", "address type not supported")
}

// Codes of SOCKS 4.
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

// HTTPStatus gives the status code that means the same (RFC 9110 section 15).
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

// Error is an error with the reply that a client is to get for it. Rules and
// dial functions may return one where ReplyOf would not know.
type Error struct {
	Reply Reply
	Err   error // the reason, for the log; may be nil
	// Told is the reason for clients that are not allowed, as far as their protocol has
	// words, which is HTTP. "" tells them no reason.
	Told string
}

// Error is the reply in words, and the cause if there is one.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reply.String()
	}
	return fmt.Sprintf("%v: %v", e.Reply, e.Err)
}

// Unwrap returns the cause, nil if there is none.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotAllowed is what Rules return to forbid.
var ErrNotAllowed = errors.New("not allowed by the rules")

// errLoop is the cause where a client would be connected to the proxy itself.
var errLoop = fmt.Errorf("%w: the destination is this proxy", ErrNotAllowed)

// replies are in order of precedence: an error that holds several causes, as
// that of a dial with many attempts does, gets the reply that says most.
var replies = []struct {
	reply  Reply
	causes []error
}{
	{NotAllowed, []error{ErrNotAllowed}},
	{ConnectionRefused, []error{syscall.ECONNREFUSED}},
	{HostUnreachable, []error{syscall.EHOSTUNREACH, syscall.EHOSTDOWN}},
	{NetworkUnreachable, []error{syscall.ENETUNREACH, syscall.ENETDOWN}},
	// What a firewall of this host answers, connect(2).
	{NotAllowed, []error{syscall.EACCES, syscall.EPERM}},
	{AddressTypeNotSupported, []error{syscall.EAFNOSUPPORT}},
	{TTLExpired, []error{syscall.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded}},
}

// ReplyOf maps an error to a reply. It is the only place where that is done.
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
		return AddressTypeNotSupported // no address of the family that is wanted
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return TTLExpired
	}
	return GeneralFailure
}
