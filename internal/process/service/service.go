// Package service has what both daemons need as programs: flags for the log, exit
// statuses, errors for people, and the conversation with the service manager.
package service

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	StatusOK    = 0
	StatusError = 1
	StatusUsage = 2 // the command line is wrong
)

// ExitStatus writes err, the error that ended the program, to stderr. It returns the
// exit status. After an error of Usage it also writes a hint.
func ExitStatus(program string, stderr io.Writer, err error) int {
	if err == nil {
		return StatusOK
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", program, err)
	var usage usageError
	if errors.As(err, &usage) {
		_, _ = fmt.Fprintf(stderr, "Try \"%s --help\".\n", program)
		return StatusUsage
	}
	return StatusError
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks err as a mistake in the command line; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// plainSwitch hides the method by which pflag finds that a flag may have a value, as in
// --init=true. The help then shows the flag alone.
type plainSwitch struct{ pflag.Value }

// PlainSwitches changes the flags of fs that need no value, so that the help shows them
// without one.
func PlainSwitches(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "bool" {
			f.Value = plainSwitch{f.Value}
		}
	})
}

// OneOf returns an error if more than one of the named flags was given, because each of
// them asks for something else.
func OneOf(fs *pflag.FlagSet, names ...string) error {
	var given []string
	for _, name := range names {
		if fs.Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("one at a time: %s", strings.Join(given, ", "))
	}
	return nil
}

// HelpWidth is the number of columns of a program's help. Few terminals are narrower.
const HelpWidth = 80

// FlagHelp returns the part of a program's help that describes its flags.
func FlagHelp(fs *pflag.FlagSet) string {
	PlainSwitches(fs)
	return fs.FlagUsagesWrapped(HelpWidth)
}

// LogFlags are the flags for the log. If a flag is empty, the configuration decides.
type LogFlags struct {
	Level  string // as slog.Level has it
	Format string // text or json
}

// AddTo defines the flags.
func (f *LogFlags) AddTo(fs *pflag.FlagSet) {
	fs.StringVar(&f.Level, "log-level", "", "`level`: debug, info, warn or error (default info)")
	fs.StringVar(&f.Format, "log-format", "", "`form`: text or json (default text)")
}

// Validate checks the values of the flags.
func (f *LogFlags) Validate() error {
	var level slog.Level
	if f.Level != "" && level.UnmarshalText([]byte(f.Level)) != nil {
		return fmt.Errorf("--log-level must be debug, info, warn or error, not %q", f.Level)
	}
	if f.Format != "" && f.Format != "text" && f.Format != "json" {
		return fmt.Errorf("--log-format must be text or json, not %q", f.Format)
	}
	return nil
}

// Version returns linked, which the linker has set, or else the version that the
// toolchain recorded.
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// Ready, Stopping and Alive report to the service manager (sd_notify(3)). Without a
// service manager they do nothing. If the service manager does not read, they give up
// after a second.
func Ready()    { report(sd.SdNotifyReady) }
func Stopping() { report(sd.SdNotifyStopping) }
func Alive()    { report(sd.SdNotifyWatchdog) }

// reportTime limits how long a report takes. The queue of the service manager's socket
// holds some hundred messages, or ten if nobody has raised net.unix.max_dgram_qlen.
// Once the queue is full, a report would wait for ever.
const reportTime = time.Second

// report is SdNotify of go-systemd with a time limit.
func report(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetWriteDeadline(time.Now().Add(reportTime))
	_, _ = io.WriteString(c, state)
}

// Heartbeat returns how often the service manager wants Alive to be called, 0 for
// never. It is half of the service manager's limit, as sd_watchdog_enabled(3)
// recommends.
func Heartbeat() (time.Duration, error) {
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("service manager's watchdog: %w", err)
	}
	return limit / 2, nil
}

// Messages about reloads.
const reloaded, notReloaded = "reloaded", "not reloaded; "

// Reload calls reload, which reads the configuration again, reports the reload to the
// service manager, and logs the result. kept is the text about what keeps running
// after an error.
func Reload(log *slog.Logger, reload func() error, kept string) {
	report(sd.SdNotifyReloading)
	if err := reload(); err != nil {
		log.Error(notReloaded+kept, "err", err)
	} else {
		log.Info(reloaded)
	}
	Ready()
}
