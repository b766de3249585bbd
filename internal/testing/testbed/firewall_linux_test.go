package testbed

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Packets to one network are dropped, and pass again after undo. The other network is
// not affected.
func TestDrop(t *testing.T) {
	bed := ForTest(t, Config{Networks: []NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	const moment, patience = 200 * time.Millisecond, 20 * time.Second
	reach := func(n *Network, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		c, err := bed.Client.DialContext(ctx, "tcp", netip.AddrPortFrom(n.Gateway4, 9).String())
		if err == nil {
			return c.Close()
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil // an answer
		}
		return err
	}
	for _, d := range []Direction{Outgoing, Incoming} {
		undo, err := bed.Client.Drop(d, "wwan0")
		if err != nil {
			SkipOrFail(t, err)
		}
		if err := reach(bed.Networks[1], moment); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("direction %d: a filtered gateway: %v", d, err)
		}
		if err := reach(bed.Networks[0], patience); err != nil {
			t.Errorf("direction %d: the other gateway: %v", d, err)
		}
		c, err := bed.Client.DialContext(t.Context(), "udp", netip.AddrPortFrom(bed.Networks[1].Gateway4, 9).String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte{0}); errors.Is(err, unix.EPERM) != (d == Outgoing) {
			t.Errorf("direction %d: a datagram: %v", d, err)
		}
		_ = c.Close()
		if err := undo(); err != nil {
			t.Fatal(err)
		}
	}
	if err := reach(bed.Networks[1], patience); err != nil {
		t.Errorf("in the end: %v", err)
	}
}
