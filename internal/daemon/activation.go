package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Handed are listening sockets that the service manager has made and passes on
// (sd_listen_fds(3)). They are told apart by the names in their socket units
// (FileDescriptorName=, systemd.socket(5)). The sockets exist before the daemon and
// stay when it ends, so that clients which come in between wait instead of failing. A
// socket that was not passed on is nil.
type Handed struct {
	Request *net.UnixListener // "request"
	Compat  *net.UnixListener // "compat"
	Control *net.UnixListener // "control"
}

// TakeHanded takes the sockets that this process was started with. Call it once. It
// returns an error for a name that is unknown or occurs twice, and for a descriptor
// that is not a Unix stream socket.
func TakeHanded() (Handed, error) { return takeHanded(activation.Files(true)) }

func takeHanded(files []*os.File) (h Handed, err error) {
	defer func() {
		for _, f := range files {
			_ = f.Close() // net.FileListener has made a copy
		}
		if err != nil {
			for _, l := range []*net.UnixListener{h.Request, h.Compat, h.Control} {
				if l != nil {
					_ = l.Close()
				}
			}
			h = Handed{}
		}
	}()
	for _, f := range files {
		to, ok := map[string]**net.UnixListener{"request": &h.Request, "compat": &h.Compat, "control": &h.Control}[f.Name()]
		switch {
		case !ok:
			return h, fmt.Errorf("socket %q was handed over: its FileDescriptorName must be request, compat or control", f.Name())
		case *to != nil:
			return h, fmt.Errorf("two sockets named %q were handed over", f.Name())
		}
		l, err := net.FileListener(f)
		if err != nil {
			return h, fmt.Errorf("socket %q was handed over: %w", f.Name(), err)
		}
		if *to, ok = l.(*net.UnixListener); !ok {
			return h, errors.Join(fmt.Errorf("socket %q was handed over: it is not a Unix stream socket", f.Name()), l.Close())
		}
	}
	return h, nil
}

// listen returns the socket that was passed on. If there is none, it makes one by
// calling own.
func listen(handed *net.UnixListener, own func() (*unixsocket.Listener, error)) (*unixsocket.Listener, error) {
	if handed != nil {
		return unixsocket.Adopt(handed), nil
	}
	return own()
}

// requestSockets are the sockets that clients connect to.
type requestSockets struct {
	path           string // path of the socket own
	own, originals *unixsocket.Listener
}

// openRequests makes the request sockets that were not passed on. The path is taken
// from flag, else from the configuration, else it is the usual one.
func openRequests(h Handed, flag string, cfg *config.Config, log *slog.Logger) (*requestSockets, error) {
	s := &requestSockets{path: SocketPath(flag, cfg.Socket)}
	if h.Request != nil {
		s.path = h.Request.Addr().String()
	}
	// Everybody who may run programs on this host may ask. The peer credentials decide
	// what each user may see.
	var err error
	if s.own, err = listen(h.Request, func() (*unixsocket.Listener, error) { return unixsocket.Listen(s.path, 0o666) }); err != nil {
		return nil, inUse(err)
	}
	if s.originals, err = listenForOriginals(h, cfg, log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// all returns the sockets that exist.
func (s *requestSockets) all() []*unixsocket.Listener {
	if s.originals == nil {
		return []*unixsocket.Listener{s.own}
	}
	return []*unixsocket.Listener{s.own, s.originals}
}

// close closes the sockets. It removes only those that openRequests made.
func (s *requestSockets) close() (err error) {
	for _, l := range s.all() {
		err = errors.Join(err, l.Close())
	}
	return err
}

// inUse adds to an error of unixsocket what the user can do about it.
func inUse(err error) error {
	if e := (*unixsocket.InUseError)(nil); errors.As(err, &e) {
		who := "another mamma"
		if e.PID != 0 {
			who = fmt.Sprintf("another mamma (pid %d)", e.PID)
		}
		return fmt.Errorf("%s: %s answers there; stop it first, or use --socket", e.Path, who)
	}
	return err
}
