package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"

	endpoints "github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const (
	first, second = "wlan0", "wwan0"
	patience      = 30 * time.Second
)

// policy places bulk transfers on the first network.
const policy = `policy "intents" {}
interface "wlan0" {
  default  = true
  link_dns = false
  options { category = "bulktransfer" }
}
interface "wwan0" { link_dns = false }
`

// world is a client host with two networks, a daemon, and a web server.
type world struct {
	bed    *testbed.Bed
	dir    string
	socket string
	cert   tls.Certificate

	written atomic.Int64 // by the server
	third   chan struct{}
	mark    int64 // third is closed when so much has been written

	web    []io.Closer
	daemon *exec.Cmd
	log    journal
}

// journal is what a program has written so far. It can be read while the program runs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newWorld makes one. mark is how many bytes the server has sent when third is closed.
// If the kernel has no Multipath TCP but it is needed, the error is
// endpoints.ErrUnsupported.
func newWorld(mamma string, by way, mark int64) (_ *world, err error) {
	shape := testbed.Shape{Rate: 40 * testbed.Mbit, Delay: 10 * time.Millisecond}
	w := &world{mark: mark, third: make(chan struct{})}
	if w.dir, err = os.MkdirTemp("", "e11"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	config := testbed.Config{Congestion: "cubic"}
	for _, name := range []string{first, second} {
		config.Networks = append(config.Networks, testbed.NetworkConfig{Name: name, SourceRule: true, Emulate: &testbed.LinkConfig{Down: shape, Up: shape}})
	}
	if w.bed, err = testbed.New(config); err != nil {
		return nil, err
	}
	if err := w.serve(); err != nil {
		return nil, err
	}
	if by == mptcp {
		if err := w.bed.Client.Do(w.join); err != nil {
			return nil, err
		}
	}
	return w, w.start(mamma)
}

// start starts the daemon.
func (w *world) start(mamma string) error {
	file := filepath.Join(w.dir, "policy.conf")
	w.socket = filepath.Join(w.dir, "mamma.sock")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return err
	}
	w.daemon = exec.Command(mamma, "--socket", w.socket, file)
	w.daemon.Stdout, w.daemon.Stderr = &w.log, &w.log
	if err := w.bed.Client.Start(w.daemon); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", w.socket)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("the daemon does not serve: %w", err)
		}
	}
}

// serve serves /SIZE over HTTP/3 and over HTTP/2.
func (w *world) serve() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{testbed.ServiceAddr4.AsSlice()}, NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return err
	}
	w.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	address := netip.AddrPortFrom(testbed.ServiceAddr4, 443).String()
	pc, err := w.bed.Service.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	var l net.Listener
	err = w.bed.Service.Do(func() (err error) {
		lc := &net.ListenConfig{}
		lc.SetMultipathTCP(true)
		l, err = lc.Listen(context.Background(), "tcp4", address)
		return err
	})
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	conf := &tls.Config{Certificates: []tls.Certificate{w.cert}}
	handler := http.HandlerFunc(w.handle)
	three := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(conf.Clone()), Handler: handler}
	two := &http.Server{TLSConfig: conf, Handler: handler, ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0)}
	w.web = []io.Closer{three, two, pc}
	go func() { _ = three.Serve(pc) }()         // ends by close
	go func() { _ = two.ServeTLS(l, "", "") }() // ends by close
	return nil
}

// join lets Multipath TCP use both networks.
func (w *world) join() error {
	c, err := endpoints.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetLimits(endpoints.Limits{Subflows: 2, AddAddrs: 2}); err != nil {
		return err
	}
	for _, n := range w.bed.Networks {
		if err := c.AddEndpoint(endpoints.Endpoint{Addr: n.Client4, Flags: endpoints.FlagSubflow, Index: n.Index}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) handle(rw http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Path[1:], 10, 64)
	if err != nil {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("Content-Length", r.URL.Path[1:])
	b := make([]byte, 16<<10)
	for c := (&content{left: size}); ; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := rw.Write(b[:n]); err != nil {
			return
		}
		if all := w.written.Add(int64(n)); all >= w.mark && all-int64(n) < w.mark {
			close(w.third)
		}
	}
}

// run does an errand, with an event when a third of the bytes have been sent.
func (w *world) run(e errand, ev event) (*outcome, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e.CA, e.Socket, e.Idle = w.cert.Certificate[0], w.socket, idle
	e.URL = fmt.Sprintf("https://%s/%d", testbed.ServiceAddr4, e.Size)
	in, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, fetchCommand)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	done := make(chan error, 1)
	go func() { done <- w.bed.Client.Run(cmd) }()
	select {
	case err = <-done:
		// If there is no error, the outcome says why too few bytes came.
		return nil, fmt.Errorf("%w\n%s%s", errors.Join(errors.New("the client ended before a third of the bytes were sent"), err), &out, &errs)
	case <-w.third:
	}
	if err := ev.happen(w.bed); err != nil {
		return nil, err
	}
	if err := <-done; err != nil {
		return nil, fmt.Errorf("%w\n%s%s", err, &errs, &w.log)
	}
	o := &outcome{}
	return o, json.Unmarshal(out.Bytes(), o)
}

func (w *world) close() {
	for _, c := range w.web {
		_ = c.Close()
	}
	if w.bed != nil {
		w.bed.Close()
	}
	if w.daemon != nil && w.daemon.Process != nil {
		_ = w.daemon.Wait()
	}
	_ = os.RemoveAll(w.dir)
}

// event is what happens to the first network.
type event string

const (
	nothing  event = "nothing"
	linkDown event = "link goes down"
	silence  event = "falls silent"
	outage   event = "silent for 3 s"
)

func (ev event) happen(bed *testbed.Bed) error {
	lost := testbed.Shape{Loss: 1}
	link := bed.Network(first).Link
	switch ev {
	case linkDown:
		l, err := bed.Client.Handle().LinkByName(first)
		if err != nil {
			return err
		}
		return bed.Client.Handle().LinkSetDown(l)
	case silence:
		return link.Set(lost, lost)
	case outage:
		down, up := link.Shapes()
		if err := link.Set(lost, lost); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		return link.Set(down, up)
	}
	return nil
}
