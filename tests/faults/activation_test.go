package faults

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The service manager makes the sockets, keeps them while the daemon is killed and
// restarted, and hears that the daemon is alive. A client that asks meanwhile waits and
// gets an answer.
func TestActivation(t *testing.T) {
	dir := newDir(t)
	conf := write(t, filepath.Join(dir, "policy.conf"), loopbackConf)
	names := []string{"control", "request", "compat"}
	sockets := makeSockets(t, dir, names...)
	notify := filepath.Join(dir, "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Close() }()
	startHanded := func() *stage.Process {
		return sockets.start(t, []string{"NOTIFY_SOCKET=" + notify, "WATCHDOG_USEC=20000"}, filepath.Join(bin, "mamma"), conf)
	}
	question := func(name string) <-chan netip.Addr {
		answer := make(chan netip.Addr, 1)
		l := connect(t, filepath.Join(dir, name))
		go func() {
			a, err := l.ask(toLoopback)
			if err != nil {
				t.Error(err)
			}
			answer <- a
		}()
		return answer
	}
	early := []<-chan netip.Addr{question("request"), question("compat")}
	for range 2 {
		p := startHanded()
		for _, answer := range early {
			if a := <-answer; a != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("suggested %v", a)
			}
		}
		_ = heard.SetReadDeadline(time.Now().Add(stage.Patience))
		for ready, alive := false, 0; !ready || alive < 3; {
			b := make([]byte, 100)
			n, err := heard.Read(b)
			if err != nil {
				t.Fatalf("ready %v, alive %d times: %v", ready, alive, err)
			}
			switch string(b[:n]) {
			case "READY=1":
				ready = true
			case "WATCHDOG=1":
				alive++
			}
		}
		if status, out := mammactl(t, &daemon{dir: dir}, 0, 0, "--control", filepath.Join(dir, "control"), "prefixes"); status != 0 || !strings.Contains(out, "127.0.0.0/8") {
			t.Errorf("status %d:\n%s", status, out)
		}
		p.Kill(t)
		early = []<-chan netip.Addr{question("compat"), question("request")} // of the next one
	}
	p := startHanded()
	for _, answer := range early {
		<-answer
	}
	p.Signal(t, syscall.SIGTERM)
	if status := p.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, p.Log)
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the service manager's socket: %v", err)
		}
	}
}
