package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/socket-intents/mamma/client/clienttest"
)

// The program prints what it has downloaded, and over which network.
func TestRun(t *testing.T) {
	content := bytes.Repeat([]byte("mamma"), 100_000)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/file" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	s.StartTLS() // for its certificate
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveUDPAddr("udp4", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	uc, err := net.ListenUDP("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	h3 := &http3.Server{Handler: s.Config.Handler, TLSConfig: http3.ConfigureTLSConfig(s.TLS)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h3.Serve(uc)
	}()
	defer func() {
		_ = h3.Close()
		_ = uc.Close()
		<-done
	}()
	m := clienttest.Start(t, func(clienttest.Request) clienttest.Answer {
		return clienttest.Answer{Source: netip.MustParseAddr("127.0.0.2")}
	})
	var stdout, stderr bytes.Buffer
	args := []string{"--socket", m.Path, "--ca", ca, "--intent", "category=bulktransfer,filesize=500K", s.URL + "/file"}
	if err := run(t.Context(), args, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if got := stdout.String(); !strings.HasPrefix(got, "500000 bytes by HTTP/3.0 in ") || !strings.HasSuffix(got, fmt.Sprintf(" s, sha256 %x\n", sha256.Sum256(content))) {
		t.Errorf("%q", got)
	}
	if r := m.Requests(); len(r) == 0 || !r[0].Datagram || r[0].Intents.String() != "category=bulktransfer,filesize=500kB" {
		t.Errorf("asked %+v", r)
	}
	for _, args := range [][]string{{}, {"--intent", "category=x", "https://192.0.2.1/"}, {"--ca", "/nonexistent", "https://192.0.2.1/"}, {"--socket", m.Path, "--ca", ca, s.URL + "/none"}} {
		if err := run(t.Context(), args, &stdout, &stderr); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
