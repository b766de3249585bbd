package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// hosts is how many hosts of pages there are: addresses of the service.
const hosts = 16

// servers are the services behind all networks.
type servers struct {
	Server // of the first host
	Secure Server

	plain, secure *http.Server
}

// serveHosts gives the service the addresses of the other hosts, and serves what
// it has on them, and on all of them over TLS, with a certificate made here,
// until close. Versions above 1.2 are left out: its handshake of two round trips
// is the one that the policies and the studies they come from reckon with.
// Without a session there is no shorter one.
func serveHosts(service *testbed.Server) (_ *servers, err error) {
	s := &servers{
		Server: Server{Address: netip.AddrPortFrom(service.Addr4, 80).String()},
		plain:  newServer(service.HTTP.Mux), secure: newServer(service.HTTP.Mux),
	}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	var addrs []netip.Addr
	for a := service.Addr4; len(addrs) < hosts; a = a.Next() {
		addrs = append(addrs, a)
	}
	cert, err := certificate(addrs)
	if err != nil {
		return nil, err
	}
	s.Secure = Server{Address: netip.AddrPortFrom(service.Addr4, 443).String(), Certificate: cert.Certificate[0]}
	config := &tls.Config{MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true, Certificates: []tls.Certificate{cert}}
	lo, err := service.Handle().LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("hosts of pages: %w", err)
	}
	for i, a := range addrs {
		if i > 0 {
			own := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}}
			if err := service.Handle().AddrAdd(lo, own); err != nil {
				return nil, fmt.Errorf("adding %s to the service: %w", a, err)
			}
			l, err := service.Listen("tcp", netip.AddrPortFrom(a, 80).String())
			if err != nil {
				return nil, fmt.Errorf("server of a host: %w", err)
			}
			go func() { _ = s.plain.Serve(l) }() // ends by close
		}
		l, err := service.Listen("tcp", netip.AddrPortFrom(a, 443).String())
		if err != nil {
			return nil, fmt.Errorf("TLS server: %w", err)
		}
		go func() { _ = s.secure.Serve(tls.NewListener(l, config)) }() // ends by close
	}
	return s, nil
}

func (s *servers) close() error { return errors.Join(s.plain.Close(), s.secure.Close()) }

func newServer(handler http.Handler) *http.Server {
	// Programs that give up a connection are no news.
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
}

// certificate is one for all the addresses, signed by itself.
func certificate(addrs []netip.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(7 * 24 * time.Hour)}
	for _, a := range addrs {
		about.IPAddresses = append(about.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
