package muacsocksd

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// forbidding keeps everything off wwan0, and bulk transfers off all networks.
const forbidding = `policy "score" {
  minimize = prefix.interface == "wwan0" ? 0 : 1
  require  = prefix.interface == "wlan0" && (!known(intent.category) || intent.category != "bulktransfer")
}
interface "wlan0" {
  default    = true
  nameserver = ["10.1.0.1"]
}
interface "wwan0" {
  nameserver = ["10.2.0.1"]
}
`

// A connection that the policy refuses fails in the words of each protocol, and none of its
// packets are sent. A connection that the policy permits uses the permitted network,
// although another one has the better score.
func TestRefusedConnections(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	w := start(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{"www.example.net": {"A 192.0.2.1"}},
	}, forbidding, "")
	for _, tt := range []struct {
		name, scheme, url, refusal string
	}{
		{"SOCKS5", "socks5", "http://192.0.2.1/", "(2)"},
		{"SOCKS5 with a name", "socks5h", "http://www.example.net/", "(2)"},
		{"SOCKS4", "socks4", "http://192.0.2.1/", "(91)"},
		{"SOCKS4a", "socks4a", "http://www.example.net/", "(91)"},
		{"HTTP", "http", "http://192.0.2.1/", "403"},
		{"HTTP with a name", "http", "http://www.example.net/", "403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fetch := func(user string, more ...string) (out string, err error) {
				args := append([]string{"--silent", "--show-error", "--fail", "--max-time", "20", "--proxy", tt.scheme + "://" + user + "@" + listen}, more...)
				var all bytes.Buffer
				cmd := exec.Command(curl, append(args, tt.url)...)
				cmd.Stdout, cmd.Stderr = &all, &all
				err = w.Client.Run(cmd)
				return all.String(), err
			}
			if out, err := fetch("category=query:x"); err != nil || !strings.Contains(out, `"network":"wlan0"`) {
				t.Errorf("what is permitted: %v\n%s\n%s", err, out, w.log)
			}
			capture, err := w.Client.Capture()
			if err != nil {
				testbed.SkipOrFail(t, err)
			}
			out, err := fetch("category=bulktransfer:x")
			if err == nil || !strings.Contains(out, tt.refusal) {
				t.Errorf("what is refused: %v, want %s\n%s\n%s", err, tt.refusal, out, w.log)
			}
			w.log.await(t, "msg=request", `reason="refused by the policy: no prefix meets the requirement"`)
			if tt.scheme == "http" { // whose answers have a body
				if out, err := fetch("category=bulktransfer:x", "--no-fail"); err != nil || out != "Proxy: not allowed: refused by the policy: no prefix meets the requirement\n" {
					t.Errorf("what a refusal says: %v, %q", err, out)
				}
			}
			if tt.scheme == "http" { // a tunnel is refused alike
				if out, err := fetch("category=bulktransfer:x", "--proxytunnel"); err == nil || !strings.Contains(out, tt.refusal) {
					t.Errorf("a tunnel that is refused: %v, want %s\n%s\n%s", err, tt.refusal, out, w.log)
				}
			}
			for _, p := range capture.Close() {
				if p.Outgoing && p.SYN && p.Dst.Addr() == testbed.ServiceAddr4 {
					t.Errorf("a connection from %v was begun", p.Src)
				}
			}
		})
	}
}

// If no managed network is left, the kernel's choice does not get around what the policy
// requires. Destinations with a route of their own, such as neighbours, are left alone.
func TestRefusedWithoutNetworks(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	w := start(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}}, "policy \"score\" {\n  minimize = 1\n  require  = prefix.cost == \"free\"\n}\ninterface \"gone0\" {}\n", "")
	for url, refused := range map[string]bool{"http://192.0.2.1/": true, "http://" + w.Network("wlan0").Gateway4.String() + "/": false} {
		for _, scheme := range []string{"socks5", "http"} {
			cmd := exec.Command(curl, "--silent", "--show-error", "--max-time", "20", "--proxy", scheme+"://"+listen, url) //nolint:gosec // our own
			var all bytes.Buffer
			cmd.Stdout, cmd.Stderr = &all, &all
			_ = w.Client.Run(cmd)
			if served := strings.Contains(all.String(), `"network":"wlan0"`); served == refused {
				t.Errorf("%s by %s, to be refused: %t\n%s\n%s", url, scheme, refused, &all, w.log)
			}
			if refused {
				w.log.await(t, "msg=request", `reason="refused by the policy: no managed network is left that could meet the requirement"`)
			}
		}
	}
}
