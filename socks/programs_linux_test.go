package socks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// program returns the path of a program, or skips the test if it is not installed.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && name == "sshd" {
		path, err = exec.LookPath("/usr/sbin/sshd") // /usr/sbin is not in every user's PATH
	}
	if err != nil {
		t.Skipf("needs %s to be installed", name)
	}
	return path
}

// run runs a program that must exit with status 0, and returns its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.Contains(strings.ToLower(e), "_proxy=")
	}), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	curl := program(t, "curl")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %d", r.Method, len(body))
	}))
	defer server.Close()
	port := addrPort(server.Listener.Addr()).Port()
	names := map[string]string{"web.test": "127.0.0.1"}
	byAddr, byName := server.URL+"/", fmt.Sprintf("http://web.test:%d/", port)
	open := newProxy(t, Config{Dial: fakeNames(names)})
	auth := newProxy(t, Config{Dial: fakeNames(names), Auth: onlyAlice{}})
	upload := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(upload, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		p        *testProxy
		args     []string
		protocol Protocol
		user     string
	}{
		{"socks4", open, []string{"--socks4", open.addr.String(), byAddr}, SOCKS4, ""},
		{"socks4a", open, []string{"--socks4a", open.addr.String(), byName}, SOCKS4a, ""},
		{"socks5", open, []string{"--socks5", open.addr.String(), byAddr}, SOCKS5, ""},
		{"socks5-hostname", open, []string{"--socks5-hostname", open.addr.String(), byName}, SOCKS5, ""},
		{"socks5 with intents", open, []string{"-x", "socks5h://category=query:x@" + open.addr.String(), byName}, SOCKS5, "category=query"},
		{"socks5 with password", auth, []string{"-x", "socks5h://" + auth.addr.String(), "-U", "alice:secret", byName}, SOCKS5, "alice"},
		{"http", open, []string{"-x", "http://" + open.addr.String(), byName}, HTTP, ""},
		{"http with password", auth, []string{"-x", "http://" + auth.addr.String(), "-U", "alice:secret", byName}, HTTP, "alice"},
		{"connect", open, []string{"-p", "-x", "http://" + open.addr.String(), byName}, HTTPConnect, ""},
		{"connect with password", auth, []string{"-p", "-x", "http://" + auth.addr.String(), "-U", "alice:secret", byName}, HTTPConnect, "alice"},
		{"upload", open, []string{"-T", upload, "--socks5", open.addr.String(), byAddr}, SOCKS5, ""},
		{"upload by http", open, []string{"-T", upload, "-x", "http://" + open.addr.String(), byAddr}, HTTP, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "GET 0"
			if tt.args[0] == "-T" {
				want = fmt.Sprintf("PUT %d", 3<<20)
			}
			if got := run(t, curl, append([]string{"-sS", "--fail", "--noproxy", "none.test"}, tt.args...)...); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if r := tt.p.wait(t).session.Request; r.Protocol != tt.protocol || r.User != tt.user || r.Authenticated != (tt.p == auth) {
				t.Errorf("the proxy saw %+v", r)
			}
		})
	}
	for _, tt := range []struct {
		name, scheme, want string
	}{
		// The output of curl and its exit status show which reply it got.
		{"socks5", "socks5h", "(5)"}, {"socks4", "socks4a", "91"}, {"connect", "http", "502"},
	} {
		t.Run("refused by "+tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			out, err := exec.CommandContext(ctx, curl, "-sS", "-p", "--noproxy", "none.test", "-x", tt.scheme+"://"+open.addr.String(), "http://"+closedPort(t).String()).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, %s; want %q", err, out, tt.want)
			}
		})
	}
}

// ssh reaches its server through the proxy, with netcat as ProxyCommand
// (ssh_config(5)).
func TestSSH(t *testing.T) {
	if readme, err := os.ReadFile("README.md"); err != nil || !bytes.Contains(readme, []byte("| ssh | `ProxyCommand nc -X 5` | socks5 | CONNECT | yes |\n")) {
		t.Errorf("README.md lacks what this shows: %v", err)
	}
	ssh, sshd, keygen := program(t, "ssh"), program(t, "sshd"), program(t, "ssh-keygen")
	me, err := user.Current()
	if err != nil {
		t.Skipf("needs a user with a name: %v", err)
	}
	dir := t.TempDir()
	host, key := filepath.Join(dir, "host"), filepath.Join(dir, "key")
	for _, f := range []string{host, key} {
		run(t, keygen, "-q", "-t", "ed25519", "-N", "", "-f", f)
	}
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	authorized, config := filepath.Join(dir, "authorized"), filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n", host, authorized)
	for name, data := range map[string][]byte{authorized: pub, config: []byte(text)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := daemon(sshd, "-t", "-f", config).CombinedOutput(); err != nil {
		t.Skipf("needs an sshd that can be started: %s", out)
	}
	// sshd -i serves one connection on its standard input, as inetd(8) would start it.
	dest := serveTCP(t, func(c *net.TCPConn) {
		f, err := c.File()
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		cmd := daemon(sshd, "-i", "-e", "-f", config)
		cmd.Stdin, cmd.Stdout = f, f
		_ = cmd.Run() // the test looks at ssh's exit status
	})
	p := newProxy(t, Config{})
	out := run(t, ssh, "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
		"-o", "ProxyCommand="+proxyCommand(t, p.addr, dest), "-p", fmt.Sprint(dest.Port()), me.Username+"@"+dest.Addr().String(),
		"head -c 3000000 /dev/zero; echo done")
	if len(out) != 3_000_000+len("done\n") || !strings.HasSuffix(out, "done\n") {
		t.Errorf("got %d bytes", len(out))
	}
	if e := p.wait(t); e.session.Received() < 3_000_000 {
		t.Errorf("the proxy received %d bytes", e.session.Received())
	}
}

// daemon returns a command that runs sshd. sshd needs /run/sshd; if that does not
// exist, it gets a /run of its own.
func daemon(sshd string, args ...string) *exec.Cmd {
	if _, err := os.Stat("/run/sshd"); err == nil {
		return exec.Command(sshd, args...)
	}
	cmd := exec.Command("sh", append([]string{"-c", `mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && exec "$0" "$@"`, sshd}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// proxyCommand returns a command that connects its standard input and output through
// SOCKS. That is netcat or ncat, because curl's telnet changes binary data.
func proxyCommand(t *testing.T, p, dest netip.AddrPort) string {
	t.Helper()
	if nc, err := exec.LookPath("ncat"); err == nil {
		return fmt.Sprintf("%s --proxy %s --proxy-type socks5 %s %d", nc, p, dest.Addr(), dest.Port())
	}
	nc := program(t, "nc")
	if out, _ := exec.Command(nc, "-h").CombinedOutput(); !strings.Contains(string(out), "-X") {
		t.Skip("needs an nc that speaks SOCKS, as that of netcat-openbsd")
	}
	return fmt.Sprintf("%s -X 5 -x %s %s %d", nc, p, dest.Addr(), dest.Port())
}
