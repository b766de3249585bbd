package proxy

import (
	"net/netip"
	"os/exec"
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

// The addresses of an interface are the host's own, and its broadcast address is for
// several hosts, also if they are not in the table of local routes, as those of a VRF.
func TestKindOfAddressesInOtherTables(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		required.Lacking(t, "needs iproute2: %v", err)
	}
	want := map[string]addrKind{"10.9.9.1": ownHost, "10.9.9.255": group, "10.9.9.7": others, "10.9.8.255": others, "2001:db8:9::1": ownHost, "2001:db8:9::2": others}
	got := map[string]addrKind{}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		for _, args := range [][]string{
			{"link", "add", "one", "type", "veth", "peer", "name", "two"}, {"link", "set", "one", "up"},
			{"addr", "add", "10.9.9.1/24", "dev", "one"}, {"addr", "add", "2001:db8:9::1/64", "dev", "one", "nodad"},
			{"route", "del", "table", "local", "local", "10.9.9.1"}, {"route", "del", "table", "local", "broadcast", "10.9.9.255"},
			{"-6", "route", "del", "table", "local", "local", "2001:db8:9::1"},
		} {
			if err == nil {
				err = exec.Command(ip, args...).Run()
			}
		}
		for text := range want {
			got[text] = kindOf(netip.MustParseAddr(text))
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		required.Lacking(t, "needs a network namespace: %v", err)
	}
	for text, kind := range want {
		if got[text] != kind {
			t.Errorf("%s: kind %v, want %v", text, got[text], kind)
		}
	}
}
