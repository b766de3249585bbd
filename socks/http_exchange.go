package socks

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Reasons why an exchange fails.
var (
	errServerClosed = errors.New("the server closed the connection without an answer")
	errStale        = errors.New("the server had closed the connection that was kept") // no part of an answer had come
	errClientBody   = errors.New("read the request's body")
)

// plain serves a request in absolute form. It tells whether the client may send another
// request.
func (h *httpClient) plain(req *httpRequest, ss *Session) (more bool) {
	authority, target, err := req.absolute()
	if err == nil {
		ss.Request.Dest, err = parseHostPort(authority, "80")
	}
	if err == nil {
		err = ss.allow(ss.context(h.s.ctx))
	}
	if err != nil {
		return h.refuse(req, ss, err)
	}
	if limit, ok := req.get("Max-Forwards"); ok && string(limit) == "0" && (req.method == http.MethodTrace || req.method == http.MethodOptions) {
		return h.lastHop(req, ss)
	}
	h.out = req.appendTo(h.out[:0], authority, target, h.cfg.PrivateHeaders, h.cfg.Via)
	for again := false; ; again = true {
		u, err := h.serverFor(ss, again)
		if errors.Is(err, errLeft) {
			h.cfg.Hooks.Ended(ss, err)
			return false
		}
		if err != nil {
			return h.refuse(req, ss, err)
		}
		x := exchange{h: h, u: u, req: req}
		err = x.run()
		switch {
		case err == nil && x.reuse && x.keep:
			h.keep(u)
			return true
		case err == nil && x.keep:
			u.close(nil)
			return true
		case err == nil:
			h.part(req, func() { u.close(nil) })
			return false
		case errors.Is(err, errStale) && req.repeatable() && !again:
			u.close(nil)
			continue
		}
		u.close(err)
		x.fail(err)
		return false
	}
}

// refuse answers a request that cannot be passed on to a server.
func (h *httpClient) refuse(req *httpRequest, ss *Session, err error) (more bool) {
	h.cfg.Hooks.Ended(ss, err)
	keep := req.keep && req.body.empty()
	status, text := refusal(err)
	h.answer(status, text, &keep, "")
	if !keep {
		h.farewell()
	}
	return keep
}

// lastHop answers a request that must not be passed on further, because its
// Max-Forwards is 0 (RFC 9110 section 7.6.2).
func (h *httpClient) lastHop(req *httpRequest, ss *Session) (more bool) {
	keep := req.keep && req.body.empty()
	var body []byte
	kind := ""
	if req.method == http.MethodTrace { // RFC 9110 section 9.3.8: the answer leaves secrets out
		body = fmt.Appendf(nil, "%s %s HTTP/1.1\r\n", req.method, req.target)
		for _, f := range req.fields {
			if !f.is("Proxy-Authorization") && !f.is("Authorization") && !f.is("Cookie") {
				body = f.appendTo(body)
			}
		}
		body, kind = append(body, "\r\n"...), "Content-Type: message/http\r\n"
	}
	b := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n", kind, len(body))
	if !keep {
		b = append(b, "Connection: close\r\n"...)
	}
	_ = h.write(append(append(b, "\r\n"...), body...))
	h.cfg.Hooks.Ended(ss, nil)
	if !keep {
		h.farewell()
	}
	return keep
}

// exchange is one request and its response.
type exchange struct {
	h   *httpClient
	u   *upstream
	req *httpRequest

	sending  chan error // gets the result of sending the rest of the body; nil if there is no rest
	answered bool       // some of the response has gone to the client
	body     httpBody   // the response's body
	keep     bool       // the client's connection stays open
	reuse    bool       // the server's connection stays open
}

// run passes the request on to the server, and the response back to the client.
func (x *exchange) run() error {
	h, u := x.h, x.u
	err := x.sendRequest()
	if !u.told { // told now, because nobody waits for us until the answer comes
		u.told = true
		h.cfg.Hooks.Established(u.ss)
	}
	if err != nil && !x.mayAnswer(err) {
		return x.ended(err)
	}
	var resp *httpResponse
	for {
		if resp, err = x.readHead(); err != nil {
			return x.ended(err)
		}
		if resp.status >= 200 || resp.status == http.StatusSwitchingProtocols {
			break
		}
		if !x.req.old { // RFC 9110 section 15.2
			if err := h.write(resp.appendTo(nil, false, true, h.cfg.Via)); err != nil {
				return x.ended(err)
			}
		}
	}
	if resp.status == http.StatusSwitchingProtocols {
		return x.upgraded(resp)
	}
	x.body = resp.body
	x.reuse = resp.keep && !x.req.body.ambiguous
	x.keep = x.req.keep && !resp.body.toEnd && !resp.body.ambiguous && (!x.req.old || !resp.body.chunked)
	return x.ended(x.sendResponse(resp))
}

