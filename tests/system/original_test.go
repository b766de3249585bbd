package system

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// oneDefault has routes that prefer wlan0, and no source rules. So a socket that is
// only bound to an address of wwan0 sends by wlan0, whose gateway drops the packets.
func oneDefault(t *testing.T) *testbed.Bed {
	return testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{
		{Name: "wlan0", Prefix4: netip.MustParsePrefix("10.77.0.2/24")},
		{Name: "wwan0", Prefix4: netip.MustParsePrefix("10.78.0.2/24")},
	}})
}

// With a configuration of the original, and with requests that were captured from the
// original C client, a connection really arrives from the chosen network.
func TestOriginalClient(t *testing.T) {
	bed := oneDefault(t)
	log := filepath.Join(t.TempDir(), "samplepolicy.log")
	// This is the original's sample file with the networks of this host. The second one
	// is the default, which the host's routes do not prefer.
	conf := write(t, "policy_sample.conf", `
policy "/usr/local/lib/mam-policies/policy_sample.so" {
	set logfile = "`+log+`";
};
prefix 10.77.0.2/24 {
	enabled 1;
};
prefix 10.78.0.0/24 {
	enabled 1;
	set default 1;
	dnsbindto "10.78.0.2";
	resolvconf "/etc/resolv.conf";
};
`)
	d := start(t, bed.Client, "--compat-socket=off", conf) // all tests would share the compat socket
	d.Out.Await(t, `Policy module "sample" is loading.
Configured addresses:
    AF_INET:
        10.77.0.2
        10.78.0.2 (default)
    AF_INET6:
        (none)
Logging to `+log+`
Policy module "sample" has been loaded.
`, 1)
	service, err := bed.Service.Listen("tcp4", "192.0.2.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })

	for _, tt := range []struct {
		capture  string
		from, to []byte // the captured bytes from are replaced by to, this test's destination
		action   wire.Action
	}{
		{"connect-v4-req.bin", []byte{0x1f, 0x90, 10, 77, 1, 2}, []byte{0x1f, 0x90, 192, 0, 2, 1}, wire.ActionConnectResponse},
		{"socketconnect-v4-intents-req.bin", []byte("10.77.1.2\x00"), []byte("192.0.2.1\x00"), wire.ActionSocketConnectResponse},
		{"choose2-3-socketchoose-noidle-req.bin", []byte("10.77.1.2\x00"), []byte("192.0.2.1\x00"), wire.ActionSocketChooseNew},
	} {
		t.Run(tt.capture, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("../../internal/wire/testdata/captures", tt.capture))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(raw, tt.from) {
				t.Fatal("the capture does not hold what is to be replaced")
			}
			answer := exchange(t, d.socket, bytes.ReplaceAll(raw, tt.from, tt.to))
			if answer.Action != tt.action {
				t.Errorf("answer %v, want %v", answer.Action, tt.action)
			}
			c := &answer.Context
			c.Remote.AddrPort = netip.AddrPortFrom(c.Remote.AddrPort.Addr(), 8080) // the capture choose2 asks for port 80
			if err := bed.Client.Do(func() error { return connectAsOriginal(c) }); err != nil {
				t.Fatalf("connect as %v with device %q: %v", c.BindSuggested, c.Device(), err)
			}
			conn, err := service.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			peer := netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr()
			if n := bed.NetworkOf(peer); n == nil || n.Name != "wwan0" {
				t.Errorf("the server sees %v, which is not in the chosen network", peer)
			}
		})
	}
}

// The original's measurement logs hold all networks of the host but loopback, even if
// the file manages only one. Their readers use both interfaces.
func TestOriginalLogsOfTheWholeHost(t *testing.T) {
	bed := oneDefault(t)
	dir := t.TempDir()
	prefixes, interfaces := filepath.Join(dir, "metrics_prefix.log"), filepath.Join(dir, "metrics_interface.log")
	conf := write(t, "policy.conf", `policy "policy_sample.so" {
	set log_prefixes = "`+prefixes+`";
	set log_interfaces = "`+interfaces+`";
};
prefix 10.78.0.2/24 { enabled 1; set default 1; };
`)
	start(t, bed.Client, "--compat-socket=off", conf)
	hold, err := bed.Client.Listen("tcp4", "127.0.0.1:0") // connections over loopback are not measured
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Close() })
	self, err := bed.Client.Dial(t.Context(), &net.Dialer{}, "tcp", hold.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = self.Close() })
	for _, log := range []struct {
		path    string
		columns int
		name    int // column with the interface
	}{{prefixes, 11, 2}, {interfaces, 27, 1}} {
		seen := map[string]int{}
		stage.Until(t, "both networks are in "+filepath.Base(log.path), func() bool {
			b, _ := os.ReadFile(log.path) // the file may not exist yet
			clear(seen)
			for line := range strings.Lines(string(b)) {
				if cells := strings.Split(line, ","); strings.HasSuffix(line, "\n") {
					if len(cells) != log.columns {
						t.Fatalf("%d columns: %s", len(cells), line)
					}
					seen[cells[log.name]]++
				}
			}
			return seen["wlan0"] > 1 && seen["wwan0"] > 1
		})
		for name := range seen {
			if name != "wlan0" && name != "wwan0" {
				t.Errorf("%s is in %s", name, filepath.Base(log.path))
			}
		}
	}
}

// exchange sends a request unchanged and reads the answer.
func exchange(t *testing.T, socket string, request []byte) *wire.Message {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if err := wire.NewReader(c).Read(&m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// connectAsOriginal does with an answer what the original library does
// (doc/original/client-and-socks.md 7.4): socket, options, bind, connect.
func connectAsOriginal(c *wire.Context) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, o := range c.OptionsSuggested {
		if err := unix.SetsockoptString(fd, int(o.Level), int(o.Name), string(o.Value)); err != nil {
			return err
		}
	}
	if c.BindSuggested.IsValid() {
		if err := unix.Bind(fd, sockaddr(c.BindSuggested.AddrPort)); err != nil {
			return err
		}
	}
	return unix.Connect(fd, sockaddr(c.Remote.AddrPort))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}
