package placement

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/client"
)

// Other networks are tried one after the other, the next one at once where one fails.
func TestFirstAnswer(t *testing.T) {
	const never = time.Hour
	errRefused := errors.New("refused")
	type network struct {
		after time.Duration
		err   error
	}
	for _, tt := range []struct {
		name     string
		networks []network
		want     client.Candidate // -1: none
		at, took time.Duration
	}{
		{"one that answers", []network{{10 * time.Millisecond, nil}}, 0, 10 * time.Millisecond, 10 * time.Millisecond},
		{"the first one, late", []network{{600 * time.Millisecond, nil}, {never, nil}}, 0, 600 * time.Millisecond, 600 * time.Millisecond},
		{"the second one", []network{{never, nil}, {20 * time.Millisecond, nil}}, 1, 270 * time.Millisecond, 20 * time.Millisecond},
		{"the first one fails", []network{{5 * time.Millisecond, errRefused}, {20 * time.Millisecond, nil}}, 1, 25 * time.Millisecond, 20 * time.Millisecond},
		{"all fail", []network{{5 * time.Millisecond, errRefused}, {20 * time.Millisecond, errRefused}}, -1, 0, 0},
		{"none answers", []network{{never, nil}, {never, nil}}, -1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var list []client.Endpoint
				for i := range tt.networks {
					list = append(list, client.Endpoint{Candidate: client.Candidate(i)})
				}
				begun := time.Now()
				e, took, ok := firstAnswer(ctx, list, raceStep, func(ctx context.Context, e client.Endpoint) error {
					n := tt.networks[e.Candidate]
					select {
					case <-time.After(n.after):
						return n.err
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				if ok != (tt.want >= 0) || ok && (e.Candidate != tt.want || took != tt.took || time.Since(begun) != tt.at) {
					t.Errorf("%v, candidate %d after %v, at %v; want %d after %v, at %v", ok, e.Candidate, took, time.Since(begun), tt.want, tt.took, tt.at)
				}
			})
		})
	}
}

// Only endpoints of other networks, at the same destination, are tried.
func TestOthers(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.1:80")
	at := func(source string, remote netip.AddrPort, c client.Candidate) client.Endpoint {
		e := client.Endpoint{Candidate: c, Remote: remote}
		if source != "" {
			e.Source = netip.MustParseAddr(source)
		}
		return e
	}
	a := &attempt{dest: to, source: netip.MustParseAddr("10.1.0.2"), offered: []client.Endpoint{
		at("10.1.0.2", to, 0), at("10.2.0.2", netip.MustParseAddrPort("192.0.2.2:80"), 1), at("10.3.0.2", to, 2), at("", to, client.PlainDial),
	}}
	if got := a.others(); len(got) != 1 || got[0].Candidate != 2 {
		t.Errorf("%+v", got)
	}
	a.offered = a.offered[3:]
	if got := a.others(); len(got) != 0 {
		t.Errorf("without a suggestion: %+v", got)
	}
}

func TestParseSyscall(t *testing.T) {
	for _, tt := range []struct {
		text string
		nr   int64
		arg  uint64
		ok   bool
	}{
		{"42 0x3 0x7ffd0d2ad2c0 0x10 0x0 0x0 0x0 0x7ffd0d2ad2a8 0x7f2c1a1b1c3a\n", 42, 3, true},
		{"42 0xffffffff 0x0 0x0 0x0 0x0 0x0 0x7ffd0d2ad2a8 0x7f2c1a1b1c3a\n", 42, 0xffffffff, true},
		{"running\n", -1, 0, true},
		{"-1 0x7ffd0d2ad2a8 0x7f2c1a1b1c3a\n", -1, 0, true},
		{"", 0, 0, false},
		{"42\n", 0, 0, false},
		{"42 three\n", 0, 0, false},
		{"connect 0x3\n", 0, 0, false},
	} {
		nr, arg, err := parseSyscall(tt.text)
		if (err == nil) != tt.ok || err == nil && (nr != tt.nr || arg != tt.arg) {
			t.Errorf("%q: %d, %#x, %v; want %d, %#x", tt.text, nr, arg, err, tt.nr, tt.arg)
		}
	}
}
