package otelintent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/otelintent"
)

// ours are the attributes of a span that this module added.
func ours(list []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, a := range list {
		if k := string(a.Key); strings.HasPrefix(k, "mamma.") {
			m[k] = a.Value.AsInterface()
		}
	}
	return m
}

// A span says what the manager said about the connection, whether it is new or used
// again, for HTTP/1.1 and for HTTP/2.
func TestTransport(t *testing.T) {
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Reason: "bulk goes by the second network"}
	})
	for _, h2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		}))
		server.EnableHTTP2 = h2
		server.StartTLS()
		defer server.Close()
		daemon := &client.Daemon{Path: m.Path, DecisionTimeout: 10 * time.Second}
		defer func() { _ = daemon.Close() }()
		dialer := client.Dialer{Daemon: daemon}
		base := server.Client().Transport.(*http.Transport).Clone()
		base.DialContext, base.ForceAttemptHTTP2 = dialer.DialContext, h2
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		web := http.Client{Transport: otelhttp.NewTransport(&otelintent.Transport{Base: base}, otelhttp.WithTracerProvider(provider))}
		for range 2 {
			resp, err := web.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			proto, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; string(proto) != want {
				t.Errorf("spoken: %s, want %s", proto, want)
			}
		}
		web.CloseIdleConnections()
		ended := spans.Ended()
		if len(ended) != 2 {
			t.Fatalf("%d spans", len(ended))
		}
		for i, s := range ended {
			got := ours(s.Attributes())
			if id, _ := got["mamma.decision_id"].(string); len(id) == 0 {
				t.Errorf("no decision: %v", got)
			}
			delete(got, "mamma.decision_id")
			want := map[string]any{
				"mamma.decided": true, "mamma.network": "127.0.0.2", "mamma.source": "127.0.0.2", "mamma.reason": "bulk goes by the second network",
			}
			if i > 0 {
				want["mamma.reused"] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("HTTP/2 %v, request %d (-want +got)\n%s", h2, i, diff)
			}
		}
	}
}

// Without a span, and for connections of which nothing is known, requests go as usual.
func TestTransportAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("t")
	ctx, span := tracer.Start(context.Background(), "s")
	transport := &otelintent.Transport{Base: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
	defer transport.CloseIdleConnections()
	for _, c := range []context.Context{context.Background(), ctx} {
		req, err := http.NewRequestWithContext(c, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	span.End()
	if got := ours(spans.Ended()[0].Attributes()); len(got) != 0 {
		t.Errorf("said of a connection of which nothing is known: %v", got)
	}
}

func TestAttributes(t *testing.T) {
	for _, tt := range []struct {
		name string
		info client.Info
		want map[string]any
	}{
		{"nothing", client.Info{}, map[string]any{"mamma.decided": false}},
		{"no manager", client.Info{Err: errors.New("there is none")}, map[string]any{"mamma.decided": false, "mamma.reason": "not asked: there is none"}},
		{
			"a device", client.Info{Decided: true, Device: "wwan0", Source: netip.MustParseAddr("10.2.0.2"), Local: netip.MustParseAddrPort("10.2.0.2:4711")},
			map[string]any{"mamma.decided": true, "mamma.network": "wwan0", "mamma.source": "10.2.0.2"},
		},
		{
			"after two that failed, with MPTCP", client.Info{Decided: true, Attempts: make([]client.Attempt, 2), Multipath: true},
			map[string]any{"mamma.decided": true, "mamma.failed_attempts": int64(2), "mamma.multipath": true},
		},
		{"MPTCP that became plain", client.Info{Multipath: true, PlainTCP: true}, map[string]any{"mamma.decided": false, "mamma.multipath": false}},
	} {
		if diff := cmp.Diff(tt.want, ours(otelintent.Attributes(&tt.info))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}
