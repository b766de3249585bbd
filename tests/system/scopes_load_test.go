package system

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// steadyEnv makes this program connect to the address in the variable, steadyRate times a
// second, until its input ends. It prints a line for each connection.
const (
	steadyEnv  = "MAMMA_SYSTEM_STEADY"
	steadyRate = 500
)

// connectPatience is how long a connection may take. The kernel sends its first segment
// again after 1 s, and after 3 s.
const connectPatience = 10 * time.Second

// steadily is a line that the steady program prints.
type steadily struct {
	Begun time.Time // just before the call that connects
	Ended time.Time // just after it
	Local netip.Addr
	Errno syscall.Errno // 0: connected
}

func serveSteadily(address string, in io.Reader, out io.Writer) int {
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, in); close(done) }()
	var all sync.WaitGroup
	defer all.Wait()
	var one sync.Mutex
	lines := json.NewEncoder(out)
	tick := time.NewTicker(time.Second / steadyRate)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return 0
		case <-tick.C:
		}
		all.Go(func() {
			r := connectOnce(address)
			one.Lock()
			defer one.Unlock()
			_ = lines.Encode(r)
		})
	}
}

func connectOnce(address string) steadily {
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	r := steadily{Begun: time.Now()}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	r.Ended = time.Now()
	if err != nil {
		if !errors.As(err, &r.Errno) {
			r.Errno = syscall.ETIMEDOUT
		}
		return r
	}
	r.Local = c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	_ = c.(*net.TCPConn).SetLinger(0) // so many connections leave nothing behind
	_ = c.Close()
	return r
}

// steady is a running program that connects all the time.
type steady struct {
	t    *testing.T
	p    *stage.Process
	in   io.WriteCloser
	mu   sync.Mutex
	all  []steadily
	done chan struct{}
}

func (s *scopeStage) steady(g *groupbed.Group) *steady {
	s.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), steadyEnv+"=192.0.2.1:80")
	g.Put(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout = w
	x := &steady{t: s.t, in: in, done: make(chan struct{})}
	x.p = stage.Launch(s.t, s.bed.Client, cmd)
	go func() { <-x.p.Exited(); _ = w.Close() }()
	go func() {
		defer close(x.done)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var c steadily
			if json.Unmarshal(lines.Bytes(), &c) == nil {
				x.mu.Lock()
				x.all = append(x.all, c)
				x.mu.Unlock()
			}
		}
	}()
	return x
}

// await waits until n connections that began after a time have gone over a network, and
// returns when the first of them was made. A connection that began later than that has met
// nothing else.
func (x *steady) await(after time.Time, network string, n int) (first time.Time) {
	x.t.Helper()
	stage.Until(x.t, fmt.Sprintf("%d connections over %s", n, network), func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		found := 0
		for _, c := range x.all {
			if c.Begun.After(after) && c.Errno == 0 && networkOf(c.Local) == network {
				if found++; found == 1 || c.Ended.Before(first) {
					first = c.Ended
				}
			}
		}
		return found >= n
	})
	return first
}

// stop ends the program and returns all of its connections.
func (x *steady) stop() []steadily {
	x.t.Helper()
	_ = x.in.Close()
	<-x.done
	return x.all
}

func networkOf(a netip.Addr) string {
	switch text := a.String(); {
	case strings.HasPrefix(text, "10.1."):
		return "wlan0"
	case strings.HasPrefix(text, "10.2."):
		return "wwan0"
	default:
		return text
	}
}

// Two services connect 500 times a second each while a network is lost, mamma is killed,
// started again, and the network is back. Each connection is on the network that its scope
// names. Only connections on the lost network fail, and only those that began before mamma
// moved the scope.
func TestScopesUnderLoad(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	d := s.start()
	web, backup := s.steady(s.web), s.steady(s.backup)
	begun := time.Now()
	web.await(begun, "wlan0", 100)
	backup.await(begun, "wwan0", 100)

	lost := time.Now()
	s.carrier("wlan0", false)
	moved := web.await(lost, "wwan0", 100)
	d.Kill(t)
	web.await(time.Now(), "wwan0", 100)
	d = s.start()
	web.await(time.Now(), "wwan0", 100)
	back := time.Now()
	s.carrier("wlan0", true)
	home := web.await(back, "wlan0", 100)

	failed := 0
	for _, c := range web.stop() {
		network, phase := networkOf(c.Local), ""
		switch {
		case c.Begun.Before(lost) || c.Begun.After(home):
			phase = "wlan0"
		case c.Begun.After(moved) && c.Begun.Before(back):
			phase = "wwan0"
		case c.Errno != 0 && c.Begun.Before(moved):
			failed++
			continue
		}
		// A connection that began at the moment of the loss may be lost with its network.
		if c.Errno != 0 && (phase != "wlan0" || !c.Begun.Before(lost) || c.Begun.Before(lost.Add(-connectPatience))) || c.Errno == 0 && phase != "" && network != phase {
			t.Errorf("web: %v after the loss (moved after %v, back after %v): over %s, want %s; %v", c.Begun.Sub(lost), moved.Sub(lost), back.Sub(lost), network, phase, c.Errno)
		}
	}
	t.Logf("mamma moved the scope %v after the loss; %d connections had failed", moved.Sub(lost), failed)
	for _, c := range backup.stop() {
		if c.Errno != 0 || networkOf(c.Local) != "wwan0" {
			t.Errorf("backup: %v after the loss: over %s; %v", c.Begun.Sub(lost), networkOf(c.Local), c.Errno)
		}
	}
	if log := d.Log.String(); strings.Contains(log, "does not take what scopes need") {
		t.Error(log)
	}
}

