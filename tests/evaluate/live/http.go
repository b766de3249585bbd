package live

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/client"
)

// patience is how long a load may take.
const patience = 90 * time.Second

// Server is where programs load from.
type Server struct {
	Address     string // and port, of the first host
	Certificate []byte // its own, in DER; none: no TLS
}

// host is the address and port of a host of a page; 0 is the server's own, the
// others' addresses follow it.
func (s Server) host(n int) (string, error) {
	a, err := netip.ParseAddrPort(s.Address)
	if err != nil {
		return "", fmt.Errorf("address of the server: %w", err)
	}
	addr := a.Addr()
	for range n {
		addr = addr.Next()
	}
	return netip.AddrPortFrom(addr, a.Port()).String(), nil
}

// config is what a program needs for TLS, nil if there is none.
func (s Server) config() (*tls.Config, error) {
	if len(s.Certificate) == 0 {
		return nil, nil
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate of the server: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots}, nil
}

// link is a connection to a web server.
type link struct {
	net.Conn               // the TCP connection, a *client.Conn if it is a pool's
	stream   io.ReadWriter // what HTTP goes over: the connection, or TLS on it
	reader   *bufio.Reader

	// How its present user got it.
	reused  bool
	decided bool          // by a daemon
	took    time.Duration // since there was room for it
}

func newLink(c net.Conn) *link {
	l := &link{Conn: c}
	l.over(c)
	return l
}

func (l *link) over(stream io.ReadWriter) {
	l.stream, l.reader = stream, bufio.NewReaderSize(stream, 64<<10)
}

// secure puts TLS on the connection, with a handshake of its own.
func (l *link) secure(ctx context.Context, config *tls.Config) error {
	host, _, err := net.SplitHostPort(l.RemoteAddr().String())
	if err != nil {
		return err
	}
	config = config.Clone()
	config.ServerName = host
	stream := tls.Client(l.Conn, config)
	l.over(stream)
	return stream.HandshakeContext(ctx)
}

// release ends the use of the connection; a pool's may then be used again.
func (l *link) release() error {
	if s, ok := l.Conn.(*client.Conn); ok {
		return s.Release()
	}
	return l.Close()
}

// get loads so many bytes, and counts them in loaded as they come, if it is not
// nil. The connection can be used again if get returns nil.
func (l *link) get(ctx context.Context, size int64, loaded *atomic.Int64) error {
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) }) // wakes what is blocked
	defer stop()
	if _, err := fmt.Fprintf(l.stream, "GET /bytes/%d HTTP/1.1\r\nHost: server\r\n\r\n", size); err != nil {
		return err
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(counter{loaded}, resp.Body)
	_ = resp.Body.Close() // read to the end
	if err == nil && (n != size || resp.StatusCode != http.StatusOK) {
		err = fmt.Errorf("status %s, %d bytes of %d", resp.Status, n, size)
	}
	return err
}

// counter drops the bytes that are written to it. If n is set, it adds their count to
// n.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	if c.n != nil {
		c.n.Add(int64(len(b)))
	}
	return len(b), nil
}
