//go:build linux

// Addrinfo shows what the extended getaddrinfo returns for a host's web server:
// addresses, each with the local address to bind to, the protocol, and the options for
// a socket. Unless -n is given, it then connects to the first address that works.
//
//	addrinfo -C bulktransfer localhost
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client/bsd"
	"github.com/socket-intents/mamma/intent"
)

func main() {
	category := pflag.StringP("category", "C", "", "query, bulktransfer, controltraffic, keepalives, stream")
	noConnect := pflag.BoolP("no-connect", "n", false, "do not connect")
	service := pflag.StringP("port", "p", "80", "service or port")
	pflag.Parse()
	var intents intent.Set
	var err error
	if *category != "" {
		intents, err = intent.Parse("category=" + *category)
	}
	if err == nil && pflag.NArg() != 1 {
		err = errors.New("exactly one host is needed; see --help")
	}
	if err == nil {
		err = show(context.Background(), pflag.Arg(0), *service, intents, !*noConnect)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "addrinfo:", err)
		os.Exit(1)
	}
}

func show(ctx context.Context, host, service string, intents intent.Set, connect bool) error {
	list, err := bsd.Getaddrinfo(ctx, nil, host, service, &bsd.Hints{Intents: intents})
	if err != nil {
		return err
	}
	for _, a := range list {
		from := "any address"
		if a.Bind.IsValid() {
			from = a.Bind.String()
		}
		fmt.Printf("%v from %s, protocol %d, %d options\n", a.Addr, from, a.Protocol, len(a.Options))
	}
	if !connect {
		return nil
	}
	var failed []error
	for _, a := range list {
		fd, err := a.Socket()
		if err != nil {
			return err
		}
		err = a.SimpleConnect(fd)
		_ = unix.Close(fd)
		if err == nil {
			fmt.Println("connected to", a.Addr)
			return nil
		}
		failed = append(failed, fmt.Errorf("%v: %w", a.Addr, err))
	}
	return errors.Join(failed...)
}
