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
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clientCase is a row of the table in README.md.
type clientCase struct {
	program string // must be installed
	name    string // in the table
	how     string // as in the table
	// command prepares the client in dir, which must get http://web.test/. The address
	// of web.test is 192.0.2.10, because some preloaded libraries do not proxy
	// connections to loopback addresses.
	command  func(t *testing.T, dir string, proxy netip.AddrPort) []string
	stdin    string
	env      []string // NAME=; the value is the path of the file that command wrote
	want     Protocol
	command5 Command // the first command that the proxy sees; 0 for CONNECT
	nameless bool    // fails if it is asked for a name
	slow     bool    // slow to start, so it is tried once only
}

const clientText = "hello from the web\n"

// write writes a configuration file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var clientCases = []clientCase{
	{program: "curl", name: "curl", how: "`-x socks5h://`", want: SOCKS5, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-sS", "--noproxy", "none.test", "-x", "socks5h://category=query:@" + p.String(), "http://web.test/"}
	}},
	{program: "curl", name: "curl", how: "`-x socks4a://`", want: SOCKS4a, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-sS", "--noproxy", "none.test", "-x", "socks4a://" + p.String(), "http://web.test/"}
	}},
	{program: "curl", name: "curl", how: "`-x http://`", want: HTTP, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-sS", "--noproxy", "none.test", "-x", "http://" + p.String(), "http://web.test/"}
	}},
	{program: "curl", name: "curl", how: "`-p -x http://`", want: HTTPConnect, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-sS", "--noproxy", "none.test", "-p", "-x", "http://" + p.String(), "http://web.test/"}
	}},
	{program: "wget", name: "wget", how: "`http_proxy`", want: HTTP, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-q", "-O", "-", "-t", "1", "-e", "use_proxy=yes", "-e", "http_proxy=http://" + p.String(), "http://web.test/"}
	}},
	{program: "git", name: "git", how: "`http.proxy = socks5h://`", want: SOCKS5, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-c", "http.proxy=socks5h://" + p.String(), "ls-remote", "http://web.test/repo.git"}
	}},
	{program: "git", name: "git", how: "`http.proxy = http://`", want: HTTP, command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-c", "http.proxy=http://" + p.String(), "ls-remote", "http://web.test/repo.git"}
	}},
	{program: "/usr/lib/apt/apt-helper", name: "apt", how: "`Acquire::http::Proxy \"http://\"`", want: HTTP, command: func(_ *testing.T, dir string, p netip.AddrPort) []string {
		return []string{"-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Proxy=http://" + p.String(), "download-file", "http://web.test/", filepath.Join(dir, "got")}
	}},
	{program: "/usr/lib/apt/apt-helper", name: "apt", how: "`Acquire::http::Proxy \"socks5h://\"`", want: SOCKS5, command: func(_ *testing.T, dir string, p netip.AddrPort) []string {
		return []string{"-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Proxy=socks5h://" + p.String(), "download-file", "http://web.test/", filepath.Join(dir, "got")}
	}},
	{program: "proxychains4", name: "proxychains4", how: "`socks5`, with curl", want: SOCKS5, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		conf := write(t, dir, "proxychains.conf", fmt.Sprintf("strict_chain\nproxy_dns\n[ProxyList]\nsocks5 %s %d\n", p.Addr(), p.Port()))
		return []string{"-q", "-f", conf, "curl", "-sS", "http://web.test/"}
	}},
	{program: "proxychains4", name: "proxychains4", how: "`http`, with curl", want: HTTPConnect, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		conf := write(t, dir, "proxychains.conf", fmt.Sprintf("strict_chain\nproxy_dns\n[ProxyList]\nhttp %s %d\n", p.Addr(), p.Port()))
		return []string{"-q", "-f", conf, "curl", "-sS", "http://web.test/"}
	}},
	{program: "torsocks", name: "torsocks", how: "with curl; names by RESOLVE", want: SOCKS5, command5: CommandResolve, env: []string{"TORSOCKS_CONF_FILE="}, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		write(t, dir, "conf", fmt.Sprintf("TorAddress %s\nTorPort %d\n", p.Addr(), p.Port()))
		return []string{"curl", "-sS", "http://web.test/"}
	}},
	{program: "tsocks", name: "tsocks", how: "with curl, by address", want: SOCKS5, nameless: true, env: []string{"TSOCKS_CONF_FILE="}, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		write(t, dir, "conf", fmt.Sprintf("local = 127.0.0.0/255.0.0.0\nserver = %s\nserver_type = 5\nserver_port = %d\n", p.Addr(), p.Port()))
		return []string{"curl", "-sS", "http://192.0.2.10/"}
	}},
	{program: "connect-proxy", name: "connect-proxy", how: "`-S`", want: SOCKS5, stdin: "GET / HTTP/1.0\r\n\r\n", command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-R", "remote", "-S", p.String(), "web.test", "80"}
	}},
	{program: "connect-proxy", name: "connect-proxy", how: "`-H`", want: HTTPConnect, stdin: "GET / HTTP/1.0\r\n\r\n", command: func(_ *testing.T, _ string, p netip.AddrPort) []string {
		return []string{"-H", p.String(), "web.test", "80"}
	}},
	{program: "javac", name: "Java", how: "`-DsocksProxyHost`", want: SOCKS5, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		return javaClient(t, dir, fmt.Sprintf("-DsocksProxyHost=%s -DsocksProxyPort=%d", p.Addr(), p.Port()))
	}},
	{program: "javac", name: "Java", how: "`-Dhttp.proxyHost`", want: HTTP, command: func(t *testing.T, dir string, p netip.AddrPort) []string {
		return javaClient(t, dir, fmt.Sprintf("-Dhttp.proxyHost=%s -Dhttp.proxyPort=%d", p.Addr(), p.Port()))
	}},
	{program: "chromium", name: "Chromium", how: "`--proxy-server=socks5://`", want: SOCKS5, slow: true, command: func(_ *testing.T, dir string, p netip.AddrPort) []string {
		return chromium(dir, "socks5://"+p.String())
	}},
	{program: "chromium", name: "Chromium", how: "`--proxy-server=http://`", want: HTTP, slow: true, command: func(_ *testing.T, dir string, p netip.AddrPort) []string {
		return chromium(dir, "http://"+p.String())
	}},
}

