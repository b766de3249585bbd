// Quicfetch is a server and a client of QUIC. The server answers with the address
// that it sees; the client prints the answer. Neither knows of mamma.
//
//	quicfetch serve ADDRESS    prints a line when it serves
//	quicfetch fetch ADDRESS
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

const protocol = "address"

func main() {
	f := map[string]func(string) error{"serve": serve, "fetch": fetch}[os.Args[1]]
	if err := f(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "quicfetch:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	l, err := quic.ListenAddr(address, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{protocol},
	}, nil)
	if err != nil {
		return err
	}
	fmt.Println("serving")
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return err
		}
		go func() {
			s, err := c.OpenUniStream()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintln(s, c.RemoteAddr())
			_ = s.Close()
		}()
	}
}

func fetch(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseWithError(0, "") }()
	s, err := c.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, s)
	return err
}
