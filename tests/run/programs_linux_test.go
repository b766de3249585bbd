package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const (
	service4 = "192.0.2.1"
	service6 = "2001:db8:ffff::1"
)

// program is a program that prints the address that the server saw.
type program struct {
	name  string
	needs []string
	v6    bool
	args  []string
}

// httpFetch, stream and datagram tell where the programs connect to.
var programs = []program{
	{name: "curl", needs: []string{"curl"}, args: []string{"curl", "-sS", "http://" + service4 + "/"}},
	{name: "curl over IPv6", needs: []string{"curl"}, v6: true, args: []string{"curl", "-sS", "http://[" + service6 + "]/"}},
	{name: "wget", needs: []string{"wget"}, args: []string{"wget", "-qO-", "http://" + service4 + "/"}},
	{name: "static Go", args: []string{"dialer", "tcp", service4 + ":7000"}},
	{name: "static Go over IPv6", v6: true, args: []string{"dialer", "tcp", "[" + service6 + "]:7000"}},
	{name: "connected UDP", args: []string{"dialer", "udp", service4 + ":7001"}},
	{name: "connected UDP over IPv6", v6: true, args: []string{"dialer", "udp", "[" + service6 + "]:7001"}},
	{name: "UDP by sendto, unbound", args: []string{"dialer", "sendto", service4 + ":7001"}},
	{name: "UDP by sendmsg, unbound", args: []string{"dialer", "sendmsg", service4 + ":7001"}},
	{name: "UDP from a port of the kernel's choice", args: []string{"dialer", "listen", service4 + ":7001"}},
	{name: "IPv4 in an IPv6 socket", args: []string{"dialer", "mapped", service4 + ":7000"}},
	{name: "TCP Fast Open", args: []string{"dialer", "fastopen", service4 + ":7000"}},
	{name: "below a shell", needs: []string{"sh", "curl"}, args: []string{"sh", "-c", "(curl -sS http://" + service4 + "/)"}},
	{name: "python", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket; s = socket.create_connection(("192.0.2.1", 7000)); print(s.recv(100).decode())`}},
	{name: "after vfork", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import subprocess; print(subprocess.run(["dialer", "tcp", "192.0.2.1:7000"], capture_output=True, text=True, close_fds=False).stdout)`}},
}

func (p *program) resolve() []string {
	args := append([]string(nil), p.args...)
	for i, a := range args {
		if a == "dialer" {
			args[i] = bin + "/dialer"
		}
		args[i] = strings.ReplaceAll(args[i], `["dialer"`, `["`+bin+`/dialer"`)
	}
	return args
}

// address returns the address of a client on a network, as the server sees it.
func (w *world) address(network string, v6 bool) string {
	n := w.Network(network)
	if v6 {
		return n.Client6.String()
	}
	return n.Client4.String()
}

func TestPrograms(t *testing.T) {
	w := newWorld(t)
	for _, u := range users() {
		for _, p := range programs {
			for _, network := range []string{"wwan0", "wlan0"} {
				t.Run(fmt.Sprintf("%s/%v/%s", p.name, u, network), func(t *testing.T) {
					require(t, p.needs...)
					args := append([]string{"--verbose", "--intents", intents[network], "--"}, p.resolve()...)
					out, errs, status := w.output(t, w.command(u, args...))
					if want := w.address(network, p.v6); status != 0 || !strings.Contains(out, want) {
						t.Errorf("status %d, the server saw %q, want %s\n%s", status, strings.TrimSpace(out), want, errs)
					}
				})
			}
		}
	}
}

// An option for a part of the connections counts for that part.
func TestParts(t *testing.T) {
	w := newWorld(t)
	args := []string{"--intents", "category=query", "--intents-for", "7000=category=bulktransfer", "--",
		"sh", "-c", bin + "/dialer tcp 192.0.2.1:7000; " + bin + "/dialer udp 192.0.2.1:7001"}
	out, errs, _ := w.output(t, w.command(root, args...))
	want := w.address("wwan0", false) + "\n" + w.address("wlan0", false) + "\n"
	if out != want {
		t.Errorf("the server saw %q, want %q\n%s", out, want, errs)
	}
}

// Rules are read from a file, in the proxy's syntax.
func TestRules(t *testing.T) {
	w := newWorld(t)
	write := func(name, text string) string {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // nobody is to read it
			t.Fatal(err)
		}
		return path
	}
	file := write("rules", `intents "dialer to the service" {
  process     = "dialer"
  destination = ["192.0.2.0/24", "2001:db8::/32"]
  port        = "7000"
  set         = "category=bulktransfer"
}
intents "never" {
  destination = "*.example.org"
  set         = "category=bulktransfer"
}
`)
	for _, u := range users() {
		out, errs, status := w.output(t, w.command(u, "--rules", file, "--intents", "category=query", "--",
			"sh", "-c", bin+"/dialer tcp 192.0.2.1:7000; "+bin+"/dialer udp 192.0.2.1:7001"))
		want := w.address("wwan0", false) + "\n" + w.address("wlan0", false) + "\n"
		if out != want || status != 0 || !strings.Contains(errs, `never apply: ["never"]`) {
			t.Errorf("%v: status %d, the server saw %q, want %q\n%s", u, status, out, want, errs)
		}
	}
	wrong := write("wrong", "intents \"x\" {\n  prot = \"443\"\n}\nrule \"y\" {\n}\n")
	_, errs, status := w.output(t, w.command(root, "--rules", wrong, "--", "true"))
	if status != 125 || !strings.Contains(errs, "wrong:2") || !strings.Contains(errs, "prot") || !strings.Contains(errs, "sets none") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// The sizes of connections are learnt, kept in the file that the rules name, and used.
