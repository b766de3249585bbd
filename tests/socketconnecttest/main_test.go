package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client/clienttest"
)

// discard accepts connections and counts what comes over each once it is closed.
func discard(t *testing.T) (address string, received chan int64) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received = make(chan int64, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				n, _ := io.Copy(io.Discard, nc)
				_ = nc.Close()
				received <- n
			}()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), received
}

// reuse is a manager whose policy uses the first idle socket again.
func reuse(r clienttest.Request) clienttest.Answer {
	a := clienttest.From("127.0.0.2")(r)
	a.Reuse = min(1, len(r.Idle))
	return a
}

func TestRun(t *testing.T) {
	address, received := discard(t)
	host, port, _ := net.SplitHostPort(address)
	d := clienttest.Start(t, reuse)
	url := "http://" + address
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		ok     int     // lines that say OK
		sent   []int64 // on each connection; nil: do not look
	}{
		{"one after the other", []string{"-p", "0", "-u", url}, 0, 4, []int64{32}},
		{"never again the same", []string{"-p", "0", "-t", "3", "-h", host, "-s", port, "--clearsocket"}, 0, 3, []int64{8, 8, 8}},
		{"intents", []string{"-p", "0", "-t", "2", "-u", url, "-F", "1024", "-C", "KEEPALIVES"}, 0, 2, []int64{16}},
		{"threads", []string{"-p", "3", "-t", "5", "-u", url}, 0, 16, nil},
		{"threads that do not reuse", []string{"-p", "2", "-t", "2", "-u", url, "--clearsocket"}, 0, 5, []int64{8, 8, 8, 8, 8}},
		{"quiet", []string{"-q", "-p", "0", "-u", url}, 0, 0, []int64{32}},
		{"verbose", []string{"-v", "-p", "0", "-u", url, "--ipversion", "4", "--protocol", "6"}, 0, 4, []int64{32}},
		{"multipath", []string{"-p", "0", "-u", url, "--protocol", "262"}, 0, 4, []int64{32}},
		{"refused", []string{"-p", "0", "-u", "http://127.0.0.1:1"}, 1, 0, nil},
		{"refused in threads", []string{"-u", "http://127.0.0.1:1"}, 1, 0, nil},
		{"help", []string{"--help"}, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := run(t.Context(), append(tt.args, "--socket", d.Path), &out, &errs); got != tt.status {
				t.Errorf("status %d, want %d\n%s", got, tt.status, &errs)
			}
			if n := strings.Count(out.String(), ": OK\n"); n != tt.ok {
				t.Errorf("%d tries succeeded, want %d:\n%s", n, tt.ok, &out)
			}
			if failed := strings.Contains(out.String(), "FAILED - exiting"); failed != (tt.status == 1) {
				t.Errorf("output:\n%s", &out)
			}
			var sent []int64
			for range tt.sent {
				sent = append(sent, <-received)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Errorf("bytes on each connection (-want +got)\n%s", diff)
			}
			if tt.name == "threads" {
				for total := int64(0); total < 16*8; {
					total += <-received
				}
			}
		})
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"x"}, {"--nonsense"}, {"-C", "nonsense"}, {"--transport", "SCTP"}, {"--ipversion", "5"}, {"-h", "localhost"},
		{"-u", "http://localhost"}, {"-u", "localhost:80"}, {"-u", "http://%"}, {"--protocol", "17"}, {"--transport", "UDP", "--protocol", "6"},
	} {
		var errs bytes.Buffer
		if got := run(t.Context(), args, io.Discard, &errs); got != 2 || !strings.Contains(errs.String(), "--help") {
			t.Errorf("%q: status %d, %s", args, got, &errs)
		}
	}
}