// chromium returns the arguments with which Chromium loads the page and nothing else.
func chromium(home, proxy string) []string {
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-breakpad", "--disable-extensions", "--disable-features=HttpsUpgrades,OptimizationHints", "--user-data-dir=" + home,
		"--proxy-server=" + proxy, "--dump-dom", "http://web.test/",
	}
}

// javaClient returns the command of a program that gets the page with java.net.URL.
func javaClient(t *testing.T, dir, properties string) []string {
	source := write(t, dir, "Get.java", `public class Get {
	public static void main(String[] args) throws Exception {
		new java.net.URL("http://192.0.2.10/").openStream().transferTo(System.out);
	}
}
`)
	return append(append([]string{"java"}, strings.Fields(properties)...), source)
}

// The table in README.md says truly which clients work. A client that fails if it is
// asked for a name works if the server knows that (Nameless).
func TestClients(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path { // what git requests from a server without git support
		case "/repo.git/info/refs":
			_, _ = io.WriteString(w, strings.Repeat("12345678", 5)+"\trefs/heads/"+strings.TrimSpace(strings.ReplaceAll(clientText, " ", "-"))+"\n")
		case "/repo.git/HEAD":
			_, _ = io.WriteString(w, "ref: refs/heads/main\n")
		default:
			_, _ = io.WriteString(w, clientText)
		}
	}))
	t.Cleanup(web.Close) // runs after the parallel subtests
	toWeb := Config{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "web.test:80" && address != "192.0.2.10:80" {
				return nil, &net.DNSError{Name: address, IsNotFound: true}
			}
			var d net.Dialer
			return d.DialContext(ctx, network, web.Listener.Addr().String())
		},
		Resolve: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.10")}, nil
		},
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const byOthers = 1 // TestSSH has this row
	if rows := bytes.Count(readme, []byte("\n| ")) - 1; rows != len(clientCases)+byOthers {
		t.Errorf("README.md has %d rows, of which %d are tried", rows, len(clientCases)+byOthers)
	}
	for i, tt := range clientCases {
		works := "yes"
		if tt.nameless {
			works = "yes, see below"
		}
		commands := "CONNECT"
		switch {
		case tt.want == HTTP:
			commands = "requests"
		case tt.command5 == CommandResolve:
			commands = "RESOLVE, CONNECT"
		}
		if line := fmt.Sprintf("| %s | %s | %v | %s | %s |\n", tt.name, tt.how, tt.want, commands, works); !bytes.Contains(readme, []byte(line)) {
			t.Errorf("README.md lacks the line\n%s", line)
		}
		for _, asked := range []bool{true, false} {
			if tt.slow && !asked {
				continue
			}
			t.Run(fmt.Sprintf("%s %d asked %v", tt.name, i, asked), func(t *testing.T) {
				path := program(t, tt.program)
				patience := testTimeout
				if tt.slow {
					if testing.Short() {
						t.Skip("needs time: not with -short")
					}
					t.Parallel()
					patience *= 6
				}
				config := toWeb
				config.Nameless = func(*Request) bool { return !asked }
				p := newProxy(t, config)
				dir := t.TempDir()
				args := tt.command(t, dir, p.addr)
				if args[0] == "java" {
					path, args = program(t, "java"), args[1:]
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, path, args...)
				cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.Contains(strings.ToLower(e), "_proxy=") }), "HOME="+dir, "TMPDIR="+dir, "GIT_CONFIG_NOSYSTEM=1")
				for _, e := range tt.env {
					cmd.Env = append(cmd.Env, e+filepath.Join(dir, "conf"))
				}
				cmd.Stdin = strings.NewReader(tt.stdin)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				cmd.WaitDelay = patience
				out, err := cmd.Output()
				if got, err := os.ReadFile(filepath.Join(dir, "got")); err == nil {
					out = got
				}
				text := strings.ReplaceAll(string(out), "-", " ")
				ok := err == nil && strings.Contains(text, strings.TrimSpace(clientText))
				if want := !tt.nameless || !asked; ok != want {
					t.Fatalf("works: %v, want %v\n%v %q\n%s", ok, want, err, out, stderr.String())
				}
				if !ok {
					return
				}
				r := p.wait(t).session.Request
				for r.Dest.Host != "web.test" && r.Dest.Host != "192.0.2.10" { // a browser also makes requests of its own
					r = p.wait(t).session.Request
				}
				if r.Protocol != tt.want || r.Command != max(tt.command5, CommandConnect) {
					t.Errorf("the proxy saw %v %v", r.Protocol, r.Command)
				}
			})
		}
	}
}
