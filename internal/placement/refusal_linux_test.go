package placement

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// A refusal by the policy holds whatever the options say, and has its own errno.
func TestRefusal(t *testing.T) {
	byPolicy := &client.DialError{Err: fmt.Errorf("%w: not today", client.ErrRefused)}
	for _, tt := range []struct {
		require bool
		err     error
		want    unix.Errno // 0: it goes on
	}{
		{false, errNoManager, 0}, {true, errNoManager, unix.ENETUNREACH}, {false, byPolicy, unix.EACCES}, {true, byPolicy, unix.EACCES},
	} {
		o := &Options{Require: tt.require}
		var refused *refusal
		var got unix.Errno
		if errors.As(o.unplaced(netip.MustParseAddrPort("192.0.2.1:80"), caller{}, tt.err), &refused) {
			got = refused.errno()
		}
		if got != tt.want {
			t.Errorf("%v, required %v: %v, want %v", tt.err, tt.require, got, tt.want)
		}
	}
}
