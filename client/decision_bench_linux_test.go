package client

import (
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// BenchmarkEndpoints measures a decision by a lease about an address, with its endpoints, as
// "mammactl run" takes one for each connection.
func BenchmarkEndpoints(b *testing.B) {
	d := &Dialer{Daemon: &Daemon{}}
	t, _, err := d.newTarget(b.Context(), "tcp", "192.0.2.7:80")
	if err != nil {
		b.Fatal(err)
	}
	ans := &wire.Message{Action: wire.ActionSocketConnectResponse}
	suggest("10.1.0.2", "10.2.0.2")(ans)
	p := newPlan(t, 0, ans)
	b.ReportAllocs()
	for b.Loop() {
		dec := &Decision{dialer: d, target: t, plan: p}
		if list, err := dec.Endpoints(b.Context()); err != nil || len(list) < 2 {
			b.Fatal(list, err)
		}
	}
}
