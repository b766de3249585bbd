package socks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	maxHTTPHeader = 64 << 10
	// How long an HTTP client, or a server that was connected for it, may keep
	// its connection for another request.
	httpKeepAlive = 90 * time.Second
	// Browsers open six connections per server, each their own to a proxy.
	httpIdleConns = 4
)

var errNoRequest = errors.New("no HTTP request")

// httpServer serves the clients that speak HTTP. The parsing is net/http's, and
// what a gateway has to do to a message httputil.ReverseProxy's.
type httpServer struct {
	s       *Server
	server  http.Server
	proxy   httputil.ReverseProxy
	clients chan net.Conn
	begin   sync.Once
	ended   chan struct{} // closed when no client is accepted any more
	end     sync.Once
}

func newHTTPServer(s *Server) *httpServer {
	h := &httpServer{s: s, clients: make(chan net.Conn), ended: make(chan struct{})}
	h.server = http.Server{
		Handler:        h,
		IdleTimeout:    httpKeepAlive,
		MaxHeaderBytes: maxHTTPHeader,
		ErrorLog:       discard,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, httpConnKey{}, c)
		},
	}
	h.proxy = httputil.ReverseProxy{
		Rewrite:      h.rewrite,
		Transport:    perClient{},
		ErrorHandler: h.fail,
		BufferPool:   httpBuffers{&s.bytes},
		ErrorLog:     discard,
	}
	return h
}

// httpBuffers lends buffers to ReverseProxy.
type httpBuffers struct{ *resources }

func (b httpBuffers) Get() []byte  { return b.buffer()[:] }
func (b httpBuffers) Put(p []byte) { b.putBuffer((*[bufferSize]byte)(p)) }

// discard takes what net/http says about clients, which the Hooks tell better.
var discard = log.New(io.Discard, "", 0)

type httpConnKey struct{}

// httpConn is a client's connection that net/http serves.
type httpConn struct {
	*conn
	br        *bufio.Reader // nil when empty
	transport *http.Transport
	served    bool // a request was read
	once      sync.Once
}

// take serves a client; br holds the beginning.
func (h *httpServer) take(c *conn, br *bufio.Reader) {
	h.begin.Do(func() {
		h.server.ReadHeaderTimeout = c.cfg.Handshake
		go func() { _ = h.server.Serve(h) }() // ends with Accept
	})
	hc := &httpConn{conn: c, br: br}
	h.s.running.Add(1) // until hc is closed or hijacked and done
	select {
	case h.clients <- hc:
	case <-h.ended:
		_ = hc.Close()
	}
}

// Accept, Close and Addr make h the listener of its server.
func (h *httpServer) Accept() (net.Conn, error) {
	select {
	case c := <-h.clients:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return.
func (h *httpServer) Close() error {
	h.end.Do(func() { close(h.ended) })
	return nil
}

// Addr is of no interest.
func (h *httpServer) Addr() net.Addr { return &net.TCPAddr{} }

// shutdown closes the connections that wait for another request, and those
// that are busy once they have answered.
func (h *httpServer) shutdown() {
	_ = h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.server.Shutdown(ctx)
}

func (h *httpServer) close() {
	_ = h.Close()
	_ = h.server.Close()
}

func (c *httpConn) Read(b []byte) (int, error) {
	if c.br != nil {
		if c.br.Buffered() > 0 {
			return c.br.Read(b)
		}
		c.s.bytes.putReader(c.br)
		c.br = nil
	}
	return c.Conn.Read(b)
}

func (c *httpConn) Close() error {
	c.once.Do(func() {
		if c.transport != nil {
			c.transport.CloseIdleConnections()
		}
		if !c.served {
			c.cfg.Hooks.Rejected(c.client, errNoRequest)
		}
		c.s.running.Done()
	})
	return c.conn.Close()
}

// ServeHTTP serves one request.
func (h *httpServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c := req.Context().Value(httpConnKey{}).(*httpConn)
	c.served = true
	r := c.request(HTTP)
	r.Command, r.Header = CommandConnect, req.Header
	if !c.authenticate(w, req, r) {
		return
	}
	if err := c.requested(); err != nil {
		panic(http.ErrAbortHandler) // the connection is closed already
	}
	ss := h.s.newSession(c.conn, r)
	if req.Method == http.MethodConnect {
		r.Protocol = HTTPConnect
		h.tunnel(w, req, c, ss)
		return
	}
	var err error
	r.Dest, err = plainDest(req)
	if err == nil {
		err = ss.allow(ss.context(req.Context()))
	}
	if err != nil {
		answer(w, err)
		c.cfg.Hooks.Ended(ss, err)
		return
	}
	if c.transport == nil {
		c.transport = c.newTransport()
	}
	control := http.NewResponseController(w)
	req.Body = &patientBody{req.Body, control, c.cfg.Idle}
	h.proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), sessionKey{}, ss)))
}

