package proxy

import (
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// A host without a default route has no route to the broadcast address either. Nevertheless
// it sends there if the socket is bound to a device.
func TestKindOfBroadcastWithoutRoute(t *testing.T) {
	type result struct {
		kind addrKind
		err  error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			got <- result{err: err}
			return
		}
		got <- result{kind: kindOf(netip.MustParseAddr("255.255.255.255"))}
	}()
	r := <-got
	if r.err != nil {
		required.Lacking(t, "needs a network namespace: %v", r.err)
	}
	if r.kind != group {
		t.Errorf("kind %v, want %v", r.kind, group)
	}
}
