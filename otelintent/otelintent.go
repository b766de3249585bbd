// Package otelintent adds attributes to OpenTelemetry traces: which network a request
// went over, and why.
//
// It is a module of its own, so that other programs need not depend on OpenTelemetry.
// Transport is for net/http. The package grpcintent in this module is for gRPC. Both
// add attributes to the span in the context of a request. They make no spans; what
// makes the spans, such as otelhttp, must be wrapped around them.
//
//	var dialer client.Dialer
//	base := http.DefaultTransport.(*http.Transport).Clone()
//	base.DialContext = dialer.DialContext
//	web := http.Client{Transport: otelhttp.NewTransport(&otelintent.Transport{Base: base})}
package otelintent

import (
	"net/http"
	"net/http/httptrace"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/socket-intents/mamma/client"
)

// The attributes of a span. Unknown ones are left out.
const (
	// Network is the interface that the socket was bound to, or else the suggested
	// source address.
	Network = attribute.Key("mamma.network")
	// Source is the address that the connection came from.
	Source = attribute.Key("mamma.source")
	// Reason is the manager's reason for the decision, or why the manager was not
	// asked.
	Reason = attribute.Key("mamma.reason")
	// DecisionID is the id under which "mammactl decisions" shows the decision.
	DecisionID = attribute.Key("mamma.decision_id")
	// Decided tells that the manager was asked and answered.
	Decided = attribute.Key("mamma.decided")
	// Reused tells that the connection had carried another request before.
	Reused = attribute.Key("mamma.reused")
	// FailedAttempts is the number of earlier attempts that failed, on this network or
	// others.
	FailedAttempts = attribute.Key("mamma.failed_attempts")
	// Multipath tells that the connection speaks Multipath TCP.
	Multipath = attribute.Key("mamma.multipath")
)

// Attributes returns what is known about a connection.
func Attributes(info *client.Info) []attribute.KeyValue {
	list := []attribute.KeyValue{Decided.Bool(info.Decided)}
	text := func(k attribute.Key, v string) {
		if v != "" {
			list = append(list, k.String(v))
		}
	}
	switch {
	case info.Device != "":
		text(Network, info.Device)
	case info.Source.IsValid():
		text(Network, info.Source.String())
	}
	if info.Local.IsValid() {
		text(Source, info.Local.Addr().String())
	}
	switch {
	case info.Reason != "":
		text(Reason, info.Reason)
	case info.Err != nil:
		text(Reason, "not asked: "+info.Err.Error())
	}
	if !info.ID.IsZero() {
		text(DecisionID, info.ID.String())
	}
	if info.Reused {
		list = append(list, Reused.Bool(true))
	}
	if n := len(info.Attempts); n > 0 {
		list = append(list, FailedAttempts.Int(n))
	}
	if info.Multipath {
		list = append(list, Multipath.Bool(!info.PlainTCP))
	}
	return list
}

// Transport adds the attributes of a request's connection to the span of the request's
// context. Without a recorded span it does nothing. It is safe for concurrent use if
// Base is.
type Transport struct {
	// Base sends the requests. nil stands for http.DefaultTransport, about whose
	// connections nothing is known.
	Base http.RoundTripper
}

// RoundTrip is for http.Client.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
		// If a request is sent again on another connection, the span gets the
		// attributes of that one.
		got := httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if info, ok := client.InfoOf(c.Conn); ok {
				info.Reused = info.Reused || c.Reused
				span.SetAttributes(Attributes(&info)...)
			}
		}}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &got))
	}
	return base.RoundTrip(r)
}

// CloseIdleConnections is for http.Client's method of the same name.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
