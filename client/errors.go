package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Attempt is one failed step of a dial: a connection attempt, or, if Remote is invalid,
// the resolution of the name.
type Attempt struct {
	Candidate Candidate
	Source    netip.Addr     // the suggested source address, invalid if none
	Device    string         // the interface, "" if none
	Remote    netip.AddrPort // invalid if the name was not resolved
	Duration  time.Duration
	Err       error
}

// String tells the local address and interface, the destination, and the error.
func (a Attempt) String() string {
	what := "plainly"
	if a.Source.IsValid() {
		what = "from " + a.Source.String()
	}
	if a.Device != "" {
		what += " on " + a.Device
	}
	if !a.Remote.IsValid() {
		return fmt.Sprintf("%s: %v", what, a.Err)
	}
	return fmt.Sprintf("%s to %v: %v", what, a.Remote, cause(a.Err))
}

// cause returns the error below a net.OpError, which repeats the addresses.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// ErrRefused is found by errors.Is in the error of a dial that the manager's policy
// refuses. Nothing was dialled then, not even plainly.
var ErrRefused = errors.New("refused by the policy")

// refusal makes the error of a refusal. The reason may be empty.
func refusal(reason string) error {
	if reason == "" {
		return ErrRefused
	}
	return fmt.Errorf("%w: %s", ErrRefused, reason)
}

// forbidden tells whether err forbids the connection over every network.
func forbidden(err error) bool { return errors.Is(err, ErrRefused) || errors.Is(err, ErrNotPermitted) }

// errOutside says that a connection would not keep to the policy's candidates.
var errOutside = fmt.Errorf("%w: it permits its own candidates only", ErrRefused)

// DialError says why a dial failed, attempt by attempt. errors.Is and errors.As
// find the causes. It is a net.Error.
type DialError struct {
	Network, Address string
	Attempts         []Attempt
	Err              error // what ended the dial, besides the attempts: the context's error, ErrNotPermitted or ErrRefused
	Without          error // why the manager did not decide, if no network was permitted for lack of that
}

var _ net.Error = (*DialError)(nil)

// Error lists the attempts in their order, each with its error.
func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dial %s %s", e.Network, e.Address)
	sep := ": "
	for _, a := range e.Attempts {
		b.WriteString(sep + a.String())
		sep = "; "
	}
	if e.Err != nil {
		b.WriteString(sep + e.Err.Error())
		sep = "; "
	}
	if e.Without != nil {
		b.WriteString(sep + "without the manager: " + e.Without.Error())
	}
	return b.String()
}

// Unwrap returns all causes.
func (e *DialError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	if e.Without != nil {
		errs = append(errs, e.Without)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// Timeout tells whether the dial failed for lack of time: its own time is over, or
// every attempt timed out.
func (e *DialError) Timeout() bool {
	if e.Err != nil {
		return errors.Is(e.Err, context.DeadlineExceeded)
	}
	for _, a := range e.Attempts {
		ne, ok := errors.AsType[net.Error](a.Err)
		if !ok || !ne.Timeout() {
			return false
		}
	}
	return len(e.Attempts) > 0
}

// Temporary returns the same as Timeout. The interface net.Error requires the method,
// for old programs.
func (e *DialError) Temporary() bool { return e.Timeout() }
