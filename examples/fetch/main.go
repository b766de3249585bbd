// Fetch gets a URL over the network that the Multi Access Manager chooses, and tells
// which network that was and why.
//
//	fetch --intent category=bulktransfer,filesize=300M http://www.example.net/
//
// It shows that a program with net/http needs two lines to use intents: a client.Dialer
// as the transport's dial function, and intent.NewContext for the request's context.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

const usage = `Usage: fetch [--intent INTENTS] [--output FILE] [--socket PATH] URL

Gets URL and prints the network that was used. INTENTS is for instance
  category=bulktransfer,filesize=300M

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fetch: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var intents intent.Set
	fs := pflag.NewFlagSet("fetch", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { _, _ = fmt.Fprint(stderr, usage+fs.FlagUsagesWrapped(80)) }
	fs.Var(&intents, "intent", "what is known about the transfer")
	output := fs.String("output", "", "file to write the content to (default: it is counted only)")
	socket := fs.String("socket", "", "request socket of the manager (default: where it usually is)")
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("exactly one URL is needed; see --help")
	}
	content := io.Discard
	if *output != "" {
		f, err := os.Create(*output)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		content = f
	}

	daemon := &client.Daemon{Path: *socket}
	defer func() { _ = daemon.Close() }()
	dialer := &client.Dialer{Daemon: daemon, Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	transport := http.DefaultTransport.(*http.Transport).Clone() // keeps its proxy, time-outs and HTTP/2
	transport.DialContext = dialer.DialContext
	defer transport.CloseIdleConnections()

	var conn net.Conn // of the last request, if there are redirections
	ctx = intent.NewContext(ctx, intents)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { conn = i.Conn },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fs.Arg(0), nil)
	if err != nil {
		return err
	}
	begun := time.Now()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(content, resp.Body)
	if err != nil {
		return fmt.Errorf("reading the content: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s, %d bytes in %.1f ms\n%s", resp.Status, n, ms(time.Since(begun)), describe(conn))
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// describe says which network conn uses, and why.
func describe(conn net.Conn) string {
	info, ok := client.InfoOf(conn)
	if !ok {
		return ""
	}
	text := fmt.Sprintf("network  %s\n", network(info.Local.Addr()))
	switch {
	case info.Candidate > 0:
		text += fmt.Sprintf("chosen   alternate %d of the manager's decision\n", info.Candidate)
	case info.Candidate == 0 && !info.Source.IsValid():
		text += "chosen   by the kernel, the manager has no preference\n"
	case info.Candidate == 0:
		text += "chosen   by the manager\n"
	case info.Decided:
		text += "chosen   by the kernel, after the manager's suggestions failed\n"
	default:
		text += fmt.Sprintf("chosen   by the kernel, without the manager: %v\n", info.Err)
	}
	if info.Reason != "" {
		text += fmt.Sprintf("reason   %s\n", info.Reason)
	}
	for _, a := range info.Attempts {
		text += fmt.Sprintf("failed   %v\n", a)
	}
	return text
}

// network returns a local address with its prefix and interface, if these can be found
// out.
func network(local netip.Addr) string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return local.String()
	}
	for _, ifc := range interfaces {
		addrs, err := ifc.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && (prefix.Addr() == local || prefix.Contains(local) && local.IsLoopback()) {
				return fmt.Sprintf("%s (%s on %s)", local, prefix.Masked(), ifc.Name)
			}
		}
	}
	return local.String()
}
