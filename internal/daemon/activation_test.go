package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// handed makes a descriptor as the service manager does.
func handed(t *testing.T, name, network, address string) *os.File {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if ul, ok := l.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), name)
}

func TestTakeHanded(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	h, err := takeHanded([]*os.File{handed(t, "control", "unix", path("c")), handed(t, "request", "unix", path("r"))})
	if err != nil {
		t.Fatal(err)
	}
	if h.Compat != nil || h.Request.Addr().String() != path("r") || h.Control.Addr().String() != path("c") {
		t.Errorf("got %+v", h)
	}
	l, err := listen(h.Request, func() (*unixsocket.Listener, error) { t.Fatal("made another one"); return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path("r")); err != nil {
		t.Errorf("the service manager's socket was removed: %v", err)
	}
	_ = h.Control.Close()

	for _, tt := range []struct {
		name, want string
		files      []*os.File
	}{
		{"unknown name", "must be request, compat or control", []*os.File{handed(t, "http", "unix", path("u"))}},
		{"twice", `two sockets named "request"`, []*os.File{handed(t, "request", "unix", path("t1")), handed(t, "request", "unix", path("t2"))}},
		{"TCP", "not a Unix stream socket", []*os.File{handed(t, "request", "tcp", "127.0.0.1:0")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := takeHanded(tt.files); err == nil || !strings.Contains(err.Error(), tt.want) || h != (Handed{}) {
				t.Errorf("%+v, %v; want an error with %q", h, err, tt.want)
			}
		})
	}
}
