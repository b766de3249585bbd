package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
)

// The exit codes of get. They are those of curl(1), and two of its own.
const (
	exitProtocol    = 1
	exitMalformed   = 3
	exitProxy       = 5
	exitResolve     = 6
	exitConnect     = 7
	exitPartial     = 18
	exitStatus      = 22
	exitWrite       = 23
	exitTooLate     = 28
	exitTLS         = 35
	exitRedirects   = 47
	exitNothing     = 52
	exitReceive     = 56
	exitCertificate = 60
	exitRoots       = 77
	exitDigest      = 120
	exitInterrupted = 130 // as shells report SIGINT
)

// maxRedirects is how many redirections are followed.
const maxRedirects = 10

var (
	errTooLate   = errors.New("it took longer than --max-time")
	errScheme    = errors.New("neither http nor https")
	errLocation  = errors.New("the server redirects to something that is not a URL")
	errRedirects = fmt.Errorf("more than %d redirections", maxRedirects)
)

// statusError is an error status in the server's answer.
type statusError struct {
	status string
	code   int
}

func (e *statusError) Error() string { return "the server answers " + e.status }

// ofRange tells whether a request without a range may have another answer. Statuses of
// servers that are overloaded or repaired are left out, because a part is given up for it.
func (e *statusError) ofRange() bool {
	switch e.code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusPreconditionFailed,
		http.StatusExpectationFailed, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

// writeError is an error of the file that is written.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// rootsError is an error of the file with the certificates to trust.
type rootsError struct{ err error }

func (e *rootsError) Error() string { return e.err.Error() }
func (e *rootsError) Unwrap() error { return e.err }

// fail prints an error and makes the program end with the code.
func (g *getting) fail(code int, err error) error {
	g.app.complain(fmt.Errorf("get: %w", err))
	return foundError{code}
}

// exit turns the result of run into the program's exit.
func (g *getting) exit(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return g.fail(exitInterrupted, errors.New("interrupted"))
	}
	code := exitOf(err)
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err // the user knows the URL
	}
	return g.fail(code, err)
}

// exitOf returns curl's exit code for an error.
func exitOf(err error) int {
	var proxy *proxyError
	var status *statusError
	var written *writeError
	var roots *rootsError
	var digest *digestError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var dialled *client.DialError
	var name *net.DNSError
	var op *net.OpError
	var timeout net.Error
	proxied := errors.As(err, &op) && op.Op == "proxyconnect" // the outermost one
	switch {
	case errors.As(err, &proxy), proxied && exitOf(op.Err) == exitResolve:
		return exitProxy
	case errors.As(err, &status):
		return exitStatus
	case errors.As(err, &written):
		return exitWrite
	case errors.As(err, &roots):
		return exitRoots
	case errors.As(err, &digest):
		return exitDigest
	case errors.Is(err, errTooLate):
		return exitTooLate
	case errors.Is(err, errLocation):
		return exitMalformed
	case errors.Is(err, errScheme):
		return exitProtocol
	case errors.Is(err, errRedirects):
		return exitRedirects
	case errors.As(err, &certificate):
		return exitCertificate
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return exitTLS
	case errors.Is(err, httpintent.ErrChanged), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errIncomplete):
		return exitPartial
	case errors.As(err, &name):
		return exitResolve
	case errors.As(err, &dialled):
		return exitOfDial(dialled)
	case proxied, errors.As(err, &op) && op.Op == "dial":
		return exitConnect
	case errors.As(err, &timeout) && timeout.Timeout():
		return exitTooLate
	case errors.Is(err, io.EOF):
		return exitNothing
	}
	return exitReceive
}

// exitOfDial distinguishes a name that was not resolved from an address that was not
// reached.
func exitOfDial(e *client.DialError) int {
	switch {
	case errors.Is(e, client.ErrRefused), errors.Is(e, client.ErrNotPermitted), len(e.Attempts) == 0:
		return exitConnect
	case e.Timeout():
		return exitTooLate
	}
	for _, a := range e.Attempts {
		if a.Remote.IsValid() {
			return exitConnect
		}
	}
	return exitResolve
}
