package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	contract "github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The slow server sends a page of this size in this many parts. The pauses between them
// are shorter than those that a program makes.
const (
	slowPort  = 7002
	pageSize  = 100_000
	pageParts = 40
	partPause = 20 * time.Millisecond
)

// serveSlowly serves pages. Over the network that the first connection takes, they come a
// part at a time, as if something on the way held each connection back. No counter of an
// interface tells of that.
func (w *world) serveSlowly(l net.Listener) {
	slow := sync.OnceValue(func() *testbed.Network { return w.NetworkOf(w.streams[0].Addr()) })
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			from := w.noted(&w.streams, c.RemoteAddr())
			held := w.NetworkOf(from.Addr()) == slow()
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", pageSize)
			tick := time.NewTicker(partPause)
			defer tick.Stop()
			for range pageParts {
				if held {
					<-tick.C
				}
				if _, err := c.Write(make([]byte, pageSize/pageParts)); err != nil {
					return
				}
			}
		}()
	}
}

// load downloads over a network, without asking mamma, and so shows what it can carry.
func (w *world) load(t *testing.T, network string, n int) {
	t.Helper()
	d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.Network(network).Client4, 0))}
	c, err := w.Client.Dial(t.Context(), d, "tcp", net.JoinHostPort(testbed.ServiceAddr4.String(), "80"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "GET /bytes/%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", n); err != nil {
		t.Fatal(err)
	}
	if got, err := io.Copy(io.Discard, c); err != nil || got < int64(n) {
		t.Fatal(got, err)
	}
}

// A policy learns from connections of programs that report nothing. Over the network that
// it prefers, each connection gets a tenth of what the network can carry. The policy moves
// to the other network, which was measured to be about as good.
func TestPolicyLearnsFromUnchangedProgram(t *testing.T) {
	require(t, "curl")
	link := testbed.Shape{Rate: 8 * testbed.Mbit, Delay: 10 * time.Millisecond}
	emulate := func() *testbed.LinkConfig { return &testbed.LinkConfig{Down: link, Up: link} }
	w := &world{
		Bed: testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{
			{Name: "wlan0", SourceRule: true, Emulate: emulate()}, {Name: "wwan0", SourceRule: true, Emulate: emulate()},
		}}),
		dir: folder(t), arrived: make(chan struct{}),
	}
	l, err := w.Service.Listen("tcp", net.JoinHostPort(testbed.ServiceAddr4.String(), fmt.Sprint(slowPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go w.serveSlowly(l)
	record := filepath.Join(w.dir, "decisions.jsonl")
	config := fmt.Sprintf(`policy "adaptive" {}
probe {
  when = "never"
}
decisions {
  record = %q
}
interface "wlan0" {
  default = true
}
interface "wwan0" {}
`, record)
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", config); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"wlan0", "wwan0"} {
		w.load(t, network, 3e6)
	}
	var over []string
	moved := func() bool { n := len(over); return n > 5 && !slices.Contains(over[n-5:], over[0]) }
	for len(over) < 30 && !moved() {
		_, errs, status := w.output(t, w.command(root, "--", "curl", "-gsS", "-o", "/dev/null", fmt.Sprintf("http://%v:%d/", testbed.ServiceAddr4, slowPort)))
		if status != 0 {
			t.Fatalf("curl: status %d\n%s", status, errs)
		}
		w.mu.Lock()
		over = append(over, w.NetworkOf(w.streams[len(w.streams)-1].Addr()).Name)
		w.mu.Unlock()
	}
	if !moved() {
		t.Errorf("the connections went over %v", over)
	}
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, x := range transfers(t, record) {
		if !x.Measured || x.Token == 0 || x.Prefix == nil || x.App.PID == 0 {
			t.Errorf("%+v", x)
			continue
		}
		if x.Prefix.Interface == over[0] && x.Bytes >= pageSize && x.Duration >= pageParts*partPause/2 {
			slow++
		}
	}
	if slow == 0 {
		t.Errorf("no slow transfer is recorded; the connections went over %v", over)
	}
	t.Logf("went over %v; %d slow transfers are recorded", over, slow)
}

// transfers reads the transfers in a recording.
func transfers(t *testing.T, file string) (list []contract.Transfer) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r := decisionlog.NewReader(f)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Transfer != nil {
			list = append(list, *e.Transfer)
		}
	}
}
