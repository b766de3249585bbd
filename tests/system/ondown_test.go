package system

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const onDownConf = `
probe {
  when     = "always"
  target   = "tcp://192.0.2.1:80"
  interval = "1s"
}
interface "wlan0" {
  name    = "home"
  default = true
  on_down = %q
}
interface "wwan0" {
  name = "mobile"
}
policy "sample" {}
scopes {
  cgroup_root = %q
  pin_dir     = "/proc/self/fd/3/mamma"
}
scope "web" {
  unit   = "web.service"
  prefer = "network=home"
}
`

// ownTimeout is after how many seconds a program gives up by itself.
const ownTimeout = "20"

// When a network falls silent, on_down = "reset" makes the programs on it begin anew over
// the other network: curl in the midst of a download, ssh whose connection is idle, and
// Chromium, which has kept a connection to a server. Without it, curl and the page in
// Chromium wait for their own time-outs.
func TestOnDown(t *testing.T) {
	for _, what := range []string{"keep", "reset"} {
		t.Run(what, func(t *testing.T) {
			s := newScopeStage(t, "")
			if err := os.WriteFile(s.conf, fmt.Appendf(nil, onDownConf, what, s.root.Path), 0o600); err != nil {
				t.Fatal(err)
			}
			begun := make(chan struct{}, 1)
			s.bed.Service.HTTP.Mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for !s.overMobile(r.RemoteAddr) {
					if _, err := fmt.Fprintln(w, "slow"); err != nil {
						return
					}
					_ = http.NewResponseController(w).Flush()
					select {
					case begun <- struct{}{}:
					default:
					}
					select {
					case <-r.Context().Done():
						return
					case <-tick.C:
					}
				}
			})
			d := s.start()
			page := s.keepConnections()
			shell, missing := s.idleShell()
			if missing == "" {
				stage.Until(t, "ssh is connected", func() bool { return strings.Contains(shell.Out.String(), "from 10.1.") })
			}
			patience := "0"
			args := []string{"-sS", "-o", filepath.Join(t.TempDir(), "out"), "http://192.0.2.1/slow"}
			if what == "keep" {
				patience = ownTimeout
				args = append(args, "--max-time", patience)
			} else {
				args = append(args, "--retry", "9", "--retry-all-errors", "--retry-delay", "1")
			}
			cmd := exec.Command("curl", args...)
			s.web.Put(cmd)
			curl := stage.Launch(t, s.bed.Client, cmd)
			select {
			case <-begun:
			case <-time.After(stage.Patience):
				t.Fatalf("curl does not begin\n%s%s", curl.Log, d.Log)
			}
			undo, err := s.bed.Client.Drop(testbed.Incoming, "wlan0")
			if err != nil {
				testbed.SkipOrFail(t, err)
			}
			defer func() { _ = undo() }()
			silence := time.Now()
			asked := page.ask(patience)
			select {
			case <-curl.Exited():
			case <-time.After(3 * stage.Patience):
				t.Fatalf("curl does not end\n%s%s", curl.Log, d.Log)
			}
			code := curl.Cmd.ProcessState.ExitCode()
			if what == "keep" {
				stage.Until(t, "mamma takes the network for down", func() bool { return strings.Contains(d.Log.String(), "prefix is down") })
				if code != 28 || strings.Contains(d.Log.String(), "ended connections") {
					t.Errorf("curl: exit status %d, want 28 of its own time-out\n%s%s", code, curl.Log, d.Log)
				}
				t.Logf("curl waits for its own time-out: %v after the silence", time.Since(silence).Round(time.Millisecond))
				t.Run("Chromium", func(t *testing.T) { page.expect(t, asked, silence, true) })
				t.Run("ssh", func(t *testing.T) {
					if missing != "" {
						t.Skip("needs ", missing)
					}
					if strings.Contains(shell.Out.String(), "from 10.2.") {
						t.Error("ssh has connected anew")
					}
					t.Logf("ssh has not connected anew %v after the silence", time.Since(silence).Round(time.Millisecond))
				})
				return
			}
			if code != 0 || !strings.Contains(d.Log.String(), "ended connections") {
				t.Errorf("curl: exit status %d\n%s%s", code, curl.Log, d.Log)
			}
			for _, r := range s.bed.Service.HTTP.Requests() {
				if r.Path == "/slow" && r.Network == "wwan0" {
					t.Logf("curl tries again over wwan0 %v after the silence", r.Time.Sub(silence).Round(time.Millisecond))
				}
			}
			t.Run("ssh", func(t *testing.T) {
				if missing != "" {
					t.Skip("needs ", missing)
				}
				stage.Until(t, "ssh connects anew", func() bool { return strings.Contains(shell.Out.String(), "from 10.2.") })
				t.Logf("ssh is connected over wwan0 %v after the silence at most", time.Since(silence).Round(time.Millisecond))
			})
			t.Run("Chromium", func(t *testing.T) { page.expect(t, asked, silence, false) })
		})
	}
}

