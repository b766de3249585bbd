package doctor

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// A gateway whose firewall answers by an ICMP message is a neighbour that answers. A
// gateway that is not found gives the same error.
func TestGatewayThatRefuses(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", Prefix4: netip.MustParsePrefix("10.1.0.0/24")}}})
	cfg, err := config.Parse([]byte("auto = true\n"), "policy.conf")
	if err != nil {
		t.Fatal(err)
	}
	state := func() GatewayState {
		t.Helper()
		f, err := Collect(t.Context(), cfg, Options{
			Run: t.TempDir(), Namespace: bed.Client.FD(),
			Dial: func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
				c, err := bed.Client.Dial(ctx, d, network, address)
				if network != "tcp" || err != nil {
					return c, err
				}
				_ = c.Close() // what a firewall's ICMP_HOST_ANO makes of it
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", unix.EHOSTUNREACH)}
			},
		})
		if err != nil || len(f.Prefixes) != 1 {
			t.Fatalf("%v, %v", f.Prefixes, err)
		}
		return f.Prefixes[0].GatewayState
	}
	if got := state(); got != GatewayAnswers {
		t.Errorf("state %d of a gateway that refuses, want %d", got, GatewayAnswers)
	}
	h := bed.Networks[0].Server.Handle()
	link, err := h.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	if got := state(); got == GatewayAnswers {
		t.Errorf("state %d of a gateway that is not there", got)
	}
}
