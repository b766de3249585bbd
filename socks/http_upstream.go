package socks

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// upstream is a connection to a server of plain HTTP.
type upstream struct {
	conn    net.Conn
	ss      *Session
	dest    Addr
	in      httpReader
	prompt  promptWrite
	told    bool // Hooks.Established was called
	reused  bool
	used    time.Time // when it was last used
	written time.Time // when the write deadline was last moved
	fields  []httpField
	lasts   atomic.Bool // lasting was called
	kept    bool        // it counts in Server.extra
}

func newUpstream(ss *Session, nc net.Conn) *upstream {
	u := &upstream{conn: nc, ss: ss, dest: ss.Request.Dest}
	u.in.init(ss.s, nc, nil, ss.c.cfg.mostHeads())
	u.in.idle = ss.c.cfg.Idle
	u.prompt.init(nc)
	return u
}

// close closes the connection and ends its session. err is what broke the connection,
// nil for none.
func (u *upstream) close(err error) {
	u.in.release()
	u.taken()
	_ = u.conn.Close()
	u.ss.c.cfg.Hooks.Ended(u.ss, err)
}

// taken notes that the connection no longer takes a descriptor beyond those of the
// client.
func (u *upstream) taken() {
	if u.kept {
		u.kept = false
		u.ss.s.giveFiles(1)
	}
}

func (u *upstream) write(b []byte) error {
	n, err := u.prompt.write(b)
	u.ss.sent.Add(int64(n))
	if err != nil || n == len(b) {
		return err
	}
	idle := u.ss.c.cfg.Idle
	if now := time.Now(); now.Sub(u.written) > idle/4 {
		u.written = now
		_ = u.conn.SetWriteDeadline(deadline(now, idle))
	}
	n, err = u.conn.Write(b[n:])
	u.ss.sent.Add(int64(n))
	return err
}

// head reads the status line and the header of the next response.
func (u *upstream) head(method string) (*httpResponse, error) {
	before := len(u.in.ahead())
	b, err := u.in.head()
	if err != nil {
		return nil, err
	}
	u.ss.received.Add(int64(len(b) + len(u.in.ahead()) - before))
	resp, err := parseHTTPResponse(b, method, u.fields)
	if err == nil {
		u.fields = resp.fields
	}
	return resp, err
}

// lasting turns the kernel's keep-alive probes on. A dial function need not do this,
// because most exchanges are over before it matters.
func (u *upstream) lasting() {
	c, ok := u.conn.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	})
	if ok && u.lasts.CompareAndSwap(false, true) {
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
}

// late is called when a response has not come after a while. Before, no deadline was set
// for it: nearly all responses come sooner.
func (u *upstream) late() {
	u.lasting()
	_ = u.conn.SetReadDeadline(deadline(time.Now(), u.ss.c.cfg.Idle))
}

// fill reads more bytes of a response.
func (u *upstream) fill() error {
	u.lasting()
	n, err := u.in.fill()
	u.ss.received.Add(int64(n))
	return err
}

// repeatable tells whether a request can and may be sent again when nobody knows
// whether the server received it (RFC 9110 section 9.2.2).
func (r *httpRequest) repeatable() bool {
	switch r.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return r.body.empty() && !r.upgrade
	}
	return false
}
