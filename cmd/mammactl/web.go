package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/operator/web"
)

const webHelp = `
Serves a page for a browser of this host, until it is interrupted, and prints the
link to it: the networks with what they did in the last ten minutes, decisions as they
are made, with the candidates that the policy compared, budgets, programs, scopes,
Multipath TCP, and what doctor finds.

The page is at 127.0.0.1, at a port that is free or the one given with --port. The link
has a token: whoever has the link sees what you may see. Nothing is changed from the
page unless --allow-changes is given: then it can set and reload, if you may.

--open opens the page in your browser by xdg-open, in such a way that the list of
processes does not show the token. To look from elsewhere, forward the port:
ssh -L 8080:127.0.0.1:8080 HOST mammactl web --port 8080.

The page waits for a mamma that is not there, as when it is started anew.`

func (a *app) webCommand() *cobra.Command {
	var port uint16
	var open, changes bool
	var handed uint
	cmd := a.command("web [--open] [--port PORT] [--allow-changes]", "Show networks and decisions in a browser", webHelp,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			a.endless = true
			if _, err := c.Get(ctx, "/v1/status", new(control.Status)); err != nil {
				if !errors.As(err, new(*control.NotRunningError)) {
					return err
				}
				a.tell(cleanLines(err.Error()) + "\nmammactl: the page waits for it")
			}
			o := web.Options{
				Client: c, AllowChanges: changes, Runs: a.runs,
				Doctor: func(ctx context.Context) (doctor.Report, error) { return a.quietly().examine(ctx, "") },
			}
			s, err := listenWeb(port, handed, o)
			if err != nil {
				return err
			}
			return a.serveWeb(ctx, s, open)
		})
	f := cmd.Flags()
	f.BoolVar(&open, "open", false, "open the page in your browser")
	f.Uint16Var(&port, "port", 0, "the `port` to serve at (default: one that is free)")
	f.BoolVar(&changes, "allow-changes", false, "let the page set and reload, as far as you may")
	f.UintVar(&handed, "listener", 0, "number of a descriptor that listens already")
	_ = f.MarkHidden("listener")
	_ = cmd.RegisterFlagCompletionFunc("port", cobra.NoFileCompletions) // fails for unknown flags only
	cmd.Example = `  mammactl web --open
  mammactl web --port 8080`
	return cmd
}

// listenWeb listens at the port, or takes the listener that was handed over: whoever starts
// mammactl in a network namespace of its own can have the page seen from outside.
func listenWeb(port uint16, handed uint, o web.Options) (*web.Server, error) {
	if handed == 0 {
		return web.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), o)
	}
	file := os.NewFile(uintptr(handed), "listener")
	if file == nil {
		return nil, fmt.Errorf("%d is not a descriptor", handed)
	}
	l, err := net.FileListener(file)
	_ = file.Close() // l has one of its own
	if err != nil {
		return nil, fmt.Errorf("take the listener: %w", err)
	}
	return web.At(l, o)
}

// quietly returns a copy of a that writes no messages to the terminal, because nobody
// waits there.
func (a *app) quietly() *app {
	b := *a
	b.err = nobody{}
	return &b
}

type nobody struct{}

func (nobody) Write(b []byte) (int, error) { return len(b), nil }

// serveWeb prints the link, opens it if that is wanted, and serves.
func (a *app) serveWeb(ctx context.Context, s *web.Server, open bool) error {
	if err := a.printLink(s.Link()); err != nil {
		return errors.Join(err, s.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx) })
	if open {
		g.Go(func() error {
			if err := a.openLink(ctx, s.Link()); err != nil && ctx.Err() == nil {
				a.tell(fmt.Sprintf("%s; open the link yourself", clean(err.Error())))
			}
			return nil
		})
	}
	return g.Wait()
}

func (a *app) printLink(link string) error {
	if a.json {
		return a.printf("{\"url\":%q}\n", link) // has no characters that JSON writes otherwise
	}
	return a.printf("%s\n", link)
}

// openLink has the user's browser open the link. Everybody can read the arguments of a
// process, and the link must not be among them: the browser is given a file that only the
// user can read, and that leads on.
func (a *app) openLink(ctx context.Context, link string) (err error) {
	dir, err := os.MkdirTemp(a.getenv("XDG_RUNTIME_DIR"), "mammactl-web-") // mode 0700
	if err != nil {
		return fmt.Errorf("open the browser: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	page := filepath.Join(dir, "mamma.html")
	text := fmt.Sprintf("<!DOCTYPE html><meta charset=\"utf-8\"><title>mamma</title><meta http-equiv=\"refresh\" content=\"0; url=%[1]s\"><a href=\"%[1]s\">mamma</a>\n", html.EscapeString(link))
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		return fmt.Errorf("open the browser: %w", err)
	}
	cmd := exec.CommandContext(ctx, "xdg-open", page)
	if said, err := cmd.CombinedOutput(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("xdg-open: %w: %s", err, firstLine(string(said)))
	}
	<-ctx.Done() // xdg-open returns before the browser has read the file
	return nil
}
