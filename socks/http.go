package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// httpKeepAlive is how long a connection to an HTTP client or server is kept for
// another request.
const httpKeepAlive = 90 * time.Second

var errNoRequest = errors.New("no HTTP request")

// httpClient is a client that speaks HTTP.
//
// Messages are passed on unchanged, except for the fields that concern one connection
// only. The server and the ReverseProxy of net/http do not do this: they add fields,
// rewrite targets and hold bodies back, which a proxy must not do.
type httpClient struct {
	*conn
	s       *Server
	in      httpReader
	prompt  promptWrite
	waiting atomic.Bool // true while the client may send another request
	fields  []httpField // memory for the fields of a request
	out     []byte      // memory for what is written
	written time.Time   // when the write deadline was last moved
	kept    time.Time   // when the read deadline was set to httpKeepAlive; zero: another deadline is set
	counted bool        // requested of conn was called
	servers []*upstream // idle connections to servers, the one used last at the end
}

// serveHTTP serves an HTTP client. early is what was read from the client so far, and
// limit is how long the rest of a header may take; 0: the read deadline is set already.
func (s *Server) serveHTTP(c *conn, early []byte, limit time.Duration) {
	h := &httpClient{conn: c, s: s}
	h.in.init(s, c.Conn, early, c.cfg.mostHeads())
	h.in.limit = limit
	h.prompt.init(c.Conn)
	defer func() {
		h.in.release()
		for _, u := range h.servers {
			u.close(nil)
		}
		if !c.taken {
			_ = c.Close()
		}
	}()
	c.http.Store(h)
	for first := true; h.next(first); first = false {
		h.in.idle, h.in.limit = 0, 0
		if now := time.Now(); now.Sub(h.kept) > httpKeepAlive/8 {
			h.kept = now
			_ = c.SetReadDeadline(now.Add(httpKeepAlive))
		}
		h.tidy()
		h.waiting.Store(true)
		if s.isClosing() {
			return
		}
		if len(h.in.ahead()) == 0 {
			if _, err := h.in.fill(); err != nil {
				return
			}
		}
		h.waiting.Store(false)
		h.in.limit = c.cfg.Handshake
	}
}

// requested notes the first request with conn. Later ones need not be noted.
func (h *httpClient) requested() error {
	if h.counted {
		return nil
	}
	err := h.conn.requested()
	h.counted = err == nil
	return err
}

// These limit the memory that a client keeps while it waits for another request.
const (
	keptFields = 64
	keptOut    = 4 << 10
)

// tidy releases what the last request took, except for a little memory.
func (h *httpClient) tidy() {
	h.fields = tidied(h.fields)
	if cap(h.out) > keptOut {
		h.out = nil
	}
}

// tidied returns the memory of fields for another header, without its contents. If that
// is too much, it returns nil.
func tidied(fields []httpField) []httpField {
	if cap(fields) > keptFields {
		return nil
	}
	clear(fields[:cap(fields)])
	return fields[:0]
}

// next serves one request. It tells whether the client may send another one.
func (h *httpClient) next(first bool) (more bool) {
	h.in.idle = 0
	head, err := h.in.head()
	if h.in.limit == 0 {
		h.kept = time.Time{}
	}
	var req *httpRequest
	if err == nil {
		req, err = parseHTTPRequest(head, h.fields)
	}
	if err == nil {
		if held := req.cost() - freeHead; held > 0 {
			// A tunnel would keep this memory for as long as it lasts.
			if req.method == http.MethodConnect || !h.s.heads.take(held, h.in.most) {
				err = errHTTPHeadSize
			} else {
				defer h.s.heads.give(held)
			}
		}
	}
	if err != nil {
		if h.requested() != nil {
			err = errMadeRoom
		} else if status := requestStatus(err); status > 0 {
			h.answer(status, err.Error(), nil, "")
			h.farewell()
		}
		if first {
			h.cfg.Hooks.Rejected(h.client, fmt.Errorf("%w: %w", errNoRequest, err))
		}
		return false
	}
	h.fields = req.fields
	h.in.idle, h.in.renewed = h.cfg.Idle, time.Time{} // whoever reads next sets a deadline
	if !req.body.empty() {
		h.kept = time.Time{}
	}
	r := h.request(HTTP)
	r.Command, r.Header = CommandConnect, req.header()
	switch passed, err := h.authenticate(req, r); {
	case err != nil:
		h.cfg.Hooks.Rejected(h.client, err)
		fallthrough
	case !passed:
		keep := req.keep && req.body.empty() && req.method != http.MethodConnect
		h.answer(http.StatusProxyAuthRequired, "this proxy wants a name and a password", &keep, "Proxy-Authenticate: Basic realm=\"proxy\"\r\n")
		if !keep {
			h.farewell()
		}
		if first && !keep && err == nil {
			h.cfg.Hooks.Rejected(h.client, fmt.Errorf("%w: no password", errNoRequest))
		}
		return keep
	}
	if h.requested() != nil {
		return false // the connection is closed already
	}
	ss := h.s.newSession(h.conn, r)
	if req.method == http.MethodConnect {
		r.Protocol = HTTPConnect
		h.tunnel(req, ss)
		return false
	}
	return h.plain(req, ss)
}