func TestLearning(t *testing.T) {
	require(t, "python3")
	w := newWorld(t)
	learnt := filepath.Join(w.dir, "learnt.json")
	file := filepath.Join(w.dir, "rules")
	if err := os.WriteFile(file, []byte("learning {\n  file = \"learnt.json\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The service closes the connection at once. The program closes it after it has worked
	// for a while.
	const calls = `import socket, time
for i in range(4):
    s = socket.create_connection(("192.0.2.1", 7000)); s.recv(100); time.sleep(0.1); s.close()`
	for deadline := time.Now().Add(patience); ; {
		if _, errs, status := w.output(t, w.command(root, "--rules", file, "--", "python3", "-c", calls)); errs != "" || status != 0 {
			t.Fatalf("status %d\n%s", status, errs)
		}
		// On a busy machine, a connection may be looked at only after its end.
		b, err := os.ReadFile(learnt)
		if err == nil && strings.Contains(string(b), `"Dest":{"Host":"192.0.2.1","Port":7000}`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("learnt: %s, %v", b, err)
		}
	}
	const much = `{"version":1,"habits":[{"Dest":{"Host":"192.0.2.1","Port":7000},"Seen":%q,"Weight":10,` +
		`"Size":{"Mean":20,"Square":400},"Duration":{"Mean":3,"Square":9}}]}`
	// The second run has another file, because what is left of a run still saves when its
	// program has ended.
	if err := os.WriteFile(filepath.Join(w.dir, "much.json"), fmt.Appendf(nil, much, time.Now().Format(time.RFC3339)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("learning {\n  file = \"much.json\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, _ := w.output(t, w.command(root, "--rules", file, "--", bin+"/dialer", "tcp", "192.0.2.1:7000"))
	if want := w.address("wwan0", false) + "\n"; out != want || errs != "" {
		t.Errorf("the server saw %q, want %q\n%s", out, want, errs)
	}
}

// A run inside a run passes its intents to the outer one.
func TestInside(t *testing.T) {
	w := newWorld(t)
	for _, u := range users() {
		inner := bin + "/mammactl run --intents category=bulktransfer -- " + bin + "/dialer tcp 192.0.2.1:7000"
		out, errs, status := w.output(t, w.command(u, "--intents", "category=query", "--", "sh", "-c", inner+"; "+bin+"/dialer tcp 192.0.2.1:7000"))
		if want := w.address("wwan0", false) + "\n" + w.address("wlan0", false) + "\n"; out != want || status != 0 {
			t.Errorf("%v: status %d, the server saw %q, want %q\n%s", u, status, out, want, errs)
		}
	}
}

// Sockets that the program itself has bound to an address or an interface are left alone.
func TestLeftAlone(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"bound to an address", []string{"from", service4 + ":7000", w.address("wlan0", false)}, w.address("wlan0", false)},
		{"bound to an interface", []string{"device", service4 + ":7000", "wlan0"}, w.address("wlan0", false)},
		{"a server's port", []string{"server", service4 + ":7001", "53"}, w.address("wlan0", false)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := w.output(t, w.command(root, append([]string{"--verbose", "--intents", "category=bulktransfer", "--", bin + "/dialer"}, tt.args...)...))
			if strings.TrimSpace(out) != tt.want || status != 0 || errs != "" {
				t.Errorf("status %d, the server saw %q, want %s\n%s", status, out, tt.want, errs)
			}
		})
	}
}

func TestMultipath(t *testing.T) {
	w := newWorld(t)
	out, errs, status := w.output(t, w.command(users()[0], "--mptcp", "--intents", "category=bulktransfer", "--", bin+"/dialer", "protocol", service4+":7000"))
	if strings.HasPrefix(errs, "mammactl run: sockets stay plain TCP") {
		testbed.SkipOrFail(t, fmt.Errorf("%w: needs Multipath TCP: %s", testbed.ErrUnavailable, errs))
	}
	if want := w.address("wwan0", false) + " protocol 262 nonblock close-on-exec\n"; out != want || status != 0 {
		t.Errorf("status %d: %q, want %q\n%s", status, out, want, errs)
	}
}

// Many threads connect at once, and each connection is placed.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	out, errs, status := w.output(t, w.command(users()[0], "--intents", "category=bulktransfer", "--", bin+"/dialer", "many", service4+":7000", "1000", "100"))
	want := fmt.Sprintf("1000 from %s\n", w.address("wwan0", false))
	if out != want || status != 0 {
		t.Errorf("status %d: %q, want %q\n%s", status, out, want, errs)
	}
}