// readHead reads the status line and the header of the next response. If that takes
// long, it watches whether the client leaves.
func (x *exchange) readHead() (resp *httpResponse, err error) {
	h, u := x.h, x.u
	if x.sending != nil || len(u.in.ahead()) > 0 {
		return u.head(x.req.method)
	}
	begun, err := h.watched(u.late, func() { _ = u.conn.SetReadDeadline(time.Unix(1, 0)) }, func(watched bool) error {
		if watched && u.in.renewed.IsZero() {
			u.in.idle = 0 // late sets the deadline
			defer func() { u.in.idle = h.cfg.Idle }()
		}
		var err error
		resp, err = u.head(x.req.method)
		return err
	})
	if !begun.IsZero() {
		u.in.renewed = begun
	}
	return resp, err
}

// mayAnswer tells whether to look for an answer although sending the request failed. A
// server may have answered, with its reasons, before it stopped reading.
func (x *exchange) mayAnswer(err error) bool { return !errors.Is(err, errClientBody) && !x.u.reused }

// sendRequest sends the header with as much of the body as has been read. A goroutine
// sends the rest while the response is awaited.
func (x *exchange) sendRequest() error {
	in := &x.h.in
	if x.req.body.empty() {
		return x.u.write(x.h.out)
	}
	b := &bodyReader{in: in, body: x.req.body, chunks: chunkScanner{strict: true}}
	n, err := b.next()
	if err != nil {
		return fmt.Errorf("%w: %w", errClientBody, err)
	}
	x.h.out = append(x.h.out, in.ahead()[:n]...)
	in.take(n)
	err = x.u.write(x.h.out)
	if !b.done {
		x.u.lasting()
		x.sending = make(chan error, 1)
		go func() { x.sending <- x.sendBody(b) }()
	}
	return err
}

