package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/socks"
)

func TestReplyable(t *testing.T) {
	name := client.Attempt{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	connect := client.Attempt{Remote: netip.MustParseAddrPort("192.0.2.1:80"), Err: errors.New("odd")}
	for _, tt := range []struct {
		name string
		err  error
		want socks.Reply
	}{
		{"refused by the policy", &client.DialError{Err: fmt.Errorf("%w: not today", client.ErrRefused)}, socks.NotAllowed},
		{"confined to what fails", &client.DialError{Attempts: []client.Attempt{{Err: fmt.Errorf("%w: by name", client.ErrRefused)}}}, socks.NotAllowed},
		{"not resolved", &client.DialError{Attempts: []client.Attempt{name}}, socks.HostUnreachable},
		{"not connected", &client.DialError{Attempts: []client.Attempt{name, connect}}, socks.HostUnreachable},
		{"something else", errors.New("odd"), socks.GeneralFailure},
	} {
		if got := socks.ReplyOf(replyable(tt.err)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct {
		err  *client.DialError
		want string
	}{
		{&client.DialError{Err: fmt.Errorf("%w: not today", client.ErrRefused)}, "refused by the policy: not today"},
		{&client.DialError{Attempts: []client.Attempt{connect, {Err: fmt.Errorf("%w: by name", client.ErrRefused)}}}, "refused by the policy: by name"},
	} {
		if e, ok := errors.AsType[*socks.Error](replyable(tt.err)); !ok || e.Told != tt.want {
			t.Errorf("%v: clients are told %+v, want %q", tt.err, e, tt.want)
		}
	}
	if err := replyable(&client.DialError{Err: fmt.Errorf("%w: not today", client.ErrRefused)}); !strings.Contains(err.Error(), "not today") {
		t.Errorf("the reason is lost: %v", err)
	}
}
