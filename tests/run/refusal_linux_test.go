package run

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// forbidding keeps everything off wwan0, and bulk transfers off all networks.
const forbidding = `policy "score" {
  minimize = prefix.interface == "wwan0" ? 0 : 1
  require  = prefix.interface == "wlan0" && (!known(intent.category) || intent.category != "bulktransfer")
}
interface "wlan0" {
  default = true
}
interface "wwan0" {
}
`

// A connection that the policy refuses fails with EACCES, and none of its packets are sent.
func TestRefusedPrograms(t *testing.T) {
	w := newWorld(t)
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", forbidding); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name    string
		args    []string
		refused string // in what the program says
	}{
		{"curl", []string{"curl", "-sSv", "http://" + service4 + "/"}, "Permission denied"},
		{"static Go", []string{filepath.Join(bin, "dialer"), "tcp", service4 + ":7000"}, "permission denied"},
		{"connected UDP", []string{filepath.Join(bin, "dialer"), "udp", service4 + ":7001"}, "permission denied"},
	} {
		t.Run(p.name, func(t *testing.T) {
			require(t, p.args[0])
			run := func(category string) (string, string, int) {
				return w.output(t, w.command(root, append([]string{"--intents", "category=" + category, "--"}, p.args...)...))
			}
			if out, errs, status := run("query"); status != 0 || !strings.Contains(out, w.address("wlan0", false)) {
				t.Errorf("what is permitted: status %d, the server saw %q\n%s", status, out, errs)
			}
			capture, err := w.Client.Capture()
			if err != nil {
				testbed.SkipOrFail(t, err)
			}
			out, errs, status := run("bulktransfer")
			if status == 0 || !strings.Contains(out+errs, p.refused) {
				t.Errorf("what is refused: status %d, want %q\n%s%s", status, p.refused, out, errs)
			}
			for _, packet := range capture.Close() {
				begins := packet.SYN || packet.Protocol == syscall.IPPROTO_UDP
				if packet.Outgoing && begins && packet.Dst.Addr() == testbed.ServiceAddr4 {
					t.Errorf("sent from %v", packet.Src)
				}
			}
		})
	}
}

// If no managed network is left, the kernel's choice does not get around what the policy
// requires.
func TestRefusedWithoutNetworks(t *testing.T) {
	w := newWorld(t)
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	conf := "policy \"score\" {\n  minimize = 1\n  require  = prefix.cost == \"free\"\n}\ninterface \"gone0\" {}\n"
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", conf); err != nil {
		t.Fatal(err)
	}
	require(t, "curl")
	for address, refused := range map[string]bool{service4: true, w.Network("wlan0").Gateway4.String(): false} {
		out, errs, status := w.output(t, w.command(root, "--", "curl", "-sS", "http://"+address+"/"))
		if denied := strings.Contains(errs, "Permission denied") || strings.Contains(errs, "may not connect"); denied != refused || (status == 0) == refused {
			t.Errorf("%s, to be refused: %t; status %d\n%s%s", address, refused, status, out, errs)
		}
	}
}
