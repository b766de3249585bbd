package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Overrides are paths of the original's files that flags override. "" keeps the path of
// the configuration, and config.Off switches the file off.
type Overrides struct {
	CompatSocket, CompatFIFO   string
	LogPrefixes, LogInterfaces string
}

func (o *Overrides) paths() []*string {
	return []*string{&o.CompatSocket, &o.CompatFIFO, &o.LogPrefixes, &o.LogInterfaces}
}

// apply changes cfg, which must not be in use yet.
func (o *Overrides) apply(cfg *config.Config) {
	if o.CompatSocket != "" {
		cfg.CompatAssumed = false
	}
	for i, to := range []*string{&cfg.CompatSocket, &cfg.CompatFIFO, &cfg.Logs.Prefixes, &cfg.Logs.Interfaces} {
		switch flag := *o.paths()[i]; flag {
		case "":
		case config.Off:
			*to = ""
		default:
			*to = flag
		}
	}
}

// listenForOriginals makes the socket for programs that were built with the original's
// library. It returns nil if no such socket is wanted. If the configuration did not ask
// for it, a failure to make it is only logged: it affects these programs only.
func listenForOriginals(h Handed, cfg *config.Config, log *slog.Logger) (*unixsocket.Listener, error) {
	switch {
	case h.Compat != nil:
		return unixsocket.Adopt(h.Compat), nil
	case cfg.CompatSocket == "":
		return nil, nil
	case cfg.CompatAssumed && h.Request != nil:
		// A service may have its own private /tmp, in which no client looks.
		log.Warn(originalsUnserved, "path", cfg.CompatSocket, "hint", "the service manager makes the sockets: enable mamma-compat.socket, too")
		return nil, nil
	}
	l, err := unixsocket.Listen(cfg.CompatSocket, 0o666)
	if err != nil && cfg.CompatAssumed {
		log.Warn(originalsUnserved, "path", cfg.CompatSocket, "err", err)
		return nil, nil
	}
	return l, inUse(err)
}

const originalsUnserved = "programs built against the original library do not reach this daemon"

// announce tells the user where clients are served, if programs of the original are
// served without a line about it in the configuration.
func (s *requestSockets) announce(out io.Writer, cfg *config.Config) error {
	if !cfg.CompatAssumed {
		return nil
	}
	where := "not at " + cfg.CompatSocket
	if s.originals != nil {
		where = "at " + s.originals.Path()
	}
	_, err := fmt.Fprintf(out, "Listening at %s, and, as the configuration is in the original grammar, %s, where programs built against the original library look.\n", s.path, where)
	return err
}

// originalsServed warns the user of a configuration in the original grammar what
// becomes of programs that were built with the original's library.
func originalsServed(cfg *config.Config) []string {
	if !cfg.CompatAssumed {
		return nil
	}
	path, who := cfg.CompatSocket, ""
	err := unixsocket.Check(path)
	if e := (*unixsocket.InUseError)(nil); errors.As(err, &e) {
		if e.PID != 0 {
			who = fmt.Sprintf(" (pid %d)", e.PID)
		}
		return []string{fmt.Sprintf("%s: programs built against the original library look at %s, where another process%s answers: they reach that one, not this daemon", cfg.File, path, who)}
	}
	if err != nil {
		return []string{fmt.Sprintf("%s: programs built against the original library look at %s, where this daemon could not listen: %v", cfg.File, path, err)}
	}
	return []string{fmt.Sprintf("%s: the file is in the original grammar, so programs built against the original library are served, too, at %s; for another path or none: set compat_socket = %q in the policy block", cfg.File, path, config.Off)}
}
