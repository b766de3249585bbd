package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/testbed"
)

// The services behind all networks.
const (
	plainServer  = "192.0.2.1:80"
	secureServer = "192.0.2.1:443"
)

// serveTLS serves what the service has over TLS, with a certificate made here,
// until the returned server is closed. Versions above 1.2 are left out: its
// handshake of two round trips is the one that the policies and the studies they
// come from reckon with. Without a session there is no shorter one.
func serveTLS(service *testbed.Namespace, handler http.Handler) (*http.Server, Server, error) {
	addr := netip.MustParseAddrPort(secureServer)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Server{}, err
	}
	now := time.Now()
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(7 * 24 * time.Hour),
		IPAddresses: []net.IP{addr.Addr().AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return nil, Server{}, err
	}
	l, err := service.Listen("tcp", addr.String())
	if err != nil {
		return nil, Server{}, fmt.Errorf("TLS server: %w", err)
	}
	config := &tls.Config{MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	// Programs that give up a connection are no news.
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(tls.NewListener(l, config)) }() // ends by Close
	return s, Server{Address: secureServer, Certificate: der}, nil
}
