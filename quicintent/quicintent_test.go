package quicintent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/clienttest"
	"github.com/socket-intents/mamma/intent"
)

// keys returns the configuration of a server, and that of a client which trusts it.
func keys(t *testing.T, protocols ...string) (server, trusting *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"service.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: protocols}
	return server, &tls.Config{RootCAs: pool, NextProtos: protocols}
}

// manager is a manager by script: streams go from 127.0.0.3, the rest from 127.0.0.2.
func manager(t *testing.T) (*clienttest.Manager, *client.Dialer) {
	t.Helper()
	m := clienttest.Start(t, func(r clienttest.Request) clienttest.Answer {
		a := clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2"), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
		if c, ok := r.Intents.Category(); ok && c == intent.CategoryStream {
			a.Source = netip.MustParseAddr("127.0.0.3")
		}
		return a
	})
	d := &client.Dialer{Daemon: &client.Daemon{Path: m.Path, DecisionTimeout: 20 * time.Second}}
	t.Cleanup(func() { _ = d.Daemon.Close() })
	return m, d
}

// echo is a QUIC server that sends back a stream and records where connections come
// from.
func echo(t *testing.T, conf *tls.Config) (address string, from chan string) {
	t.Helper()
	l, err := quic.ListenAddr("127.0.0.1:0", conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	from = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			from <- host
			go func() {
				s, err := c.AcceptStream(context.Background())
				if err == nil {
					_, _ = io.Copy(s, s)
					_ = s.Close()
				}
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort("service.test", port), from
}

// Connections go where the manager places them, and carry data. Their sockets end with
// them.
func TestDial(t *testing.T) {
	_, via := manager(t)
	server, trusting := keys(t, "echo")
	address, from := echo(t, server)
	d := &Dialer{Client: via}
	for _, tt := range []struct {
		name    string
		dial    func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error)
		intents intent.Set
		want    string
	}{
		{"Dial", d.Dial, intent.Set{}, "127.0.0.2"},
		{"Dial, a stream", d.Dial, intent.Set{}.WithCategory(intent.CategoryStream), "127.0.0.3"},
		{"DialEarly", d.DialEarly, intent.Set{}, "127.0.0.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(intent.NewContext(t.Context(), tt.intents), 20*time.Second)
			defer cancel()
			c, err := tt.dial(ctx, address, trusting, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-from; got != tt.want {
				t.Errorf("from %s, want %s", got, tt.want)
			}
			s, err := c.OpenStreamSync(ctx)
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
			go func() {
				_, _ = s.Write(want)
				_ = s.Close()
			}()
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := c.CloseWithError(0, ""); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := d.Dial(t.Context(), address, nil, nil); err == nil {
		t.Error("dialled without a tls.Config")
	}
	if _, err := d.Dial(t.Context(), "service.test", trusting, nil); err == nil {
		t.Error("dialled without a port")
	}
}

// A request goes over HTTP/3 if the server speaks it. It goes over TCP if the server
// does not, or if HTTP/3 was not tried because the request has a body.
func TestRoundTripper(t *testing.T) {
	_, via := manager(t)
	server, trusting := keys(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	tcp := httptest.NewUnstartedServer(handler)
	tcp.TLS = server.Clone()
	tcp.EnableHTTP2 = true
	tcp.StartTLS()
	defer tcp.Close()
	_, port, _ := net.SplitHostPort(tcp.Listener.Addr().String())
	addr, err := net.ResolveUDPAddr("udp4", tcp.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "https://service.test:" + port + "/"
	ask := func(r *RoundTripper, method, content string) string {
		t.Helper()
		var b io.Reader
		if content != "" {
			b = strings.NewReader(content)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, url, b)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return string(got)
	}
	make3 := func() *RoundTripper {
		return &RoundTripper{Dialer: &Dialer{Client: via}, TLSClientConfig: trusting, HeadStart: -1}
	}
	// Nobody listens on UDP, so TCP answers.
	r := make3()
	if got := ask(r, http.MethodGet, ""); got != "HTTP/2.0" {
		t.Errorf("without HTTP/3: %s", got)
	}
	_ = r.Close()

	uc, err := net.ListenUDP("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	h3 := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(server)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h3.Serve(uc)
	}()
	r = make3()
	r.HeadStart = 20 * time.Second
	if got := ask(r, http.MethodPost, "content"); got != "HTTP/2.0" {
		t.Errorf("a POST to an unknown server: %s", got)
	}
	for _, method := range []string{http.MethodGet, http.MethodGet, http.MethodPost} {
		content := ""
		if method == http.MethodPost {
			content = "content"
		}
		if got := ask(r, method, content); got != "HTTP/3.0" {
			t.Errorf("%s with HTTP/3: %s", method, got)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	_ = h3.Close()
	_ = uc.Close()
	<-served
}
