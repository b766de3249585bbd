package raw_test

import (
	"context"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/internal/raw"
	"github.com/socket-intents/mamma/internal/wire"
)

// fixed is a Link with a number.
type fixed int

func (fixed) Exchange(context.Context, *wire.Message, *wire.Message) error { return nil }

func (fixed) Report(*wire.Message, time.Duration, error, uint16) {}

// daemon answers Welcome with its Link, and counts real Pings.
type daemon struct {
	link  fixed
	pings int
}

func (d *daemon) Ping(ctx context.Context) error {
	if !raw.Welcome(ctx, d.link) {
		d.pings++
	}
	return nil
}

func TestOf(t *testing.T) {
	a, b := &daemon{link: 1}, &daemon{link: 2}
	if raw.Of(a) != fixed(1) || raw.Of(b) != fixed(2) {
		t.Error("a daemon's Link is that of another one")
	}
	if a.pings != 0 {
		t.Error("Of pings")
	}
	if _ = a.Ping(t.Context()); a.pings != 1 {
		t.Error("a Ping is none")
	}
}

// deaf does not know this package.
type deaf struct{}

func (deaf) Ping(context.Context) error { return nil }

// Without a Link, calls fail as if no manager ran.
func TestOfStranger(t *testing.T) {
	if err := raw.Of(deaf{}).Exchange(t.Context(), nil, nil); err == nil {
		t.Error("no error")
	}
}

// The zero Daemon has a Link to its own manager, which does not run here.
func TestOfDaemon(t *testing.T) {
	d := &client.Daemon{Path: t.TempDir() + "/none"}
	var ans wire.Message
	if err := raw.Of(d).Exchange(t.Context(), &wire.Message{Action: wire.ActionConnectRequest}, &ans); err == nil {
		t.Error("an answer from nobody")
	}
	if got, want := d.PlainDials(), (client.PlainDials{Absent: 1}); got != want {
		t.Errorf("%+v, want %+v: what cannot be asked is a plain dial of this Daemon", got, want)
	}
}