// overMobile tells whether an address with port is the host's on the network mobile.
func (s *scopeStage) overMobile(address string) bool { return strings.HasPrefix(address, "10.2.") }

// idleShell keeps an ssh connection open that carries nothing after its beginning, and
// connects anew whenever it ends, as autossh(1) does. Its output has a line for each
// connection. If this host lacks something for that, missing says what.
func (s *scopeStage) idleShell() (p *stage.Process, missing string) {
	s.t.Helper()
	dir := s.t.TempDir()
	key := filepath.Join(dir, "key")
	const sshd = "/usr/sbin/sshd"
	for _, program := range []string{"ssh", "ssh-keygen", sshd} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, "the program " + program
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil || os.Geteuid() != 0 { //nolint:gosec // as sshd wants it
		return nil, "root, as sshd does"
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	// The server ends sessions of clients that are silent, so that none outlives the test.
	serve := exec.Command(sshd, "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", key, "-o", "AuthorizedKeysFile="+key+".pub", "-o", "StrictModes=no",
		"-o", "UsePAM=no", "-o", "PidFile=none", "-o", "PermitRootLogin=yes", "-o", "ClientAliveInterval=1", "-o", "ClientAliveCountMax=3")
	server := stage.Launch(s.t, s.bed.Service.Namespace, serve)
	stage.Until(s.t, "sshd listens", func() bool { return strings.Contains(server.Log.String(), "listening") })
	cmd := exec.Command("sh", "-c", `while :; do ssh -F none -i `+key+` -p 2222 -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 192.0.2.1 'echo "from $SSH_CONNECTION"; exec cat'; sleep 1; done`)
	if _, err := cmd.StdinPipe(); err != nil { // which stays open, so cat does not end
		s.t.Fatal(err)
	}
	s.web.Put(cmd)
	p = stage.Launch(s.t, s.bed.Client, cmd)
	s.t.Cleanup(func() { // ssh outlives its shell
		if err := os.WriteFile(filepath.Join(s.web.Path, "cgroup.kill"), []byte("1"), 0); err != nil {
			s.t.Error(err)
		}
	})
	return p, ""
}

// keptPage is a page in Chromium whose server has kept the connection.
type keptPage struct {
	s       *scopeStage
	page    *chromium.Page
	missing bool // no Chromium is installed
}

// keepConnections lets Chromium in web.service open a page.
func (s *scopeStage) keepConnections() *keptPage {
	s.t.Helper()
	s.bed.Service.HTTP.Mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!doctype html><title>kept</title><link rel="icon" href="data:,">`) // an error means that the client is gone
	})
	b, err := chromium.Start(s.t.TempDir(), func(cmd *exec.Cmd) error { s.web.Put(cmd); return s.bed.Client.Start(cmd) })
	if errors.Is(err, chromium.ErrUnavailable) {
		return &keptPage{missing: true}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			s.t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*stage.Patience)
	defer cancel()
	p, err := b.Open(ctx, "http://192.0.2.1/page")
	if err == nil {
		err = p.Await(ctx, `document.readyState == "complete" && document.title == "kept"`)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &keptPage{s: s, page: p}
}

// pageAsks is a function that asks the server until it answers. Each time, it waits for some
// seconds, 0: for ever.
const pageAsks = `async (patience) => {
	const errors = [];
	for (;;) {
		try {
			const seen = await (await fetch("/asked", { cache: "no-store", signal: patience && AbortSignal.timeout(1000 * patience) || null })).json();
			return { network: seen.network, errors };
		} catch (e) {
			errors.push(e.name);
		}
	}
}`

// answered is what a page has heard from the server.
type answered struct {
	Network string   // of the connection of the answer
	Errors  []string // what the page was told before
	at      time.Time
	err     error
}

// ask lets the page ask the server, and returns at once. patience is the page's own time-out in
// seconds.
func (p *keptPage) ask(patience string) <-chan answered {
	c := make(chan answered, 1)
	if p.missing {
		return c
	}
	ctx, cancel := context.WithTimeout(p.s.t.Context(), 6*stage.Patience)
	go func() {
		defer cancel()
		var a answered
		a.err = p.page.Eval(ctx, "("+pageAsks+")("+patience+")", &a)
		a.at = time.Now()
		c <- a
	}()
	return c
}

// expect checks that the page has its answer over the other network: after its own time-out,
// or without being told of an error.
func (p *keptPage) expect(t *testing.T, asked <-chan answered, silence time.Time, waits bool) {
	if p.missing {
		t.Skip("needs the program chromium")
	}
	a := <-asked
	if a.err != nil || a.Network != "wwan0" {
		t.Fatalf("over %q, want wwan0; %v, %v", a.Network, a.Errors, a.err)
	}
	if waits != (len(a.Errors) > 0) || slices.ContainsFunc(a.Errors, func(e string) bool { return e != "TimeoutError" }) {
		t.Errorf("the page was told of %v", a.Errors)
	}
	t.Logf("the page has its answer over wwan0 %v after the silence, after %d time-outs of its own", a.at.Sub(silence).Round(time.Millisecond), len(a.Errors))
}
