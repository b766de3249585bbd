package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/userid"
)

// maxAnswer bounds how much of an answer a client reads, maxEvent how much of an event.
const (
	maxAnswer = 64 << 20
	maxEvent  = 1 << 20
)

// dialTimeout bounds the wait for a daemon whose queue is full.
const dialTimeout = 3 * time.Second

// serviceUser is the user as which the packages run the daemon.
const serviceUser = "mamma"

// Client asks a control server. It is safe for concurrent use.
type Client struct {
	path string
	http http.Client
	// trusts tells whether to believe a server of that user. If it is nil, all are
	// believed.
	trusts func(uid uint32) bool
	absent string // as in NotRunningError.Own
}

// NewClient makes a Client of the server at path. The caller has named the path, and so
// trusts it. Nothing is sent yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
	}
	return c
}

// Find makes a Client of the server at $MAMMA_CONTROL, else of this user's mamma if
// that has a socket, else of the system's mamma. Unless the path was named, the Client
// trusts a server only if it runs as root, as this user or as the service's user.
// Another user could otherwise place a socket there first, to receive settings and to
// choose what the doctor reads.
func Find(getenv func(string) string) *Client {
	path, own, named := defaultPath(getenv)
	c := NewClient(path)
	if !named {
		c.trusts = trusted
	}
	c.absent = own
	return c
}

func trusted(uid uint32) bool {
	if userid.Trusted(uid) {
		return true
	}
	u, err := user.Lookup(serviceUser)
	return err == nil && u.Uid == strconv.FormatUint(uint64(uid), 10)
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	nc, err := c.connect(ctx)
	if err != nil || c.trusts == nil {
		return nc, err
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok { // a socket of "unix" has no other type
		return nc, nil
	}
	cred, err := unixsocket.PeerCred(uc)
	if err == nil && !c.trusts(cred.UID) {
		err = &distrustedError{c.path, cred.UID}
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return nc, nil
}

// busyPause is the wait before connecting again to a socket whose queue is full.
const busyPause = 5 * time.Millisecond

// connect connects to the socket. If others fill its queue, it waits for a place, as
// connect(2) does. Package net does not wait, so anybody who connects again and again
// could shut everybody out.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "unix", c.path)
		if !errors.Is(err, syscall.EAGAIN) {
			return nc, err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// distrustedError means that the server at the path runs as a user who is not trusted.
type distrustedError struct {
	path string
	uid  uint32
}

func (e *distrustedError) Error() string {
	return fmt.Sprintf("%s is served by user %d, who is neither root, nor you, nor %s; if you trust it, name it with --control", e.path, e.uid, serviceUser)
}

// Path returns the path of the socket.
func (c *Client) Path() string { return c.path }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// SystemPath is the path of the control socket of the system's mamma.
const SystemPath = "/run/mamma/control.sock"

// defaultPath returns the path of this user's control socket if it exists, else that of
// the system's. named tells whether somebody has named the path.
func defaultPath(getenv func(string) string) (path, absent string, named bool) {
	if p := getenv("MAMMA_CONTROL"); p != "" {
		return p, "", true
	}
	own := filepath.Join(os.TempDir(), fmt.Sprintf("mamma-%d", os.Geteuid()))
	var ours bool // nobody else can have made what is in own
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		own, ours = filepath.Join(dir, "mamma"), true
	} else {
		ours = userid.OwnDir(own)
	}
	p := filepath.Join(own, "control.sock")
	if fi, err := os.Stat(p); ours && err == nil && fi.Mode().Type() == fs.ModeSocket {
		return p, "", false
	}
	return SystemPath, p, false
}

// NotRunningError means that no daemon answers at the path.
type NotRunningError struct {
	Path string
	Own  string // path of the user's own socket, which does not exist; "": it is Path, or was not tried
	Err  error
}

func (e *NotRunningError) Error() string {
	if e.Own != "" {
		return fmt.Sprintf("no mamma answers at %s, and you run none of your own at %s; is it running?  systemctl status mamma", e.Path, e.Own)
	}
	return fmt.Sprintf("no mamma answers at %s; is it running?  systemctl status mamma", e.Path)
}

// Unwrap returns the system's error.
func (e *NotRunningError) Unwrap() error { return e.Err }

// RemoteError is an answer of the server with an error status.
type RemoteError struct {
	Status int // of HTTP
	Failure
}

func (e *RemoteError) Error() string { return e.Failure.Error }

// Get asks for path, which begins with "/v1/". It decodes the answer into v, and also
// returns it unchanged. Errors are a *NotRunningError, a *RemoteError, or about the
// connection.
func (c *Client) Get(ctx context.Context, path string, v any) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// Post is like Get and sends body, which may be nil, as JSON.
func (c *Client) Post(ctx context.Context, path string, body, v any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("ask mamma: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, b, v)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) ([]byte, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := bounded.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("read mamma's answer: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("read mamma's answer to %s: %w", path, err)
	}
	return b, nil
}

// send returns a response with status 200, or an error.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://mamma"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask mamma: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.dialError(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := bounded.ReadAll(resp.Body, maxBody)
	if err != nil {
		return nil, fmt.Errorf("read mamma's answer, %s: %w", resp.Status, err)
	}
	e := &RemoteError{Status: resp.StatusCode}
	if json.Unmarshal(b, &e.Failure) != nil || e.Failure.Error == "" {
		e.Failure.Error = "mamma answers " + resp.Status
	}
	return nil, e
}

// Profile makes the daemon take a profile of that kind, and copies it to w. length is
// the time to take, for the kinds that need one; 0 means DefaultProfileTime.
func (c *Client) Profile(ctx context.Context, kind string, length time.Duration, w io.Writer) error {
	path := "/v1/profile/" + url.PathEscape(kind)
	if length != 0 {
		path += "?seconds=" + strconv.FormatFloat(length.Seconds(), 'g', -1, 64)
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if _, err := io.Copy(w, bounded.NewReader(resp.Body, maxAnswer)); err != nil {
		return fmt.Errorf("read mamma's profile: %w", err)
	}
	return nil
}

func (c *Client) dialError(err error) error {
	if e := (*distrustedError)(nil); errors.As(err, &e) {
		return e
	}
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTSOCK):
		return &NotRunningError{Path: c.path, Own: c.absent, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied; it is for root, mamma's user and its control group", c.path)
	}
	return fmt.Errorf("ask mamma at %s: %w", c.path, err)
}

// Events follows the events until ctx ends, f returns an error, or the server stops. If
// since is not nil, it begins with the decisions above since. If wanted is not zero,
// only events about matching decisions come; a server that is older than filters sends
// all. f also gets each line unchanged, and must not keep it. The error is f's, that of
// ctx, or io.ErrUnexpectedEOF if the server went away.
func (c *Client) Events(ctx context.Context, since *uint64, wanted Filter, f func(line []byte, e *Event) error) error {
	q := wanted.Query()
	if since != nil {
		q.Set("since", strconv.FormatUint(*since, 10))
	}
	path := "/v1/events"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	// An incomplete last line, from a connection that was cut, is not an event.
	lines.Split(func(data []byte, _ bool) (int, []byte, error) { return bufio.ScanLines(data, false) })
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read mamma's events: %w", err)
		}
		if err := f(lines.Bytes(), &e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("read mamma's events: %w", err)
	}
	return fmt.Errorf("read mamma's events: mamma has stopped: %w", io.ErrUnexpectedEOF)
}