// sendBody sends the rest of the request's body.
func (x *exchange) sendBody(b *bodyReader) error {
	for !b.done {
		if len(b.in.ahead()) == 0 {
			if _, err := b.in.fill(); err != nil {
				_ = x.u.conn.SetReadDeadline(time.Unix(1, 0)) // the answer is of no use any more
				return fmt.Errorf("%w: %w", errClientBody, unexpected(err))
			}
		}
		n, err := b.next()
		if n > 0 {
			if err := x.u.write(b.in.ahead()[:n]); err != nil {
				return err // the server may have answered
			}
			b.in.take(n)
		}
		if err != nil {
			_ = x.u.conn.SetReadDeadline(time.Unix(1, 0))
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
	return nil
}

// unexpected returns err, or io.ErrUnexpectedEOF in place of io.EOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ended ends an exchange whose result is err. If the body is still being sent, ended
// stops that. Neither connection can then be used again.
func (x *exchange) ended(err error) error {
	if x.sending == nil {
		return x.why(err)
	}
	select {
	case sent := <-x.sending:
		if errors.Is(sent, errClientBody) && !x.answered {
			return sent
		}
		if sent == nil {
			return x.why(err)
		}
	default:
		_ = x.h.SetReadDeadline(time.Unix(1, 0))
		_ = x.u.conn.SetWriteDeadline(time.Unix(1, 0))
		sent := <-x.sending
		x.h.in.renewed, x.h.kept, x.u.written = time.Time{}, time.Time{}, time.Time{}
		if errors.Is(sent, errClientBody) && !x.answered && !isTimeout(sent) {
			return sent
		}
	}
	x.keep, x.reuse = false, false
	return x.why(err)
}

// why tells apart a server that gave no answer and a kept connection that the server
// had closed before.
func (x *exchange) why(err error) error {
	switch {
	case err == nil || x.answered || errors.Is(err, errLeft) || errors.Is(err, errClientBody):
		return err
	case x.u.reused && len(x.u.in.ahead()) == 0 && !isTimeout(err):
		return fmt.Errorf("%w: %w", errStale, err)
	case errors.Is(err, io.EOF):
		return errServerClosed
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// fail tells the client that the exchange failed, as far as HTTP allows.
func (x *exchange) fail(err error) {
	h := x.h
	switch {
	case errors.Is(err, errLeft):
	case x.answered && x.body.toEnd:
		// The body ends with the connection, so only a reset shows that it is not
		// complete. The reset must come after the data.
		h.awaitAcknowledged()
		reset(h.conn)
	case x.answered:
		h.farewell() // the client sees that the body is shorter than announced
	case errors.Is(err, errStale):
		// The client's connection was kept, too. If the proxy closes it without an
		// answer, the client decides whether to send again, as it would if it had a
		// connection to the server.
	case errors.Is(err, errClientBody) && requestStatus(err) == 0: // the client has left
	case errors.Is(err, errClientBody):
		h.answer(http.StatusBadRequest, err.Error(), nil, "")
		h.farewell()
	default:
		status, text := refusal(err)
		h.answer(status, text, nil, "")
		h.farewell()
	}
}

// awaitAcknowledged waits until the client's kernel has received everything that was
// written.
func (h *httpClient) awaitAcknowledged() {
	end := time.Now().Add(min(h.cfg.HalfClosed, time.Hour))
	for wait := drainLookFirst; time.Now().Before(end); wait = min(2*wait, drainLookLater) {
		if n, err := unacknowledged(h.Conn); n == 0 || err != nil {
			return
		}
		select {
		case <-time.After(wait):
		case <-h.s.ctx.Done():
			return
		}
	}
}

// sendResponse passes the response on, piece by piece as it arrives.
func (x *exchange) sendResponse(resp *httpResponse) error {
	h, in := x.h, &x.u.in
	out := resp.appendTo(h.out[:0], x.req.old, x.keep, h.cfg.Via)
	b := &bodyReader{in: in, body: resp.body, decode: x.req.old}
	for first := true; ; first = false {
		n, err := b.next()
		piece := in.ahead()[:n]
		if b.decode && b.body.chunked {
			piece = b.data
		}
		if first {
			h.out = append(out, piece...)
			piece = h.out
		}
		if len(piece) > 0 {
			x.answered = true
			if err := h.write(piece); err != nil {
				return err
			}
		}
		if n > 0 {
			in.take(n)
		}
		if err != nil || b.done {
			return err
		}
		if len(in.ahead()) == 0 {
			if err := x.u.fill(); err != nil {
				if errors.Is(err, io.EOF) && b.body.toEnd {
					return nil
				}
				return unexpected(err)
			}
		}
	}
}

// upgraded goes over to another protocol, for instance WebSocket. From then on bytes
// are relayed.
func (x *exchange) upgraded(resp *httpResponse) error {
	h, u := x.h, x.u
	if !x.req.upgrade || x.sending != nil {
		return x.ended(fmt.Errorf("%w: %s", errHTTPSyntax, resp.reason))
	}
	b := append(resp.appendTo(nil, false, true, h.cfg.Via), u.in.ahead()...)
	early := append([]byte(nil), h.in.ahead()...)
	h.in.release()
	u.in.release()
	x.answered = true
	u.lasting()
	if err := h.write(b); err != nil {
		return err
	}
	_ = h.SetDeadline(time.Time{})
	_ = u.conn.SetDeadline(time.Time{})
	ended := make(chan error, 1)
	u.ss.relay(u.conn, early, func(err error) { ended <- err })
	return <-ended
}

// bodyReader finds how many of a reader's bytes belong to a body.
type bodyReader struct {
	in     *httpReader
	body   httpBody
	chunks chunkScanner
	decode bool   // data gets the contents of chunks
	data   []byte // contents that the last call of next found
	sent   int64
	done   bool
}

// next returns how many of the bytes at hand belong to the body. The caller must take
// them from the reader.
func (b *bodyReader) next() (n int, err error) {
	ahead := b.in.ahead()
	switch {
	case b.body.chunked:
		b.data = b.data[:0]
		var data func([]byte)
		if b.decode {
			data = func(p []byte) { b.data = append(b.data, p...) }
		}
		n, b.done, err = b.chunks.scan(ahead, data)
		return n, err
	case b.body.toEnd:
		return len(ahead), nil
	}
	n = int(min(int64(len(ahead)), b.body.length-b.sent))
	b.sent += int64(n)
	b.done = b.sent == b.body.length
	return n, nil
}
