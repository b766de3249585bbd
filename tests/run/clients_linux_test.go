package run

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// serve starts a server beside the service and waits until it says so.
func (w *world) serve(t *testing.T, says string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var all bytes.Buffer
	r, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = pw, pw
	err = w.Service.Start(cmd)
	_ = pw.Close()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s := bufio.NewScanner(r)
		for s.Scan() {
			all.WriteString(s.Text() + "\n")
			if strings.Contains(s.Text(), says) {
				ready <- true
				says = "\x00" // once
			}
		}
		close(ready)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-drained
		_ = r.Close()
	})
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("%s ended:\n%s", program, all.String())
		}
	case <-time.After(patience):
		t.Fatalf("%s does not serve", program)
	}
}

// sources captures what the client sends to a port of the service while f runs, and returns
// the addresses from which it comes. Of TCP, only packets that begin a connection count,
// because an earlier connection may still be ending.
func (w *world) sources(t *testing.T, port uint16, f func()) map[netip.Addr]int {
	t.Helper()
	c, err := w.Client.Capture()
	if err != nil {
		testbed.SkipOrFail(t, err)
	}
	f()
	seen := map[netip.Addr]int{}
	for _, p := range c.Close() {
		if p.Outgoing && p.Dst.Port() == port && p.Dst.Addr() == testbed.ServiceAddr4 && (p.Protocol != syscall.IPPROTO_TCP || p.SYN) {
			seen[p.Src.Addr()]++
		}
	}
	return seen
}

// onlyFrom checks that everything came from the client's address on a network.
func (w *world) onlyFrom(t *testing.T, seen map[netip.Addr]int, network string) {
	t.Helper()
	if want := w.Network(network).Client4; len(seen) != 1 || seen[want] == 0 {
		t.Errorf("packets came from %v, want %v only", seen, want)
	}
}

