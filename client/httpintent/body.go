package httpintent

import (
	"errors"
	"io"
	"net/http"
)

// follow ends the exchange and learns the size of the response, once the response's
// body is read or closed.
func (t *Transport) follow(resp *http.Response, x *exchange, pattern string) {
	if resp.ProtoMajor == 2 {
		x.multiplexed()
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 || resp.Request.Method == http.MethodHead {
		pattern = ""
	}
	if resp.ContentLength >= 0 {
		t.sizes.learn(pattern, resp.ContentLength)
		pattern = ""
	}
	// A connection that changes its protocol may be written to, and may outlive the
	// exchange. Its body is not wrapped.
	if resp.Body == nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
		x.finish()
		return
	}
	resp.Body = &body{ReadCloser: resp.Body, exchange: x, pattern: pattern}
}

// body counts the bytes that are read of a response.
type body struct {
	io.ReadCloser
	exchange *exchange
	pattern  string // pattern that the size is learnt for; "": none
	size     int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.size += int64(n)
	if err != nil {
		if errors.Is(err, io.EOF) && b.pattern != "" {
			b.exchange.transport.sizes.learn(b.pattern, b.size)
			b.pattern = ""
		}
		b.exchange.finish()
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.exchange.finish()
	return err
}
