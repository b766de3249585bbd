package client

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
)

func TestOriginOf(t *testing.T) {
	long := strings.Repeat("x", maxOrigin)
	for _, test := range []struct {
		name string
		ctx  context.Context
		want *wire.Origin
	}{
		{"none", t.Context(), nil},
		{"whole", WithOrigin(t.Context(), Origin{1000, 4121, "curl", "rule downloads"}),
			&wire.Origin{UID: 1000, PID: 4121, Command: "curl", Source: "rule downloads"}},
		{"unknown", WithOrigin(t.Context(), Origin{UID: UnknownUID}), &wire.Origin{UID: 0xffffffff}},
		{"replaced", WithOrigin(WithOrigin(t.Context(), Origin{Command: "a"}), Origin{Source: "client"}), &wire.Origin{Source: "client"}},
		{"as long as may be", WithOrigin(t.Context(), Origin{Command: long, Source: long}), &wire.Origin{Command: long, Source: long}},
		{"cut", WithOrigin(t.Context(), Origin{Command: long + "y", Source: long[1:] + "ä"}), &wire.Origin{Command: long, Source: long[1:]}},
		{"no text", WithOrigin(t.Context(), Origin{Command: "a\xffb"}), &wire.Origin{Command: "a\uFFFDb"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, originOf(test.ctx)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// An origin is sent with requests for decisions, and only to a manager that knows
// origins.
func TestDialTellsOrigin(t *testing.T) {
	s := startServer(t)
	ctx := WithOrigin(t.Context(), Origin{UID: 1000, PID: 4121, Command: "curl", Source: "client"})
	for _, original := range []bool{false, true} {
		answer := suggest("127.0.0.2")
		f := startFake(t, "", original, func(m *wire.Message) bool {
			answer(m)
			if original {
				m.Reason, m.Context.Result = "", resolve(m, "127.0.0.1")
			}
			return true
		})
		d := dialer(t, f.path)
		nc, err := d.DialContext(ctx, "tcp", "127.0.0.1:"+s.port)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
		want := &wire.Origin{UID: 1000, PID: 4121, Command: "curl", Source: "client"}
		if original {
			want = nil
		}
		if diff := cmp.Diff(want, f.requests()[0].Origin); diff != "" {
			t.Errorf("original %v: (-want +got)\n%s", original, diff)
		}
	}
}