// requestStatus returns the status for a request that could not be read. 0 means no
// answer, because the client has left or sent nothing.
func requestStatus(err error) int {
	switch {
	case errors.Is(err, errHTTPHeadSize):
		return http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, errHTTPVersion):
		return http.StatusHTTPVersionNotSupported
	case errors.Is(err, errHTTPSyntax), errors.Is(err, errHTTPFraming):
		return http.StatusBadRequest
	}
	return 0
}

// authenticate notes the user in r, and tells whether the request may go on. The error
// tells that the password was wrong.
func (h *httpClient) authenticate(req *httpRequest, r *Request) (passed bool, err error) {
	user, password, given := req.credentials()
	r.User = user
	if h.cfg.Auth == nil {
		return true, nil
	}
	if given {
		if r.Authenticated = h.s.authenticate(h.conn, user, password); !r.Authenticated {
			return false, fmt.Errorf("%w: user %q", errPassword, user)
		}
	}
	return given, nil
}

// tunnel serves the method CONNECT.
func (h *httpClient) tunnel(req *httpRequest, ss *Session) {
	early := append([]byte(nil), h.in.ahead()...)
	h.in.release()
	h.tidy()
	h.in.idle = 0
	h.http.Store(nil) // a tunnel must not keep this memory for as long as it lasts
	var err error
	if ss.Request.Dest, err = parseHostPort(req.target, ""); err != nil {
		ss.refuse(err, replyHTTP)
		return
	}
	ss.connect(early, replyHTTP)
}

// replyHTTP answers a request with the method CONNECT.
func replyHTTP(w io.Writer, reply Reply, _ netip.AddrPort, cause error) error {
	text := "HTTP/1.1 200 Connection established\r\n\r\n"
	if reply != Succeeded {
		_, why := refusal(cause)
		text = string(appendAnswer(nil, reply.HTTPStatus(), why, nil, ""))
	}
	_, err := io.WriteString(w, text)
	return err
}

// appendAnswer appends a response that the proxy itself gives. The connection stays
// open only if keep points to true. more holds further header lines.
func appendAnswer(b []byte, status int, text string, keep *bool, more string) []byte {
	body := "Proxy: " + printable(text) + "\n"
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%s", status, http.StatusText(status), len(body), more)
	if keep == nil || !*keep {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(append(b, "\r\n"...), body...)
}

// printable makes text fit for people: without control characters, and not too long.
func printable(text string) string {
	const limit = 500
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
}

// answer answers a request that was not passed on. The arguments are those of
// appendAnswer.
func (h *httpClient) answer(status int, text string, keep *bool, more string) {
	_ = h.write(appendAnswer(nil, status, text, keep, more))
}

// refusal returns the answer to a request that failed with err. The text says why,
// except if a rule forbids the request: rules are the operator's business. The error
// may have a text for clients (Told).
func refusal(err error) (status int, text string) {
	reply := ReplyOf(err)
	if reply == NotAllowed {
		if e, ok := errors.AsType[*Error](err); ok && e.Told != "" {
			return reply.HTTPStatus(), reply.String() + ": " + e.Told
		}
		return reply.HTTPStatus(), reply.String()
	}
	status = reply.HTTPStatus()
	if reply == GeneralFailure && !slices.ContainsFunc(ownTrouble, func(e error) bool { return errors.Is(err, e) }) {
		status = http.StatusBadGateway
	}
	return status, reply.String() + ": " + err.Error()
}

// ownTrouble lists errors of this proxy itself. The server is not to blame for them.
var ownTrouble = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, context.Canceled}