// authenticate notes the user. If it does not let the request pass, it has
// answered it.
func (c *httpConn) authenticate(w http.ResponseWriter, req *http.Request, r *Request) bool {
	basic := http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
	user, password, _ := basic.BasicAuth()
	req.Header.Del("Proxy-Authorization")
	r.User = user
	if c.cfg.Auth == nil {
		return true
	}
	if basic.Header.Get("Authorization") != "" {
		if r.Authenticated = c.cfg.Auth.Authenticate(user, password); r.Authenticated {
			return true
		}
		c.cfg.Hooks.Rejected(c.client, fmt.Errorf("%w: user %q", errPassword, user))
	}
	w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
	http.Error(w, "This proxy wants a name and a password.", http.StatusProxyAuthRequired)
	return false
}

// tunnel serves CONNECT.
func (h *httpServer) tunnel(w http.ResponseWriter, req *http.Request, c *httpConn, ss *Session) {
	var err error
	ss.Request.Dest, err = parseHostPort(req.Host, "")
	_, rw, hijackErr := http.NewResponseController(w).Hijack()
	if hijackErr != nil {
		answer(w, hijackErr)
		c.cfg.Hooks.Ended(ss, hijackErr)
		return
	}
	defer h.s.running.Done()
	early := make([]byte, rw.Reader.Buffered())
	_, _ = io.ReadFull(rw, early) // they are there
	if c.br != nil {
		early = append(early, h.s.bytes.release(c.br)...)
		c.br = nil
	}
	if err != nil {
		ss.refuse(err, replyHTTP)
		return
	}
	ss.connect(early, replyHTTP)
}

// replyHTTP answers CONNECT.
func replyHTTP(w io.Writer, reply Reply, _ netip.AddrPort) error {
	text := "HTTP/1.1 200 Connection established\r\n\r\n"
	if reply != Succeeded {
		status := reply.HTTPStatus()
		body := "Proxy: " + reply.String() + "\n"
		text = fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			status, http.StatusText(status), len(body), body)
	}
	_, err := io.WriteString(w, text)
	return err
}

// answer answers a plain request that was not served.
func answer(w http.ResponseWriter, err error) {
	reply := ReplyOf(err)
	http.Error(w, "Proxy: "+reply.String(), reply.HTTPStatus())
}

// plainDest is where a request in absolute form goes.
func plainDest(req *http.Request) (Addr, error) {
	switch {
	case !req.URL.IsAbs():
		return Addr{}, &Error{AddressTypeNotSupported, errors.New("a request for a server, not for a proxy")}
	case req.URL.Scheme != "http":
		return Addr{}, &Error{CommandNotSupported, fmt.Errorf("scheme %q", req.URL.Scheme)}
	}
	return parseHostPort(req.URL.Host, "80")
}

// parseHostPort reads the authority of an HTTP request. port is the default; ""
// means that there must be one.
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
		return Addr{}, &Error{AddressTypeNotSupported, fmt.Errorf("destination %q: %w", authority, err)}
	}
	return Addr{host, uint16(n)}, nil
}

type sessionKey struct{}

// newTransport makes what a client's requests go out by. Each client has its own,
// as a connection may depend on who asked for it.
func (c *httpConn) newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ss := ctx.Value(sessionKey{}).(*Session)
			ctx, cancel := context.WithTimeout(ss.context(ctx), c.cfg.Connect)
			defer cancel()
			nc, err := ss.dial(ctx)
			if err != nil {
				c.cfg.Hooks.Ended(ss, err)
				return nil, err
			}
			c.cfg.Hooks.Established(ss)
			return &countedConn{Conn: nc, ss: ss}, nil
		},
		DisableCompression:     true,
		MaxIdleConns:           httpIdleConns,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        httpKeepAlive,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHTTPHeader,
	}
}

// perClient sends a request by its client's transport.
type perClient struct{}

func (perClient) RoundTrip(req *http.Request) (*http.Response, error) {
	return req.Context().Value(httpConnKey{}).(*httpConn).transport.RoundTrip(req)
}

// rewrite undoes what ReverseProxy does because it usually stands before servers.
func (h *httpServer) rewrite(pr *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := pr.In.Header[name]; ok {
			pr.Out.Header[name] = v
		}
	}
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	c := pr.In.Context().Value(httpConnKey{}).(*httpConn)
	for _, name := range c.cfg.PrivateHeaders {
		pr.Out.Header.Del(name)
	}
	pr.Out.Header.Add("Via", "1.1 socks") // RFC 9110 section 7.6.3
}

// fail answers a request whose server could not be reached, or broke off.
func (h *httpServer) fail(w http.ResponseWriter, _ *http.Request, err error) { answer(w, err) }

// countedConn is a connection to a server of plain HTTP.
type countedConn struct {
	net.Conn
	ss   *Session
	once sync.Once
}

func (c *countedConn) Read(b []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.ss.c.cfg.Idle))
	n, err := c.Conn.Read(b)
	c.ss.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.ss.c.cfg.Idle))
	n, err := c.Conn.Write(b)
	c.ss.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.ss.c.cfg.Hooks.Ended(c.ss, nil) })
	return c.Conn.Close()
}

// patientBody is a request's body that may pause, though not for ever.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.idle))
	return b.ReadCloser.Read(p)
}
