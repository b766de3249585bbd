package quicintent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// headStart is the time that HTTP/3 has before TCP is tried. It is the time that
	// RFC 8305 gives the preferred family, and a round trip more, because the handshake
	// of HTTP/3 includes TLS.
	headStart = 300 * time.Millisecond
	// forgetAfter is how long a host without HTTP/3 is not asked for HTTP/3 again.
	forgetAfter = 5 * time.Minute
	// mostHosts limits how many hosts are remembered.
	mostHosts = 1024
)

// RoundTripper is an http.RoundTripper that speaks HTTP/3 over connections of a Dialer,
// and TCP where HTTP/3 does not get through. The first request without a body to a host
// is a race: if HTTP/3 has not answered after HeadStart, the request goes over TCP too,
// and the first answer counts. Later requests use what has worked. HTTP/3 is tried
// again after five minutes with a host that lacked it. The zero value is ready to use.
// A RoundTripper is safe for concurrent use, and must not be copied after first use.
//
// The manager decides on HTTP/3 and TCP separately, so the two may go over different
// networks.
type RoundTripper struct {
	// Dialer dials the connections of HTTP/3. nil means that the RoundTripper has its
	// own.
	Dialer *Dialer
	// TLSClientConfig and QUICConfig are used for HTTP/3. nil means the defaults.
	TLSClientConfig *tls.Config
	QUICConfig      *quic.Config
	// TCP takes the requests that HTTP/3 does not take, and all that are not for https.
	// nil stands for a copy of http.DefaultTransport that dials with the Dialer's
	// Client and TLSClientConfig.
	TCP http.RoundTripper
	// HeadStart is how long HTTP/3 may take to answer before TCP is tried as well. 0
	// means 300 ms. A negative value means to try both at once.
	HeadStart time.Duration

	once  sync.Once
	own   Dialer
	h3    *http3.Transport
	tcp   http.RoundTripper
	mu    sync.Mutex
	hosts map[string]time.Time // hosts without HTTP/3, with the time until which that is believed
}

var _ http.RoundTripper = (*RoundTripper)(nil)

func (r *RoundTripper) init() {
	d := r.Dialer
	if d == nil {
		d = &r.own
	}
	r.h3 = &http3.Transport{TLSClientConfig: r.TLSClientConfig, QUICConfig: r.QUICConfig, Dial: d.DialEarly}
	if r.tcp = r.TCP; r.tcp == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = d.client().DialContext
		t.TLSClientConfig = r.TLSClientConfig.Clone()
		r.tcp = t
	}
	r.hosts = map[string]time.Time{}
}

// RoundTrip implements http.RoundTripper.
func (r *RoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	r.once.Do(r.init)
	if req.URL.Scheme != "https" {
		return r.tcp.RoundTrip(req)
	}
	// An open connection proves that the host has HTTP/3, whatever was believed before.
	resp, err := r.h3.RoundTripOpt(req, http3.RoundTripOpt{OnlyCachedConn: true})
	if !errors.Is(err, http3.ErrNoCachedConn) {
		return resp, err
	}
	raced := (req.Body == nil || req.Body == http.NoBody) && (req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead)
	if !raced || r.without(req.URL.Host, time.Now()) {
		return r.tcp.RoundTrip(req)
	}
	return r.race(req)
}

// without tells whether a host is known not to speak HTTP/3.
func (r *RoundTripper) without(host string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.hosts[host]
	if ok && now.After(until) {
		delete(r.hosts, host)
		ok = false
	}
	return ok
}

func (r *RoundTripper) remember(host string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hosts) >= mostHosts {
		clear(r.hosts)
	}
	r.hosts[host] = now.Add(forgetAfter)
}

// runner is one of the two attempts of a race.
type runner struct {
	resp   *http.Response
	err    error
	cancel context.CancelFunc
	h3     bool
}

// race sends req over HTTP/3, and also over TCP if HTTP/3 takes long or fails.
func (r *RoundTripper) race(req *http.Request) (*http.Response, error) {
	done := make(chan runner, 2)
	cancels := map[bool]context.CancelFunc{}
	start := func(h3 bool) {
		rt := r.tcp
		if h3 {
			rt = r.h3
		}
		ctx, cancel := context.WithCancel(req.Context())
		cancels[h3] = cancel
		go func() {
			resp, err := rt.RoundTrip(req.Clone(ctx))
			done <- runner{resp, err, cancel, h3}
		}()
	}
	start(true)
	running := 1
	wait := r.HeadStart
	if wait == 0 {
		wait = headStart
	}
	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	late := timer.C
	var errs []error
	for running > 0 {
		select {
		case <-late:
			late = nil
			start(false)
			running++
		case got := <-done:
			running--
			if got.err == nil {
				if running > 0 {
					cancels[!got.h3]()
					go discard(done)
				}
				got.resp.Body = &body{got.resp.Body, got.cancel}
				return got.resp, nil
			}
			got.cancel()
			errs = append(errs, got.err)
			if got.h3 && req.Context().Err() == nil {
				r.remember(req.URL.Host, time.Now())
				if late != nil {
					late = nil
					start(false)
					running++
				}
			}
		}
	}
	return nil, errors.Join(errs...)
}

// discard waits for the answer that is not used, and closes it.
func discard(done <-chan runner) {
	got := <-done
	if got.err == nil {
		_ = got.resp.Body.Close()
	}
	got.cancel()
}

// body ends the request's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// CloseIdleConnections closes connections that carry no request.
// http.Client.CloseIdleConnections calls it.
func (r *RoundTripper) CloseIdleConnections() {
	r.once.Do(r.init)
	r.h3.CloseIdleConnections()
	if t, ok := r.tcp.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Close ends all requests over HTTP/3 and closes their connections. It also closes idle
// TCP connections.
func (r *RoundTripper) Close() error {
	r.CloseIdleConnections()
	return errors.Join(r.h3.Close(), r.own.Close())
}
