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
	"sync/atomic"
	"time"
)

// patience is how long a load may take.
const patience = 90 * time.Second

// Server is where programs load from.
type Server struct {
	Address     string // and port
	Certificate []byte // its own, in DER; none: no TLS
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
	host, _, err := net.SplitHostPort(s.Address)
	return &tls.Config{RootCAs: roots, ServerName: host}, err
}

// link is a connection to a web server.
type link struct {
	net.Conn               // the TCP connection
	stream   io.ReadWriter // what HTTP goes over: the connection, or TLS on it
	reader   *bufio.Reader
}

// newLink makes one without TLS.
func newLink(c net.Conn) *link { return &link{c, c, bufio.NewReaderSize(c, 64<<10)} }

// secure makes a link with TLS, with a handshake of its own.
func secure(ctx context.Context, c net.Conn, config *tls.Config) (*link, error) {
	stream := tls.Client(c, config)
	if err := stream.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &link{c, stream, bufio.NewReaderSize(stream, 64<<10)}, nil
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

// counter counts what is written to it, if it has a number, and forgets it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	if c.n != nil {
		c.n.Add(int64(len(b)))
	}
	return len(b), nil
}