// write writes to the client. A slow client is fine, as long as it takes some bytes
// before each deadline.
func (h *httpClient) write(b []byte) error {
	n, err := h.prompt.write(b)
	if err != nil || n == len(b) {
		return err
	}
	if now := time.Now(); now.Sub(h.written) > h.cfg.Idle/4 {
		h.written = now
		_ = h.SetWriteDeadline(deadline(now, h.cfg.Idle))
	}
	_, err = h.Write(b[n:])
	return err
}

// watched calls f and watches meanwhile whether the client leaves. If it does, watched
// calls leave and returns errLeft in place of f's error. slow is called if f takes
// long; it may be nil. f is told whether slow will be called then. begun is the time
// when that was, zero if never.
func (h *httpClient) watched(slow, leave func(), f func(watched bool) error) (begun time.Time, err error) {
	w := &departure{conn: h.conn, slow: slow, leave: leave}
	err = f(len(h.in.ahead()) == 0 && h.s.patrol.add(w))
	if w.stop() {
		err = errLeft
	}
	if w.begun() { // the watch has changed the deadline
		h.in.renewed, h.kept = time.Time{}, time.Time{}
		begun = w.due
	}
	return begun, err
}

// part ends a connection after its last answer, and calls rest as soon as the client
// sees the end. A client that itself closes the connection, and has sent nothing more,
// needs no farewell.
func (h *httpClient) part(req *httpRequest, rest func()) {
	if req.keep || !req.body.empty() || len(h.in.ahead()) > 0 || unread(h.Conn) != 0 {
		ended := h.endWriting()
		rest()
		if ended {
			h.lastWords()
		}
		return
	}
	_ = h.Close()
	rest()
}

// serverFor returns a connection to the request's destination. It takes one that was
// kept, unless anew is true or there is none; else it opens a new one.
func (h *httpClient) serverFor(ss *Session, anew bool) (u *upstream, err error) {
	dest := ss.Request.Dest
	for i := len(h.servers) - 1; i >= 0 && !anew; i-- {
		if u := h.servers[i]; u.dest == dest && u.ss.Request.User == ss.Request.User {
			h.servers = append(h.servers[:i], h.servers[i+1:]...)
			u.taken()
			if time.Since(u.used) < httpKeepAlive && len(u.in.ahead()) == 0 {
				u.reused = true
				return u, nil
			}
			u.close(nil)
		}
	}
	ctx, cancel := context.WithTimeout(ss.context(h.s.ctx), h.cfg.Connect)
	defer cancel()
	var nc net.Conn
	if _, err := h.watched(nil, cancel, func(bool) error {
		var err error
		nc, err = ss.dial(ctx)
		return err
	}); err != nil {
		if nc != nil {
			reset(nc)
		}
		return nil, err
	}
	return newUpstream(ss, nc), nil
}

// keep keeps a connection to a server for the client's next request. Four connections
// are enough, because a browser opens six connections to the proxy for each server.
func (h *httpClient) keep(u *upstream) {
	const most = 4
	if len(h.servers) == most {
		h.servers[0].close(nil)
		h.servers = append(h.servers[:0], h.servers[1:]...)
	}
	u.used, u.reused = time.Now(), false
	u.ss.Request.Header, u.fields = nil, tidied(u.fields) // they belong to a request that is over
	if len(h.servers) > 0 {
		if u.kept = h.s.takeFiles(1, h.cfg); !u.kept {
			h.servers[0].close(nil)
			h.servers = h.servers[1:]
		}
	}
	h.servers = append(h.servers, u)
}

// parseHostPort splits the authority of an HTTP request. port is the default port. If
// port is empty, the authority must have one.
func parseHostPort(authority, port string) (Addr, error) {
	host, given, err := net.SplitHostPort(authority)
	switch {
	case err == nil:
		if given != "" {
			port = given
		}
	case port != "":
		host = authority
		if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
			host = host[1 : n-1]
		}
	}
	n, portErr := strconv.ParseUint(port, 10, 16)
	if host, err = parseHost(host); err == nil {
		err = portErr
	}
	if err != nil {
		return Addr{}, &Error{Reply: AddressTypeNotSupported, Err: fmt.Errorf("destination %q: %w", authority, err)}
	}
	return Addr{host, uint16(n)}, nil
}
