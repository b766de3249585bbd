package clientapi

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

var examples = []string{"classic", "addrinfo", "socketconnect", "async", "download", "tls", "udp"}

// The examples do what they say. If an example does not print the network, the server tells
// it.
func TestExamples(t *testing.T) {
	bed := twoNetworks(t, false)
	d := startDaemon(t, bed, byCategory)
	sank := sink(t, bed)
	echo(t, bed)
	bed.Service.HTTP.Mux.HandleFunc("GET /image.iso", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 123))
	})
	for _, tt := range []struct {
		name   string
		args   []string
		want   []string // in the output
		status int
	}{
		{"classic", []string{"192.0.2.1", "9"}, nil, 0},
		{"addrinfo", []string{"-C", "bulktransfer", "192.0.2.1"}, []string{
			"192.0.2.1:80 from 10.64.3.9, protocol 6, 1 options\n", "192.0.2.1:80 from any address", "connected to 192.0.2.1:80\n",
		}, 0},
		{"addrinfo", []string{"-n", "www.example.net"}, []string{"192.0.2.1:80 from 192.168.0.23"}, 0},
		{"socketconnect", []string{"192.0.2.1:80"}, []string{"200 OK over 192.168.0.23:", "used before: false", "used before: true"}, 0},
		{"async", []string{"192.0.2.1:80", "192.0.2.1:9", "192.0.2.1:1"}, []string{"started 3 in", "192.0.2.1:80 from 192.168.0.23:", "192.0.2.1:9 from", "connection refused"}, 0},
		{"download", []string{"http://192.0.2.1/", "http://192.0.2.1/image.iso"}, []string{"from 192.168.0.23:", "image.iso: 123 bytes from 10.64.3.9:", "(category=bulktransfer,filesize=123B)"}, 0},
		{"tls", []string{"192.0.2.1:80"}, []string{"tls: first record does not look like a TLS handshake"}, 1},
		{"udp", []string{"192.0.2.1:7", "hello"}, []string{`answered "hello" to 192.168.0.23:`}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(bin, tt.name), tt.args...)
			cmd.Env = append(os.Environ(), "MAMMA_SOCKET="+d.Socket)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			err := bed.Client.Run(cmd)
			if status := cmd.ProcessState.ExitCode(); status != tt.status {
				t.Errorf("status %d (%v)\n%s", status, err, &out)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, &out)
				}
			}
			if tt.name == "classic" {
				if got := <-sank; got.bytes != 1<<20 || got.network != "lte" {
					t.Errorf("%d bytes came over %s", got.bytes, got.network)
				}
			}
		})
	}
}

type arrival struct {
	bytes   int64
	network string
}

// sink reads what arrives at port 9 of the service, and tells what it was.
func sink(t *testing.T, bed *testbed.Bed) <-chan arrival {
	t.Helper()
	ln, err := bed.Service.Listen("tcp4", "192.0.2.1:9")
	if err != nil {
		t.Fatal(err)
	}
	arrivals := make(chan arrival, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, io.LimitReader(nc, 1<<20))
			if err == nil && n > 0 {
				arrivals <- arrival{n, networkOf(bed, nc)}
			}
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return arrivals
}

// echo answers datagrams to port 7 of the service.
func echo(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	answer(t, listenDatagrams(t, bed), func(b []byte, _ netip.AddrPort) []byte { return b })
}

func listenDatagrams(t *testing.T, bed *testbed.Bed) net.PacketConn {
	t.Helper()
	pc, err := bed.Service.ListenPacket("udp4", "192.0.2.1:7")
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// answer answers datagrams until the test ends.
func answer(t *testing.T, pc net.PacketConn, f func(b []byte, from netip.AddrPort) []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(f(b[:n], from.(*net.UDPAddr).AddrPort()), from)
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
}
