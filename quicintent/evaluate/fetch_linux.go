package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/quicintent"
)

// way is how bytes are fetched.
type way string

const (
	byIntent way = "quicintent"
	plain    way = "quic-go"
	mptcp    way = "MPTCP"
)

var ways = []way{byIntent, plain, mptcp}

// errand is what the client program does in the client's namespace.
type errand struct {
	Way     way
	URL     string
	CA      []byte // certificate that is trusted, DER
	Socket  string // of the daemon
	Objects int    // how many are fetched at the same time
	Size    int64  // of each
	Idle    time.Duration
}

// outcome is what came of an errand.
type outcome struct {
	Bytes   int64
	Broken  string        // why not all bytes came; "" if they did
	Wrong   bool          // the bytes were others than were sent
	Took    time.Duration // from the first request to the last byte
	Silence time.Duration // longest time without a byte, between the first and the last one
	Moves   []string
}

// fetch does the errand on standard input and writes the outcome to standard output.
func fetch(ctx context.Context) error {
	var e errand
	if err := json.NewDecoder(os.Stdin).Decode(&e); err != nil {
		return fmt.Errorf("errand: %w", err)
	}
	cert, err := x509.ParseCertificate(e.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	out := &outcome{}
	web, end, err := e.client(&tls.Config{RootCAs: pool}, out)
	if err != nil {
		return err
	}
	defer end()
	e.run(ctx, web, out)
	return json.NewEncoder(os.Stdout).Encode(out)
}

// client makes the HTTP client for a way. end closes it.
func (e *errand) client(conf *tls.Config, out *outcome) (web *http.Client, end func(), err error) {
	quicConf := &quic.Config{MaxIdleTimeout: e.Idle}
	switch e.Way {
	case byIntent:
		daemon := &client.Daemon{Path: e.Socket}
		d := &quicintent.Dialer{
			Client: &client.Dialer{Daemon: daemon, Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer)},
			OnMove: func(_ *quic.Conn, m quicintent.Move) { out.Moves = append(out.Moves, m.String()) },
		}
		tr := &http3.Transport{TLSClientConfig: conf, QUICConfig: quicConf, Dial: d.DialEarly}
		return &http.Client{Transport: tr}, func() { _, _ = tr.Close(), daemon.Close() }, nil
	case plain:
		tr := &http3.Transport{TLSClientConfig: conf, QUICConfig: quicConf}
		return &http.Client{Transport: tr}, func() { _ = tr.Close() }, nil
	case mptcp:
		d := &net.Dialer{}
		d.SetMultipathTCP(true)
		tr := &http.Transport{TLSClientConfig: conf, DialContext: d.DialContext, ForceAttemptHTTP2: true}
		return &http.Client{Transport: tr}, tr.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("no way %q", e.Way)
}

// progress notes when bytes come, of all objects together.
type progress struct {
	mu      sync.Mutex
	last    time.Time // zero: nothing has come yet
	silence time.Duration
	bytes   int64
}

func (p *progress) came(n int) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() {
		p.silence = max(p.silence, now.Sub(p.last))
	}
	p.last = now
	p.bytes += int64(n)
}

// errWrong tells that other bytes came than were sent.
var errWrong = errors.New("other bytes than were sent")

func (e *errand) run(ctx context.Context, web *http.Client, out *outcome) {
	begun := time.Now()
	var p progress
	var wg sync.WaitGroup
	errs := make([]error, e.Objects)
	for i := range errs {
		wg.Go(func() { errs[i] = e.object(ctx, web, &p) })
	}
	wg.Wait()
	out.Took, out.Silence, out.Bytes = time.Since(begun), p.silence, p.bytes
	for _, err := range errs {
		if errors.Is(err, errWrong) {
			out.Wrong = true
		}
	}
	if err := errors.Join(errs...); err != nil {
		out.Broken = err.Error()
	}
}

// object fetches one object and compares its hash.
func (e *errand) object(ctx context.Context, web *http.Client, p *progress) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL, nil)
	if err != nil {
		return err
	}
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	got, want := sha256.New(), sha256.New()
	b := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(b)
		if n > 0 {
			p.came(n)
			_, _ = got.Write(b[:n])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if _, err := io.Copy(want, &content{left: e.Size}); err != nil {
		return err
	}
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		return errWrong
	}
	return nil
}

// content is the content of an object. It repeats itself after 4 GiB only, so that parts
// in another order are noticed.
type content struct{ at, left int64 }

func (c *content) Read(b []byte) (int, error) {
	n := int(min(int64(len(b)), c.left))
	if n == 0 {
		return 0, io.EOF
	}
	for i := range b[:n] {
		b[i] = byte(uint32(c.at+int64(i)) * 2654435761 >> 24)
	}
	c.at += int64(n)
	c.left -= int64(n)
	return n, nil
}
