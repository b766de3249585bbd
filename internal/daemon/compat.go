package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Overrides are the paths of the original that flags name. "" leaves what the
// configuration says, config.Off switches off.
type Overrides struct {
	CompatSocket, CompatFIFO   string
	LogPrefixes, LogInterfaces string
}

func (o *Overrides) paths() []*string {
	return []*string{&o.CompatSocket, &o.CompatFIFO, &o.LogPrefixes, &o.LogInterfaces}
}

// apply changes cfg, which nobody else has yet.
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

// listenForOriginals makes the socket at which programs look that were built
// against the original's library; nil if there is none to make. Where nobody asked
// for that socket, what is in its way costs these programs this daemon, and nothing else.
func listenForOriginals(h Handed, cfg *config.Config, log *slog.Logger) (*unixsocket.Listener, error) {
	switch {
	case h.Compat != nil:
		return unixsocket.Adopt(h.Compat), nil
	case cfg.CompatSocket == "":
		return nil, nil
	case cfg.CompatAssumed && h.Request != nil:
		// A service may have a /tmp of its own, where no client looks.
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

// announce says where clients are served, if programs of the original are though the
// configuration does not say so.
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

// originalsServed tells of a configuration in the original grammar what becomes of
// programs built against the original library.
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
