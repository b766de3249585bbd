// Mamma is the Multi Access Manager: a daemon that chooses, for every connection, which
// of the host's networks to use.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/daemon"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/policies"
)

// version is set by the linker.
var version = ""

const usage = `Usage: mamma [FLAGS] [POLICY.CONF]

Mamma picks, for every connection, which of this host's networks to use. It
answers programs over a Unix socket. Without POLICY.CONF it manages every
network that has a default route.

  mamma                          run with the automatic configuration
  mamma --init > policy.conf     write a file to start from
  mamma --check policy.conf      print what is wrong with this file
  mamma policy.conf              run with this file

Flags:
`

const usageEnd = `
Signals: HUP reads the file again; if anything in it is wrong, the old
configuration stays. USR1 writes the state to standard output. TERM and INT
stop.

Exit status: 0 after an orderly end, 1 after an error, 2 after wrong usage.
`

// Mamma prints what was asked for on standard output, and the log on standard error. An
// error that ends the program is one message that starts with "mamma: ".
func main() {
	spareProcessor()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// spareProcessor lets one goroutine more run at a time than the host has processors,
// unless the environment sets the number. Reading thousands of sockets takes
// milliseconds within single system calls. Meanwhile Go takes long to notice that a
// processor could serve requests.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

type flags struct {
	socket, control string
	original        daemon.Overrides
	log             service.LogFlags
	check           string
	convert         string
	init            bool
	version         bool
	trace           bool
	profiling       bool
}

// instead names the flag that makes mamma do something else than run; "" if there is
// none.
func (f *flags) instead() string {
	switch {
	case f.version:
		return "--version"
	case f.check != "":
		return "--check"
	case f.convert != "":
		return "--convert"
	case f.init:
		return "--init"
	}
	return ""
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	// The writers clean their output, because it may quote text from outside.
	stdout, stderr = display.NewWriter(stdout), display.NewWriter(stderr)
	return service.ExitStatus("mamma", stderr, do(ctx, args, stdout, stderr))
}

func do(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var f flags
	fs := service.NewFlags("mamma")
	fs.StringVar(&f.socket, "socket", "", "`path` of the request socket (default "+daemon.SocketPath("", "")+")")
	fs.StringVar(&f.control, "control", "", "`path` of the control socket (default control.sock beside it)")
	fs.StringVar(&f.original.CompatSocket, "compat-socket", "", "`path` of a second request socket, for programs of the Socket Intents prototype (default: "+config.OriginalSocket+" with a configuration in its grammar), or off")
	fs.StringVar(&f.original.CompatFIFO, "compat-fifo", "", "`path` of a FIFO that takes run-time configuration, as /tmp/mam_config_fifo did, or off")
	fs.StringVar(&f.original.LogPrefixes, "log-prefixes", "", "`file` for the measurement log of prefixes in the Socket Intents prototype's format, or off")
	fs.StringVar(&f.original.LogInterfaces, "log-interfaces", "", "`file` for the measurement log of interfaces in the Socket Intents prototype's format, or off")
	f.log.AddTo(fs)
	fs.BoolVar(&f.trace, "trace-protocol", false, "log every request and answer, decoded, at debug level")
	fs.BoolVar(&f.profiling, "profiling", false, "let root and mamma's user take profiles (mammactl profile)")
	fs.StringVar(&f.check, "check", "", "read `file`, print what is wrong with it, and exit")
	fs.StringVar(&f.convert, "convert", "", "print `file`, a configuration of the Socket Intents prototype, as HCL, and exit")
	fs.BoolVar(&f.init, "init", false, "print a configuration for this host to start from, and exit")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	if helped, err := service.Parse(fs, args, stdout, usage, usageEnd); helped || err != nil {
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && slices.Contains([]string{"config", "conf", "file", "f"}, unknown.GetSpecifiedName()) {
			return service.Usage(fmt.Errorf("%w; the configuration file is named without a flag: mamma policy.conf", err))
		}
		return config.SuggestFlag(err, fs)
	}
	if err := service.OneOf(fs, "version", "check", "convert", "init"); err != nil {
		return service.Usage(err)
	}
	if instead := f.instead(); instead != "" && fs.NArg() > 0 {
		return service.Usage(fmt.Errorf("%s takes no further argument, but there is %q", instead, fs.Arg(0)))
	}
	var path string
	switch fs.NArg() {
	case 0:
	case 1:
		path = fs.Arg(0)
		if hint := instead(path); hint != "" {
			return service.Usage(fmt.Errorf("there is no file %q; %s", path, hint))
		}
	default:
		if hint := instead(fs.Arg(0)); hint != "" {
			return service.Usage(fmt.Errorf("%d arguments, but at most one configuration file is taken; %s", fs.NArg(), hint))
		}
		return service.Usage(fmt.Errorf("one configuration file at most, not %d arguments", fs.NArg()))
	}
	if err := f.log.Validate(); err != nil {
		return service.Usage(err)
	}
	if f.trace && f.log.Level == "" {
		f.log.Level = "debug" // Trace logs at debug level
	}
	switch {
	case f.version:
		_, err := fmt.Fprintln(stdout, "mamma", service.Version(version))
		return err
	case f.check != "":
		return check(ctx, f.check, stdout)
	case f.convert != "":
		return convert(ctx, f.convert, stdout)
	case f.init:
		return initial(stdout)
	}
	return serve(ctx, path, f, stdout, stderr)
}

// instead guesses what was meant by a word in place of a configuration file, from the
// habits of other programs. It returns "" if a file with that name exists, or if there
// is nothing to guess.
func instead(word string) string {
	if _, err := os.Lstat(word); err == nil {
		return ""
	}
	switch word {
	case "check", "convert", "init", "version", "help":
		return fmt.Sprintf("did you mean --%s?", word)
	case "run", "start", "serve":
		return "mamma runs without being told so: leave the word out"
	case "status", "prefixes", "interfaces", "policy", "explain", "decisions", "watch", "replay", "set", "reload", "doctor":
		return fmt.Sprintf("did you mean mammactl %s?", word)
	case "stop", "restart":
		return fmt.Sprintf("did you mean systemctl %s mamma?", word)
	}
	return ""
}

func check(ctx context.Context, path string, stdout io.Writer) error {
	warnings, err := daemon.Check(ctx, path, policies.All())
	for _, w := range warnings {
		if _, err := fmt.Fprintf(stdout, "warning: %s\n", w); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: no errors\n", path)
	return err
}

func convert(ctx context.Context, path string, stdout io.Writer) error {
	cfg, err := config.Load(ctx, path)
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, config.Convert(cfg))
	return err
}

func initial(stdout io.Writer) error {
	text, err := daemon.Init()
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// serve runs the daemon until a signal ends it.
func serve(ctx context.Context, path string, f flags, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	// This comes before anything slow, so that an early signal does not kill the
	// process.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)

	log := service.NewLog(stderr)
	defer log.Close()
	stdout = log.Spool.Writer(stdout)

	if path == "" {
		_, _ = fmt.Fprintf(stdout, "No configuration given: managing every network that has a default route (policy %q). \"mamma --init\" writes a file to start from.\n", config.Auto().Policy.Name)
	}
	log.Set(f.log.Level, f.log.Format == "json")
	handed, err := daemon.TakeHanded()
	if err != nil {
		return err
	}
	heartbeat, err := service.Heartbeat()
	if err != nil {
		return err
	}
	d, err := daemon.New(ctx, daemon.Options{
		Policies:   policies.All(),
		ConfigPath: path, Socket: f.socket, Control: f.control, Overrides: f.original, Stdout: stdout, Log: log.Logger, Trace: f.trace, Profiling: f.profiling, Version: service.Version(version),
		OnConfig: func(cfg *config.Config) {
			log.Set(cmp.Or(f.log.Level, cfg.Log.Level.String()), cmp.Or(f.log.Format, cfg.Log.Format.String()) == "json")
		},
		OnReady: service.Ready, OnAlive: service.Alive, Handed: handed, Heartbeat: heartbeat,
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // ended before it began
	}
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				service.Reload(log.Logger, func() error { return d.Reload(ctx) }, "the old state keeps running")
			} else if err := d.Dump(stdout); err != nil {
				log.Error("state not written", "err", err)
			}
		case err := <-done:
			service.Stopping()
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}
