// Http3 downloads a URL over HTTP/3, on the network that the Multi Access Manager chooses.
// When that network fails, the download goes on over another one.
//
//	http3 --intent category=bulktransfer,filesize=50M https://www.example.net/image.iso
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/quicintent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "http3: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var intents intent.Set
	fs := flag.NewFlagSet("http3", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = fmt.Fprint(stderr, "Usage: http3 [--intent INTENTS] [--ca FILE] [--socket PATH] [--better] URL\n")
		fs.PrintDefaults()
	}
	fs.Var(&intents, "intent", "what is known about the transfer, such as category=bulktransfer,filesize=50M")
	ca := fs.String("ca", "", "file with certificates to trust (default: the system's)")
	socket := fs.String("socket", "", "request socket of the manager (default: where it usually is)")
	better := fs.Bool("better", false, "move to a network that has become better, too")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("exactly one URL is needed; see --help")
	}
	conf := &tls.Config{}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificates", *ca)
		}
	}

	daemon := &client.Daemon{Path: *socket}
	defer func() { _ = daemon.Close() }()
	dialer := &quicintent.Dialer{
		Client: &client.Dialer{Daemon: daemon, Intents: intents}, MoveToBetter: *better,
		OnMove: func(_ *quic.Conn, m quicintent.Move) { _, _ = fmt.Fprintln(stdout, m) },
	}
	transport := &quicintent.RoundTripper{Dialer: dialer, TLSClientConfig: conf}
	defer func() { _ = transport.Close() }()

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
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, resp.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	_, err = fmt.Fprintf(stdout, "%d bytes by %s in %.1f s, sha256 %x\n", n, resp.Proto, time.Since(begun).Seconds(), hash.Sum(nil))
	return err
}
