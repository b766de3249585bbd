package testbed

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Seen is what an HTTP server saw of a request. The server sends it back as JSON.
type Seen struct {
	Time    time.Time      `json:"time"`
	Server  string         `json:"server"`  // the server's namespace: "service" or a network's name
	Network string         `json:"network"` // network that the client's address belongs to, "" if none
	Client  netip.AddrPort `json:"client"`
	Local   netip.AddrPort `json:"local"`
	Host    string         `json:"host"`
	Path    string         `json:"path"`
}

// HTTPServer answers on port 80 and remembers the requests.
//
//	GET /bytes/N   N zero bytes
//	POST /sink     reads the body and answers with its length
//	anything else  a Seen
//
// Add further handlers to Mux, even while the server runs.
type HTTPServer struct {
	Mux *http.ServeMux

	server  *http.Server
	network func(netip.Addr) string

	mu   sync.Mutex
	seen []Seen
}

// serveHTTP starts a server at the addresses. network returns the name of the network
// that an address belongs to.
func serveHTTP(n *Namespace, addrs []netip.Addr, network func(netip.Addr) string) (*HTTPServer, error) {
	s := &HTTPServer{Mux: http.NewServeMux(), network: network}
	s.Mux.HandleFunc("GET /bytes/{n}", serveBytes)
	s.Mux.HandleFunc("POST /sink", serveSink)
	s.Mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.saw(n.name, r)) // an error means that the client is gone
	})
	s.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.remember(s.saw(n.name, r))
			s.Mux.ServeHTTP(w, r)
		}),
	}
	for _, a := range addrs {
		l, err := n.Listen("tcp", netip.AddrPortFrom(a, 80).String())
		if err != nil {
			return s, fmt.Errorf("HTTP server of %s: %w", n.name, err)
		}
		go func() { _ = s.server.Serve(l) }() // ends with Close
	}
	return s, nil
}

func (s *HTTPServer) close() { _ = s.server.Close() }

// Requests returns the requests so far, in the order in which they came.
func (s *HTTPServer) Requests() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *HTTPServer) saw(server string, r *http.Request) Seen {
	seen := Seen{Time: time.Now(), Server: server, Host: r.Host, Path: r.URL.Path}
	seen.Client, _ = netip.ParseAddrPort(r.RemoteAddr) // always of that form
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		seen.Local = a.AddrPort()
	}
	seen.Network = s.network(seen.Client.Addr())
	return seen
}

func (s *HTTPServer) remember(seen Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < maxRecords {
		s.seen = append(s.seen, seen)
	}
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "not a number of bytes", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(w, zeros{}, n) // an error means that the client is gone
}

func serveSink(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintln(w, n)
}

// zeros is an endless source of zero bytes.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
