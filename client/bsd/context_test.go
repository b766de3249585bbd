package bsd

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// absent returns a Daemon for a manager that does not run.
func absent(t testing.TB) *client.Daemon {
	return &client.Daemon{Path: filepath.Join(t.TempDir(), "none")}
}

// These are the rows of doc/original/client-and-socks.md 2, 3 and 6 about intents as
// options.
func TestIntentOptions(t *testing.T) {
	c := &Context{Daemon: absent(t)}
	b := make([]byte, 4)
	get := func(name int) (int32, error) {
		n, err := c.Getsockopt(-1, SolIntents, name, b)
		if err == nil && n != 4 {
			t.Errorf("option %d has %d bytes", name, n)
		}
		return int32(binary.NativeEndian.Uint32(b)), err
	}
	if _, err := get(2); !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("an intent that was not set: %v, want ENOPROTOOPT", err)
	}
	if _, err := c.Getsockopt(-1, SolIntents, 2, nil); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("nil buffer: %v, want EFAULT", err)
	}
	if err := c.Setsockopt(-1, SolIntents, 2, nil); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("nil value: %v, want EFAULT", err)
	}
	for name, value := range map[int]int32{1: 0, 2: 1048576, 7: -1, 77: 5} { // any number and any value are accepted, with any descriptor
		if err := c.SetsockoptInt(-1, SolIntents, name, value); err != nil {
			t.Errorf("setting %d: %v", name, err)
		}
		if got, err := get(name); got != value || err != nil {
			t.Errorf("option %d reads as %d (%v), want %d", name, got, err, value)
		}
	}
	// When set again, the value is replaced, whatever its width (defect 13).
	if err := c.Setsockopt(-1, SolIntents, 2, []byte{1, 2, 3, 4, 5, 6, 7, 8}); err != nil {
		t.Errorf("setting again: %v", err)
	}
	for _, size := range []int{0, 2, 4, 20} { // nothing is written beyond the buffer (defect 14)
		want := min(size, 8)
		if n, err := c.Getsockopt(-1, SolIntents, 2, make([]byte, size)); n != want || err != nil {
			t.Errorf("into %d bytes: %d (%v), want %d", size, n, err, want)
		}
	}
	if s := c.Intents(); s != (intent.Set{}.WithCategory(intent.CategoryQuery).With(intent.OptResilience, -1)) {
		t.Errorf("intents are %q", s.String())
	}
}

func TestSetIntents(t *testing.T) {
	var c Context
	large := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(1 << 40)
	if err := c.SetIntents(large); err != nil || c.Intents() != large {
		t.Errorf("%v (%v)", c.Intents(), err)
	}
	b := make([]byte, 4)
	if _, err := c.Getsockopt(-1, SolIntents, int(intent.OptFileSize), b); err != nil || binary.NativeEndian.Uint32(b) != 1<<31-1 {
		t.Errorf("a large value reads as %x (%v), want the largest of 4 bytes", b, err)
	}
	if err := c.SetsockoptInt(-1, SolIntents, int(intent.OptFileSize), 7); err != nil {
		t.Error(err)
	}
	if size, _ := c.Intents().FileSize(); size != 7 {
		t.Errorf("size %d after setting it to 7", size)
	}
	if err := c.SetIntents(intent.Set{}); err != nil || !c.Intents().IsZero() {
		t.Errorf("%v (%v), want none", c.Intents(), err)
	}
}

func TestOptionsAreBounded(t *testing.T) {
	var c Context
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = c.Setsockopt(-1, SolIntents, i, make([]byte, 100))
	}
	if !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("endless options: %v, want ENOBUFS", err)
	}
	if err := c.Setsockopt(-1, SolIntents, 0, make([]byte, 4)); err != nil {
		t.Errorf("a smaller value in a full list: %v", err)
	}
	if err := c.SetIntents(intent.Set{}.WithCategory(intent.CategoryQuery)); err != nil {
		t.Errorf("intents in place of a full list: %v", err)
	}
}