func key(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

// SSH works, and git with SSH below it, so that a child of a child connects.
func TestSSH(t *testing.T) {
	require(t, "ssh", "ssh-keygen", "/usr/sbin/sshd", "git")
	if os.Getuid() != 0 || !inInitialUserNamespace() {
		t.Skip("needs root: sshd changes to the user that logs in")
	}
	w := newWorld(t)
	dir := filepath.Join(w.dir, "ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as sshd wants it
		t.Fatal(err)
	}
	host, user := filepath.Join(dir, "host"), filepath.Join(dir, "user")
	key(t, host)
	key(t, user)
	public, err := os.ReadFile(user + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(keys, public, 0o600); err != nil {
		t.Fatal(err)
	}
	w.serve(t, "Server listening", "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", host,
		"-o", "AuthorizedKeysFile="+keys, "-o", "StrictModes=no", "-o", "UsePAM=no", "-o", "PidFile=none", "-o", "PermitRootLogin=prohibit-password")
	options := []string{"-F", "/dev/null", "-i", user, "-p", "2222", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"}
	for _, network := range []string{"wwan0", "wlan0"} {
		args := append(append([]string{"--intents", intents[network], "--", "ssh"}, options...), "root@"+service4, "echo $SSH_CONNECTION")
		out, errs, status := w.output(t, w.command(root, args...))
		if want := w.address(network, false) + " "; status != 0 || !strings.HasPrefix(out, want) {
			t.Errorf("ssh: status %d, the server saw %q, want %s\n%s", status, out, want, errs)
		}
	}
	repo := filepath.Join(w.dir, "repo")
	if out, err := exec.Command("git", "init", "-q", "--bare", repo).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	seen := w.sources(t, 2222, func() {
		cmd := w.command(root, "--intents", intents["wwan0"], "--", "git", "ls-remote", "ssh://root@"+service4+repo)
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh "+strings.Join(options, " "))
		if _, errs, status := w.output(t, cmd); status != 0 {
			t.Errorf("git: status %d\n%s", status, errs)
		}
	})
	w.onlyFrom(t, seen, "wwan0")
}

func TestDig(t *testing.T) {
	require(t, "dig")
	w := newWorld(t)
	for _, u := range users() {
		for _, transport := range []string{"+notcp", "+tcp"} {
			w.Service.DNS.Forget()
			out, errs, status := w.output(t, w.command(u, "--intents", intents["wwan0"], "--", "dig", transport, "+tries=1", "@"+service4, "www.example.net"))
			q := w.Service.DNS.Queries()
			if len(q) != 1 || q[0].Remote.Addr() != w.Network("wwan0").Client4 || status != 0 {
				t.Errorf("%v, %s: status %d, queries %+v\n%s%s", u, transport, status, q, out, errs)
			}
		}
	}
}

func TestIperf(t *testing.T) {
	require(t, "iperf3")
	w := newWorld(t)
	w.serve(t, "Server listening", "iperf3", "-s", "-B", service4, "--forceflush") // its answers to datagrams come from there
	for _, u := range users() {
		for _, kind := range [][]string{{"-n", "1M"}, {"-u", "-b", "10M", "-n", "200K"}} {
			seen := w.sources(t, 5201, func() {
				args := append([]string{"--intents", intents["wwan0"], "--", "iperf3", "-c", service4}, kind...)
				if out, errs, status := w.output(t, w.command(u, args...)); status != 0 {
					t.Errorf("%v %v: status %d\n%s%s", u, kind, status, out, errs)
				}
			})
			w.onlyFrom(t, seen, "wwan0")
		}
	}
}

// A QUIC client sends from a socket that it has not bound to an address.
func TestQUIC(t *testing.T) {
	program := filepath.Join(t.TempDir(), "quicfetch")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, ".")
	build.Dir = "testdata/quicfetch"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	w := newWorld(t)
	shared := filepath.Join(w.dir, "quicfetch")
	b, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(shared, b, 0o755) //nolint:gosec // for every user
	}
	if err != nil {
		t.Fatal(err)
	}
	w.serve(t, "serving", shared, "serve", service4+":4433")
	for _, u := range users() {
		for _, network := range []string{"wwan0", "wlan0"} {
			out, errs, status := w.output(t, w.command(u, "--intents", intents[network], "--", shared, "fetch", service4+":4433"))
			if want := w.address(network, false) + ":"; status != 0 || !strings.HasPrefix(out, want) {
				t.Errorf("%v: status %d, the server saw %q, want %s\n%s", u, status, out, want, errs)
			}
		}
	}
}

// A browser has many processes and threads, and opens several connections.
func TestChromium(t *testing.T) {
	require(t, "chromium")
	w := newWorld(t)
	for _, u := range users() {
		for _, network := range []string{"wwan0", "wlan0"} {
			home := filepath.Join(folder(t), "home")
			if err := os.Mkdir(home, 0o777); err != nil { //nolint:gosec // for every user
				t.Fatal(err)
			}
			if err := os.Chmod(home, 0o777); err != nil { //nolint:gosec // despite the mask
				t.Fatal(err)
			}
			cmd := w.command(u, "--intents", intents[network], "--", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
				"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
				"--disable-extensions", "--disable-features=HttpsUpgrades,OptimizationHints", "--user-data-dir="+home, "--dump-dom", "http://"+service4+"/")
			cmd.Env = append(cmd.Env, "HOME="+home, "TMPDIR="+home)
			out, errs, status := w.output(t, cmd)
			if want := `"client":"` + w.address(network, false) + `:`; status != 0 || !strings.Contains(strings.ReplaceAll(out, "&quot;", `"`), want) {
				t.Errorf("%v: status %d, the page is %q, want %s\n%s", u, status, out, want, errs)
			}
		}
	}
}

// If the supervisor is killed, later connects fail as the manual says, and the process at
// the terminal says why.
func TestSupervisorIsKilled(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, "--", "sh", "-c", `echo $PPID; read x; `+bin+`/dialer tcp 192.0.2.1:7000 2>&1; echo ended >&2`)
	var supervisor int
	if _, err := fmt.Sscan(p.line(t), &supervisor); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.say("go")
	if got := p.line(t); !strings.Contains(got, "function not implemented") {
		t.Errorf("the program says %q", got)
	}
	if ws := p.wait(); ws.ExitStatus() != 125 || !strings.Contains(p.errs.String(), "the supervisor was killed") {
		t.Errorf("status %v\n%s", ws, p.errs.String())
	}
}
