package live

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// patience is how long an object may take.
const patience = 5 * time.Minute

// link is a connection to a web server.
type link struct {
	net.Conn
	reader *bufio.Reader
}

func newLink(c net.Conn) *link { return &link{c, bufio.NewReaderSize(c, 64<<10)} }

// get loads so many bytes. The connection can be used again if it returns nil.
func (l *link) get(ctx context.Context, size int64) error {
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) }) // wakes what is blocked
	defer stop()
	if _, err := fmt.Fprintf(l, "GET /bytes/%d HTTP/1.1\r\nHost: server\r\n\r\n", size); err != nil {
		return err
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // read to the end
	if err == nil && (n != size || resp.StatusCode != http.StatusOK) {
		err = fmt.Errorf("status %s, %d bytes of %d", resp.Status, n, size)
	}
	return err
}