// These are the rows of doc/original/client-and-socks.md 4.
func TestContextUsers(t *testing.T) {
	var none *Context
	unused := new(Context)
	var used Context
	if err := used.SetIntents(intent.Set{}.WithCategory(intent.CategoryStream)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		row       string
		got, want int
	}{
		{"retain nil", none.Retain(), -1},
		{"retain an unused one", unused.Retain(), -1},
		{"release nil", none.Release(), -1},
		{"release an unused one", unused.Release(), 0},
		{"retain", used.Retain(), 2},
		{"release one of two", used.Release(), 1},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.row, tt.got, tt.want)
		}
	}
	clone := used.Clone()
	if got := used.Release(); got != 0 || !used.Intents().IsZero() {
		t.Errorf("last release: %d, left %v", got, used.Intents())
	}
	if c, _ := clone.Intents().Category(); c != intent.CategoryStream {
		t.Error("the clone lost what its source forgot")
	}
	if got := clone.Retain(); got != 2 {
		t.Errorf("a clone has %d users after one more", got)
	}
	if got := none.Clone(); got.Retain() != -1 {
		t.Error("the clone of nil is used")
	}
	if got := unused.Clone(); got.Retain() != -1 {
		t.Error("the clone of an unused context is used")
	}
	if none.Intents() != (intent.Set{}) {
		t.Error("intents of nil")
	}
}

func TestContextString(t *testing.T) {
	var none *Context
	c := &Context{Daemon: absent(t)}
	if got := none.String() + c.String(); got != "no context\nunused context\n" {
		t.Errorf("%q", got)
	}
	if err := c.SetIntents(intent.Set{}.WithFileSize(256)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Getaddrinfo(t.Context(), "192.0.2.1", "80", &Hints{Type: SockStream}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"host                 192.0.2.1\n", "calls                getaddrinfo\n", "{2 1 6 192.0.2.1:80}", "filesize=00010000"} {
		if !strings.Contains(c.String(), want) {
			t.Errorf("lacks %q:\n%s", want, c)
		}
	}
}

// The constants, whose values are written out for the documentation, equal those of the
// protocol.
func TestConstants(t *testing.T) {
	got := []int{AFUnspec, AFInet, AFInet6, SockStream, SockDgram, ProtoTCP, ProtoUDP, ProtoMPTCP, SolIntents}
	want := []int{wire.AFUnspec, wire.AFInet, wire.AFInet6, wire.SockStream, wire.SockDgram, wire.ProtoTCP, wire.ProtoUDP, wire.ProtoMPTCP, intent.Level}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// If the policy refuses, neither the classic calls nor the extended one connect.
func TestRefused(t *testing.T) {
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Refused: true, Reason: "not today"}
	})
	daemon := &client.Daemon{Path: m.Path}
	defer func() { _ = daemon.Close() }()
	c := &Context{Daemon: daemon}
	if _, err := c.Getaddrinfo(t.Context(), "host.test", "80", nil); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("Getaddrinfo: %v", err)
	}
	if err := c.Connect(t.Context(), -1, netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, errors.ErrUnsupported) && (!errors.Is(err, client.ErrRefused) || !errors.Is(err, syscall.EACCES)) {
		t.Errorf("Connect: %v", err)
	}
	if _, err := Getaddrinfo(t.Context(), &client.Dialer{Daemon: daemon}, "host.test", "80", nil); !errors.Is(err, client.ErrRefused) {
		t.Errorf("extended: %v", err)
	}
}

// The classic calls refuse selections that they cannot keep.
func TestSelection(t *testing.T) {
	ctx := client.WithSelection(t.Context(), client.SelectionProperties{}.WithInterface("a", client.Require))
	c := &Context{Daemon: absent(t)}
	for _, c := range []*Context{c, nil} {
		if _, err := c.Getaddrinfo(ctx, "localhost", "80", nil); !errors.Is(err, client.ErrNotPermitted) {
			t.Errorf("Getaddrinfo: %v", err)
		}
		if err := c.Connect(ctx, -1, netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, client.ErrNotPermitted) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Connect: %v", err)
		}
	}
	for _, hints := range []*Hints{nil, {Flags: AINumericServ}} {
		if _, err := Getaddrinfo(ctx, &client.Dialer{Daemon: absent(t)}, "localhost", "80", hints); !errors.Is(err, client.ErrNotPermitted) {
			t.Errorf("extended: %v", err)
		}
	}
}
