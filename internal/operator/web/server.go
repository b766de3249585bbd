package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/process/httpserver"
)

// Limits. A page has a handful of requests at a time, and each tab of the browser one stream.
const (
	maxConns       = 64
	maxAsked       = 8 // answers of the daemon that are in memory at a time
	maxStreams     = 8
	maxDecisions   = 1000 // in one answer
	maxBody        = 64 << 10
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = time.Minute // doctor waits for gateways and name servers
	idleTimeout    = 2 * time.Minute
)

//go:embed assets
var assets embed.FS

// Options of a Server.
type Options struct {
	Client *control.Client // speaks to the daemon; required
	// Doctor runs the checks of the host; nil: there are none.
	Doctor func(context.Context) (doctor.Report, error)
	// Runs returns the programs whose connections mammactl run is placing; nil: none.
	Runs func() []Run
	// AllowChanges lets the page send settings to the policy and reload the configuration.
	// Without it, no request can change anything.
	AllowChanges bool
}

// Run is a program that was started by mammactl run.
type Run struct {
	PID     int      `json:"pid"` // of mammactl
	UID     uint32   `json:"uid"`
	Program []string `json:"program"` // with its arguments
	Options []string `json:"options"` // of mammactl run
}

// Server serves the page.
type Server struct {
	opts  Options
	token string
	addr  netip.AddrPort
	l     net.Listener

	asked, streams chan struct{} // hold a token for each answer and stream in progress
	examining      sync.Mutex
}

// Listen makes a Server at a loopback address. Port 0 means any free port.
func Listen(addr netip.AddrPort, o Options) (*Server, error) {
	if !addr.Addr().IsLoopback() { // check first, so that nobody can connect meanwhile
		return nil, notLoopback(addr)
	}
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	return At(l, o)
}

// At makes a Server of a listener at a loopback address. The Server owns the listener from
// then on, and closes it also if At fails.
func At(l net.Listener, o Options) (*Server, error) {
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("serve the page: %v is not a TCP address", l.Addr()), l.Close())
	}
	addr := tcp.AddrPort()
	if !addr.Addr().IsLoopback() {
		return nil, errors.Join(notLoopback(addr), l.Close())
	}
	return &Server{
		opts: o, token: rand.Text(), addr: addr, l: l,
		asked: make(chan struct{}, maxAsked), streams: make(chan struct{}, maxStreams),
	}, nil
}

func notLoopback(addr netip.AddrPort) error {
	return fmt.Errorf("serve the page: %v is not a loopback address", addr.Addr())
}

// Link returns the address of the page, with the token. Everybody who has the link sees
// what the page shows.
func (s *Server) Link() string { return "http://" + s.addr.String() + "/#" + s.token }

// Serve serves until ctx ends, and closes the listener and all connections. The error is
// nil after an orderly end.
func (s *Server) Serve(ctx context.Context) error {
	requests, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	stop := context.AfterFunc(ctx, func() { _ = hs.Close() })
	err := hs.Serve(httpserver.Limit(s.l, maxConns))
	stop()
	_ = hs.Close()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve the page: %w", err)
}

// Close closes a Server on which Serve was never called.
func (s *Server) Close() error { return s.l.Close() }

func (s *Server) handler() http.Handler {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic("web: " + err.Error()) // the name is a constant
	}
	api := http.NewServeMux()
	for pattern, path := range map[string]string{
		"GET /api/status": "/v1/status", "GET /api/prefixes": "/v1/prefixes", "GET /api/policy": "/v1/policy", "GET /api/mptcp": "/v1/mptcp",
		"GET /api/scopes": "/v1/scopes",
	} {
		api.HandleFunc(pattern, s.answer(func(r *http.Request) (any, error) { return s.ask(r, path) }))
	}
	api.HandleFunc("GET /api/history", s.answer(func(r *http.Request) (any, error) {
		return s.askSince(r, "/v1/history", "since")
	}))
	api.HandleFunc("GET /api/decisions", s.answer(func(r *http.Request) (any, error) {
		return s.askSince(r, "/v1/decisions", "since", "limit")
	}))
	api.HandleFunc("POST /api/explain", s.answer(func(r *http.Request) (any, error) { return s.post(r, "/v1/explain", new(control.Question)) }))
	api.HandleFunc("POST /api/set", s.answer(s.change(func(r *http.Request) (any, error) { return s.post(r, "/v1/set", new(control.Setting)) })))
	api.HandleFunc("POST /api/reload", s.answer(s.change(func(r *http.Request) (any, error) { return s.post(r, "/v1/reload", new(struct{})) })))
	api.HandleFunc("POST /api/doctor", s.answer(s.doctor))
	api.HandleFunc("GET /api/runs", s.answer(s.runs))
	api.HandleFunc("GET /api/page", s.answer(func(*http.Request) (any, error) {
		return pageOptions{AllowChanges: s.opts.AllowChanges, Doctor: s.opts.Doctor != nil}, nil
	}))
	api.HandleFunc("GET /api/events", s.events)
	mux := http.NewServeMux()
	page := http.FileServerFS(files)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			fail(w, http.StatusMethodNotAllowed, "bad_request", "the page is for GET")
			return
		}
		page.ServeHTTP(w, r)
	})
	mux.Handle("/api/", s.withToken(api))
	return s.fence(mux)
}

// pageOptions tell the page what it may offer.
type pageOptions struct {
	AllowChanges bool `json:"allow_changes"`
	Doctor       bool `json:"doctor"`
}

// contentPolicy makes the browser run and load only the page's files, send requests to nobody
// else, let nobody frame the page, and never turn text into markup.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// fence refuses requests that come neither from the page nor by the link.
func (s *Server) fence(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		if !s.own(r.Host) {
			fail(w, http.StatusMisdirectedRequest, "forbidden", fmt.Sprintf("this is http://%v/", s.addr))
			return
		}
		if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
			fail(w, http.StatusForbidden, "forbidden", "requests of other pages are refused")
			return
		}
		if r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// own tells whether host is this server: its address, or localhost, which every host has.
func (s *Server) own(host string) bool {
	return host == s.addr.String() || host == net.JoinHostPort("localhost", strconv.Itoa(int(s.addr.Port())))
}

// withToken lets those in who have the token.
func (s *Server) withToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
			fail(w, http.StatusUnauthorized, "forbidden", "the link that mammactl web printed is needed, with all that follows its #")
			return
		}
		// Browsers send this field with each request. It shows requests of other pages.
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
			fail(w, http.StatusForbidden, "forbidden", "requests of other pages are refused")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func fail(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(control.Failure{Error: text, Code: code}) // an error means that the client has gone
}
