package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/internal/process/limits"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const maxBody = 64 << 10 // bytes of a request's body

// Options are the settings of a Server.
type Options struct {
	Manager *mam.Manager // required
	// State returns what the Manager does not know. It is called for each request, and
	// several times a second while somebody follows the events. Several goroutines call
	// it, and it must not block. If it is nil, nothing is known.
	State func() State
	// Reload reads the configuration again. It returns when the new state is in use, or
	// with the error that left the old one in use. If it is nil, reload is not
	// supported.
	Reload func(context.Context) error
	// Forget drops what was measured at the places that an interface, "" for all, was
	// attached to, and returns how many those were. nil: forget is not supported.
	Forget func(iface string) int
	// Multipath returns the MPTCP connections of all users of the host; the Server
	// fills in Now and Complete. It may take milliseconds. If it is nil, there is no
	// answer about MPTCP.
	Multipath func() (Multipath, error)
	// Past is what is remembered about the networks. It may be nil.
	Past *Past
	// Scopes tells which connections of programs that take no part are placed; Now is filled
	// in. nil: none are.
	Scopes func(context.Context) (Scopes, error)
	// DetachScopes ends that until the next reload. nil: it cannot be ended.
	DetachScopes func(context.Context) error
	// Group is the id of the group whose members may read everything (setting control_group);
	// nil: none.
	Group *uint32
	// Metrics answers GET /metrics. It may be nil.
	Metrics http.Handler
	// Profiling permits profiles of the process, for those who may change things.
	Profiling bool
	Version   string
	Started   time.Time
	Logger    *slog.Logger // nil: nothing is logged

	// Tests replace these: the clock, the credentials of peers, and the daemon's user.
	now  func() time.Time
	peer func(*net.UnixConn) (peer, error)
	uid  *uint32
}

// State is what the daemon knows besides the Manager's View. A zero value is unknown.
type State struct {
	PolicySince time.Time // when the policy in use was made
	PolicyFile  string    // the plugin's path; "" if compiled in
	Settings    []policy.Setting

	ConfigFile string    // "" if there is none
	Loaded     time.Time // when the configuration in use was read
	LoadError  string    // of the latest reload; "": it succeeded
	// LoadErrorTime is when LoadError happened.
	LoadErrorTime time.Time

	Clients *int // connections of the request sockets
	Routing RoutingState
}

// Server is the control server.
type Server struct {
	opts  Options
	guard guard
	log   *slog.Logger
	took  timings
	// profiling is held while a profile is taken, because the runtime can take only one
	// of each kind.
	profiling sync.Mutex
	looking   sync.Mutex // held while the MPTCP connections are read
}

// New makes a Server.
func New(opts Options) *Server {
	if opts.State == nil {
		opts.State = func() State { return State{} }
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.now == nil {
		opts.now = time.Now
	}
	if opts.peer == nil {
		opts.peer = peerOf
	}
	owner := uint32(os.Geteuid())
	if opts.uid != nil {
		owner = *opts.uid
	}
	return &Server{opts: opts, guard: guard{owner: owner, group: opts.Group}, log: opts.Logger}
}

// Serve serves clients at l, a listener of Unix stream sockets, until ctx ends. Then it
// closes l, gives running requests a second to finish, and closes all connections. The
// error is nil after an orderly end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := httpserver.New(s.handler(), s.log)
	hs.ConnContext = withPeer
	return httpserver.Serve(ctx, newListener(l, s.guard, s.opts.peer, s.log, httpserver.Conns(limits.Files())), hs)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(*http.Request) (any, error){
		"GET /v1/status":         s.status,
		"GET /v1/interfaces":     s.interfaces,
		"GET /v1/prefixes":       s.prefixes,
		"GET /v1/policy":         s.policy,
		"GET /v1/mptcp":          s.mptcp,
		"GET /v1/scopes":         s.scopes,
		"POST /v1/explain":       s.explain,
		"POST /v1/set":           s.set,
		"POST /v1/reload":        s.reload,
		"POST /v1/scopes/detach": s.detach,
		"POST /v1/forget":        s.forget,
	} {
		mux.Handle(pattern, answer(f))
	}
	mux.HandleFunc("GET /v1/decisions", s.decisions)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/history", s.history)
	mux.HandleFunc("GET /v1/profile/{kind}", s.profile)
	if s.opts.Metrics != nil {
		mux.Handle("GET /metrics", s.opts.Metrics)
	}
	mux.Handle("/", answer(func(r *http.Request) (any, error) {
		// A known path with another method ends here as well.
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if _, pattern := mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" {
				return nil, failure(http.StatusMethodNotAllowed, "bad_request", fmt.Errorf("%s wants %s", r.URL.Path, method))
			}
		}
		return nil, failure(http.StatusNotFound, "not_found", fmt.Errorf("there is no %s", r.URL.Path))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// answer makes a handler of a function that returns the answer.
func answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			writeFailure(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
	})
}

// failed is an error with its HTTP status and its Failure.Code.
type failed struct {
	status int
	code   string
	err    error
}

func (e *failed) Error() string { return e.err.Error() }
func (e *failed) Unwrap() error { return e.err }

func failure(status int, code string, err error) error { return &failed{status, code, err} }

func badRequest(err error) error { return failure(http.StatusBadRequest, "bad_request", err) }

func writeFailure(w http.ResponseWriter, err error) {
	f := &failed{status: http.StatusInternalServerError, code: "internal", err: err}
	_ = errors.As(err, &f)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(Failure{Error: err.Error(), Code: f.code})
}

// decode reads a JSON body into v, strictly. A misspelt field would otherwise ask
// another question than was meant.
func decode(r *http.Request, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return badRequest(errors.New("the body must be application/json"))
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one value")
		}
	}
	if err != nil {
		return badRequest(fmt.Errorf("decode the body: %w", err))
	}
	return nil
}