// Programs of different kinds, in two units at once, are on the networks of their units:
// curl, a program in Go, datagrams of iperf3, and Chromium.
func TestScopesPrograms(t *testing.T) {
	s := newScopeStage(t, twoScopes)
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Skip("needs the program iperf3: ", err)
	}
	s.start()
	server := stage.Launch(t, s.bed.Service.Namespace, exec.Command("iperf3", "-s", "-B", "192.0.2.1", "-p", "5201", "--forceflush"))
	server.Out.Await(t, "Server listening", 1)
	var both sync.WaitGroup
	for g, want := range map[*groupbed.Group]string{s.backup: "wwan0", s.web: "wlan0"} {
		both.Go(func() {
			name := filepath.Base(g.Path)
			if got := s.fetch(g, "http://192.0.2.1/"); got != want {
				t.Errorf("curl in %s: over %s, want %s", name, got, want)
			}
			x := s.steady(g)
			x.await(time.Time{}, want, 5)
			for _, c := range x.stop() {
				if c.Errno != 0 || networkOf(c.Local) != want {
					t.Errorf("Go in %s: over %s, want %s; %v", name, networkOf(c.Local), want, c.Errno)
				}
			}
			s.browse(g, want)
		})
	}
	both.Wait()
	for g, want := range map[*groupbed.Group]string{s.backup: "wwan0", s.web: "wlan0"} {
		for _, kind := range []string{"-u", "-i0"} {
			if got := s.measure(g, kind); got != want {
				t.Errorf("iperf3 %s in %s: over %s, want %s", kind, filepath.Base(g.Path), got, want)
			}
		}
	}
}

// browse lets Chromium in a group open a page of the service.
func (s *scopeStage) browse(g *groupbed.Group, want string) {
	b, err := chromium.Start(s.t.TempDir(), func(cmd *exec.Cmd) error { g.Put(cmd); return s.bed.Client.Start(cmd) })
	if errors.Is(err, chromium.ErrUnavailable) {
		s.t.Log("Chromium is not tried: ", err)
		return
	}
	if err != nil {
		s.t.Errorf("Chromium: %v", err)
		return
	}
	defer b.Close() //nolint:errcheck // it has opened the page
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*stage.Patience)
	defer cancel()
	path := "/in-" + filepath.Base(g.Path)
	if _, err := b.Open(ctx, "http://192.0.2.1"+path); err != nil {
		s.t.Errorf("Chromium in %s: %v", filepath.Base(g.Path), err)
		return
	}
	for _, r := range s.bed.Service.HTTP.Requests() {
		if r.Path == path {
			if r.Network != want {
				s.t.Errorf("Chromium in %s: over %s, want %s", filepath.Base(g.Path), r.Network, want)
			}
			return
		}
	}
	s.t.Errorf("Chromium in %s has opened a page without asking for it", filepath.Base(g.Path))
}

// measure lets iperf3 in a group send a little. It returns the network of the connection
// that carries the data.
func (s *scopeStage) measure(g *groupbed.Group, kind string) string {
	s.t.Helper()
	cmd := exec.Command("iperf3", "-c", "192.0.2.1", "-p", "5201", "-n", "64K", "--json", kind)
	g.Put(cmd)
	p := stage.Launch(s.t, s.bed.Client, cmd)
	if code := p.Wait(s.t); code != 0 {
		s.t.Fatalf("iperf3: exit status %d\n%s%s", code, p.Out, p.Log)
	}
	var r struct {
		Start struct {
			Connected []struct {
				Local netip.Addr `json:"local_host"`
			}
		}
	}
	if err := json.Unmarshal([]byte(p.Out.String()), &r); err != nil || len(r.Start.Connected) != 1 {
		s.t.Fatalf("iperf3: %v\n%s", err, p.Out)
	}
	return networkOf(r.Start.Connected[0].Local)
}
