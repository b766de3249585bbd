// Muacsocksd is a SOCKS proxy for programs that cannot be changed. Each of their
// connections uses the network that the Multi Access Manager chooses, by what is known
// about the connection.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/internal/proxy"
)

// version is set by the linker.
var version = ""

const usage = `Usage: muacsocksd [FLAGS]

Muacsocksd is a SOCKS 4, SOCKS 5 and HTTP proxy. Each connection takes the
network that the Multi Access Manager (mamma) chooses; without it, the host's
routes do.

  muacsocksd                         serve 127.0.0.1:9050 and [::1]:9050
  curl -x socks5h://localhost:9050 http://example.org/
  curl -x socks5h://category=bulktransfer,filesize=300M:x@localhost:9050 ...

  muacsocksd --init > socks.conf     write a file that explains every setting
  muacsocksd --check socks.conf      say what is wrong with it

Flags:
`

const usageEnd = `
Signals: HUP reads the file again; if anything is wrong with it, the old
settings stay. TERM and INT stop accepting and wait for the clients; a second
one does not wait.

Exit status: 0 after an orderly end, 1 after an error, 2 after wrong usage.
`

// Muacsocksd prints what was asked for on standard output, and the log on standard
// error. An error that ends the program is one message that starts with "muacsocksd: ".
func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type flags struct {
	proxy        proxy.Options
	log          service.LogFlags
	check        string
	init         bool
	hashPassword bool
	version      bool
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The writers clean their output, because it may quote text from outside.
	stdout, stderr = display.NewWriter(stdout), display.NewWriter(stderr)
	return service.ExitStatus("muacsocksd", stderr, do(ctx, args, stdin, stdout, stderr))
}

func do(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var f flags
	fs := service.NewFlags("muacsocksd")
	fs.StringArrayVar(&f.proxy.Listen, "listen", nil, "`address` and port to serve, may be repeated (default 127.0.0.1:9050 and [::1]:9050)")
	fs.StringVar(&f.proxy.Config, "config", "", "read `file`")
	fs.StringVar(&f.proxy.Socket, "socket", "", "`path` of mamma's request socket (default where it usually is)")
	fs.StringVar(&f.proxy.Metrics, "metrics", "", "`address` and port to serve Prometheus metrics (default nowhere)")
	f.log.AddTo(fs)
	fs.StringVar(&f.check, "check", "", "read `file`, say what is wrong with it, and exit")
	fs.BoolVar(&f.init, "init", false, "print a configuration that explains every setting, and exit")
	fs.BoolVar(&f.hashPassword, "hash-password", false, "read a password, print its hash for the users file, and exit")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	if helped, err := service.Parse(fs, args, stdout, usage, usageEnd); helped || err != nil {
		return config.SuggestFlag(err, fs)
	}
	if fs.NArg() > 0 {
		hint := "the configuration file is given with --config"
		if word := fs.Arg(0); fs.Lookup(word) != nil {
			hint = "did you mean --" + word + "?"
		}
		return service.Usage(fmt.Errorf("unexpected argument %q; %s", fs.Arg(0), hint))
	}
	if err := service.OneOf(fs, "version", "init", "hash-password", "check"); err != nil {
		return service.Usage(err)
	}
	if err := errors.Join(f.proxy.Validate(), f.log.Validate()); err != nil {
		return service.Usage(err)
	}
	switch {
	case f.version:
		_, err := fmt.Fprintln(stdout, "muacsocksd", service.Version(version))
		return err
	case f.init:
		_, err := io.WriteString(stdout, proxy.Reference)
		return err
	case f.hashPassword:
		return printHash(stdin, stdout)
	case f.check != "":
		return check(ctx, f.check, stdout)
	}
	return serve(ctx, f, stderr)
}

// untilEnd returns a context that SIGTERM and an interrupt end, too. Nothing else would
// end the wait for somebody to write to a FIFO.
func untilEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
}

func check(ctx context.Context, path string, stdout io.Writer) error {
	warnings, err := proxy.Check(ctx, path)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if _, err := fmt.Fprintf(stdout, "warning: %s: %s\n", path, w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "%s: no errors\n", path)
	return err
}

func printHash(stdin io.Reader, stdout io.Writer) error {
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" || len(password) > 255 {
		return errors.New("a password has 1 to 255 bytes (RFC 1929)")
	}
	hash, err := proxy.HashPassword(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, hash)
	return err
}

// serve runs the proxy until a signal ends it.
func serve(ctx context.Context, f flags, stderr io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// This comes before anything slow, so that an early signal does not kill the
	// process.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)

	log := service.NewLog(stderr)
	defer log.Close()
	heartbeat, err := service.Heartbeat()
	if err != nil {
		return err
	}
	f.proxy.LogLevel, f.proxy.LogFormat = f.log.Level, f.log.Format
	f.proxy.OnLog = func(level, format string) { log.Set(level, format == "json") }
	starting, started := untilEnd(ctx)
	p, err := proxy.New(starting, f.proxy, log.Logger)
	ended := starting.Err() != nil
	started()
	if ended && errors.Is(err, context.Canceled) {
		return nil // before it began
	}
	if err != nil {
		return err
	}
	if err := p.CheckManager(ctx); err != nil {
		log.Warn("no Multi Access Manager answers: the host's routes choose the network until it comes", "err", err)
	} else {
		log.Info("the Multi Access Manager chooses the network")
	}
	service.Ready()

	hurry, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx, hurry)
	}()
	if heartbeat > 0 {
		go p.Beat(heartbeat, done)
	}
	for ending := false; ; {
		select {
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && !ending:
				reloading, reloaded := untilEnd(ctx)
				service.Reload(log.Logger, func() error { return p.Reload(reloading) }, "the old settings stay")
				reloaded()
			case s != syscall.SIGHUP && !ending:
				ending = true
				service.Stopping()
				stop()
			case s != syscall.SIGHUP:
				close(hurry)
				<-done
				return nil
			}
		case <-done:
			return nil
		}
	}
}
