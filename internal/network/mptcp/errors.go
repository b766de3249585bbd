package mptcp

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is wrapped by errors that mean that the running kernel lacks a
// feature. The error itself is a *FeatureError.
var ErrUnsupported = errors.New("not supported by this kernel")

// ErrFull is wrapped by the error of AddEndpoint if the kernel has no room for another
// endpoint.
var ErrFull = errors.New("the kernel holds no more MPTCP endpoints")

// FeatureError names what the kernel lacks, and which version has it.
type FeatureError struct {
	Feature string
	Since   string // first version of Linux that has it
	Running string // running version; "": unknown
	Err     error  // what the kernel said; may be nil
}

func (e *FeatureError) Error() string {
	text := fmt.Sprintf("%s: %v: needs Linux %s or later with CONFIG_MPTCP", e.Feature, ErrUnsupported, e.Since)
	if e.Running != "" {
		text += ", and this is " + e.Running
	}
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap gives ErrUnsupported and the cause.
func (e *FeatureError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnsupported}
	}
	return []error{ErrUnsupported, e.Err}
}

// feature is a feature of the kernel that came after MPTCP itself.
type feature struct{ name, since string }

var (
	featureFamily     = feature{"the MPTCP path manager", "5.7"}
	featureEvents     = feature{"events of MPTCP connections", "5.12"}
	featureFlags      = feature{"changing an endpoint's flags", "5.12"}
	featureUserspace  = feature{"an MPTCP path manager in user space", "5.19"}
	featureDiag       = feature{"listing MPTCP connections", "5.9"}
	featureManagement = feature{"adding and listing MPTCP endpoints", "5.7"}
)

func (f feature) missing(err error) error {
	return &FeatureError{Feature: f.name, Since: f.since, Running: running(), Err: err}
}

// running returns the version of the running kernel from uname(2).
func running() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// explain adds to the error of a request what was being done and, if known, what the
// user can do.
func explain(doing string, f feature, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist) && f == featureFamily,
		errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s: %w", doing, f.missing(err))
	case errors.Is(err, unix.ERANGE) && f == featureManagement:
		return fmt.Errorf("%s: %w: %w", doing, ErrFull, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: needs CAP_NET_ADMIN: %w", doing, err)
	}
	if op := (*netlink.OpError)(nil); errors.As(err, &op) && op.Message != "" {
		return fmt.Errorf("%s: %s: %w", doing, op.Message, op.Err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
