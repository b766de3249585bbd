package run

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// silent makes a network fall silent, as after walking away from Wi-Fi: what is sent
// leaves, and nothing comes.
func (w *world) silent(t *testing.T, network string) {
	t.Helper()
	if _, err := w.Client.Drop(testbed.Incoming, network); err != nil {
		testbed.SkipOrFail(t, err)
	}
}

// These programs wait for one connection in different ways.
var waiting = []program{
	{name: "connect", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket; s = socket.create_connection(("192.0.2.1", 7000)); print(s.recv(100).decode())`}},
	{name: "connect over IPv6", needs: []string{"python3"}, v6: true, args: []string{"python3", "-c",
		`import socket; s = socket.create_connection(("2001:db8:ffff::1", 7000)); print(s.recv(100).decode())`}},
	{name: "connect in a thread", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket, threading
def fetch():
    s = socket.create_connection(("192.0.2.1", 7000)); print(s.recv(100).decode())
t = threading.Thread(target=fetch); t.start(); t.join()`}},
	{name: "connect, with options", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
before = s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
s.connect(("192.0.2.1", 7000))
assert s.getblocking() and s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before and s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
print(s.recv(100).decode())`}},
	// A handler without SA_RESTART ends connect, and python waits in poll from then on.
	{name: "with signals", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import signal, socket
count = 0
def tick(*args):
    global count
    count += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
s = socket.create_connection(("192.0.2.1", 7000)); print(s.recv(100).decode())
assert count > 5, count`}},
	{name: "with signals that restart", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import signal, socket
signal.signal(signal.SIGALRM, lambda *args: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
s = socket.create_connection(("192.0.2.1", 7000)); print(s.recv(100).decode())`}},
	{name: "poll", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket; s = socket.create_connection(("192.0.2.1", 7000), timeout=50); print(s.recv(100).decode())`}},
	{name: "select", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import select, socket
s = socket.socket(); s.setblocking(False); s.connect_ex(("192.0.2.1", 7000))
_, writable, _ = select.select([], [s], [], 50)
assert writable and s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and not s.getblocking()
s.setblocking(True); print(s.recv(100).decode())`}},
	{name: "epoll", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import selectors, socket, time
s = socket.socket(); s.setblocking(False); s.connect_ex(("192.0.2.1", 7000))
e = selectors.EpollSelector(); e.register(s, selectors.EVENT_WRITE, "data")
begun = time.monotonic(); ready = e.select(50)
assert [(k.fd, k.data, m) for k, m in ready] == [(s.fileno(), "data", selectors.EVENT_WRITE)], ready
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and time.monotonic() - begun < 40
e.modify(s, selectors.EVENT_READ); assert e.select(50)
print(s.recv(100).decode())`}},
	{name: "asyncio, with threads", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import asyncio, threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
async def fetch():
    r, w = await asyncio.open_connection("192.0.2.1", 7000)
    print((await r.read(100)).decode())
asyncio.run(fetch())`}},
	{name: "poll in one thread of several", needs: []string{"python3"}, args: []string{"python3", "-c",
		`import socket, threading, queue
q = queue.Queue()
for _ in range(8): threading.Thread(target=q.get, daemon=True).start()
s = socket.create_connection(("192.0.2.1", 7000), timeout=50); print(s.recv(100).decode())`}},
	{name: "Go", args: []string{"dialer", "tcp", service4 + ":7000"}},
	{name: "Go over IPv6", v6: true, args: []string{"dialer", "tcp", "[" + service6 + "]:7000"}},
	{name: "Go, with busy threads", args: []string{"dialer", "busy", service4 + ":7000"}},
	{name: "Go, several connections", args: []string{"dialer", "together", service4 + ":7000", "8"}},
	{name: "Node", needs: []string{"node"}, args: []string{"node", "-e",
		`require("net").connect(7000, "192.0.2.1").on("data", d => process.stdout.write(d))`}},
	{name: "curl", needs: []string{"curl"}, args: []string{"curl", "-sS", "http://" + service4 + "/"}},
	{name: "curl over IPv6", needs: []string{"curl"}, v6: true, args: []string{"curl", "-sS", "http://[" + service6 + "]/"}},
	{name: "wget", needs: []string{"wget"}, args: []string{"wget", "-qO-", "http://" + service4 + "/"}},
}

// manage makes the manager lead packets by their source. Otherwise sockets are bound to
// devices, too, and only root can bind them to another one.
func (w *world) manage(t *testing.T) {
	t.Helper()
	_ = w.daemon.Stop()
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "managing", "routing = \"manage\"\n"+policy); err != nil {
		t.Fatal(err)
	}
}

// A program whose network is silent goes on over another one, long before the kernel would
// give up.
func TestSilentNetwork(t *testing.T) {
	for i, p := range waiting {
		for _, u := range users() {
			if u == root && i > 0 && len(users()) > 1 && p.name != "poll" && p.name != "Go" {
				continue // one of each kind
			}
			t.Run(fmt.Sprintf("%s/%v", p.name, u), func(t *testing.T) {
				require(t, p.needs...)
				w := newWorld(t)
				if u != root {
					w.manage(t)
				}
				w.silent(t, "wwan0")
				out, errs, status := w.output(t, w.command(u, append([]string{"--verbose", "--intents", intents["wwan0"], "--"}, p.resolve()...)...))
				if want, not := w.address("wlan0", p.v6), w.address("wwan0", p.v6); status != 0 || !strings.Contains(out, want) || strings.Contains(out, not) {
					t.Errorf("status %d, the server saw %q, want %s", status, strings.TrimSpace(out), want)
				}
				if moved := "moved to " + w.address("wlan0", p.v6); !strings.Contains(errs, moved) || t.Failed() {
					t.Errorf("it says nothing of %q:\n%s", moved, errs)
				}
			})
		}
	}
}

// Who has no rights cannot bind a socket to another device. The program waits on then, as
// without mammactl.
func TestSilentNetworkOfADevice(t *testing.T) {
	if len(users()) == 1 {
		t.Skip("needs root, to run a program as another user")
	}
	require(t, "python3")
	w := newWorld(t)
	w.silent(t, "wwan0")
	_, errs, _ := w.output(t, w.command(nobody, "--verbose", "--intents", intents["wwan0"], "--", "python3", "-c",
		`import socket
try:
    socket.create_connection(("192.0.2.1", 7000), timeout=5)
except TimeoutError:
    pass`))
	if !strings.Contains(errs, "could not be moved: setsockopt SO_BINDTODEVICE: operation not permitted") {
		t.Errorf("it says %q", errs)
	}
}

// What is required holds of a connection that is moved, too: it may go to a network that
// the manager offers.
func TestSilentNetworkRequired(t *testing.T) {
	require(t, waiting[0].needs...)
	w := newWorld(t)
	w.silent(t, "wwan0")
	out, errs, status := w.output(t, w.command(root, append([]string{"--require", "--intents", intents["wwan0"], "--"}, waiting[0].resolve()...)...))
	if want := w.address("wlan0", false); status != 0 || !strings.Contains(out, want) {
		t.Errorf("status %d, the server saw %q, want %s\n%s", status, strings.TrimSpace(out), want, errs)
	}
}

// A connection with a time limit for sending cannot be moved. But the manager is told at
// once, so that what is opened next avoids the network.
func TestSilentNetworkIsReported(t *testing.T) {
	w := newWorld(t)
	w.silent(t, "wwan0")
	within := func(limit string) []string {
		return []string{"--verbose", "--intents", intents["wwan0"], "--", bin + "/dialer", "limited", service4 + ":7000", limit}
	}
	first := w.start(t, within("10s")...)
	got := w.decided(t, service4+":7000", func(d *control.Decision) bool { return d.Outcome != nil && d.Outcome.Candidate == 1 })
	if got.Outcome.Errno != 0 {
		t.Errorf("outcome %+v", got.Outcome)
	}
	for deadline := time.Now().Add(patience); ; {
		out, errs, _ := w.output(t, w.command(root, within("3s")...))
		if strings.Contains(out, w.address("wlan0", false)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("later programs still take the silent network: %q\n%s", out, errs)
		}
	}
	if first.wait(); !strings.Contains(first.errs.String(), "i/o timeout") || !strings.Contains(first.errs.String(), "could not be moved") {
		t.Errorf("the first says %q", first.errs.String())
	}
}

// What becomes of a connection that was moved is reported of the network that it is on then,
// with the port by which the manager finds the connection.
func TestSilentNetworkIsLeftInReports(t *testing.T) {
	w := newWorld(t)
	w.manage(t)
	w.silent(t, "wwan0")
	out, errs, status := w.output(t, w.command(root, "--verbose", "--intents", intents["wwan0"], "--", bin+"/dialer", "tcp", service4+":7000"))
	if status != 0 || !strings.Contains(errs, "moved to") {
		t.Fatalf("status %d, %q\n%s", status, out, errs)
	}
	d := w.decided(t, service4+":7000", func(d *control.Decision) bool { return d.Outcome != nil && d.Outcome.TookMS > 900 })
	if d.Outcome.Candidate != 1 || d.Outcome.Errno != 0 {
		t.Errorf("outcome %+v; want that the first alternate connected after a second", d.Outcome)
	}
}

// Where the destination itself is dead, no network is blamed, and nothing is moved.
func TestSilentDestination(t *testing.T) {
	w := newWorld(t)
	dest := silence(t, w.Service)
	_, errs, _ := w.output(t, w.command(root, "--verbose", "--intents", intents["wwan0"], "--", bin+"/dialer", "within", dest, "3s"))
	if !strings.Contains(errs, "i/o timeout") || strings.Contains(errs, "moved") {
		t.Errorf("it says %q", errs)
	}
	got := w.decided(t, dest, func(d *control.Decision) bool { return d.Outcome != nil })
	if got.Outcome.Candidate != 0 || got.Outcome.Errno == 0 {
		t.Errorf("outcome %+v", got.Outcome)
	}
}

// decided waits until something is true of the last decision about a destination.
func (w *world) decided(t *testing.T, dest string, is func(*control.Decision) bool) *control.Decision {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		d := w.decision(t, dest)
		if d != nil && is(d) {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not become true of %+v", d)
		}
	}
}
