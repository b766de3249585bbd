package system

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// selectionConf gives the networks names and costs. Its policy always takes wlan0.
const selectionConf = `policy "sample" {}
interface "wlan0" {
  name     = "home"
  default  = true
  link_dns = false
}
interface "wwan0" {
  name     = "mobile"
  cost     = "metered"
  link_dns = false
}
`

// A program says for each connection which networks it may take, by name, cost and
// interface. The routes prefer wlan0 without source rules, so a connection leaves by
// wwan0 only if its socket is bound to wwan0.
func TestSelection(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	conf := write(t, "policy.conf", selectionConf)
	d := start(t, bed.Client, conf)
	c := startDialer(t, bed, d.socket)
	for _, tt := range []struct {
		selection, network string // network is "" if the connection is not permitted
		bound              bool   // the socket is bound to the network's interface
	}{
		{"", "wlan0", false},
		{"require network mobile", "wwan0", true},
		{"require network home", "wlan0", true},
		{"prohibit cost metered", "wlan0", true},
		{"prohibit cost free", "wwan0", true},
		{"prohibit network home", "wwan0", true},
		{"require interface wwan0", "wwan0", true},
		{"require interface wwan0, prohibit cost metered", "", false},
		{"require network work", "", false},
		{"require network work, require network mobile", "wwan0", true},
		{"prefer network mobile", "wwan0", true}, // the routes alone would lead elsewhere
		{"avoid network home", "wwan0", true},
		{"prefer network work", "wlan0", false},
	} {
		r := c.ask(service + " " + tt.selection)
		var network string
		if n := bed.NetworkOf(r.Local); n != nil {
			network = n.Name
		}
		if network != tt.network || r.NotPermitted != (tt.network == "") {
			t.Errorf("%q: over %q, want %q (%s)", tt.selection, network, tt.network, r.Err)
		}
		if bound := r.Device == tt.network && tt.network != ""; bound != tt.bound {
			t.Errorf("%q: bound to %q", tt.selection, r.Device)
		}
	}

	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"prefixes"}, []string{"NAME", "home", "mobile"}},
		{[]string{"decisions", "-n", "100"}, []string{"wlan0 (home)", "wwan0 (mobile)", "the application asks to require network mobile, require network work", "the application permits no network that could be used; the application asks to require network work"}},
		{[]string{"explain", "192.0.2.1:80", "--require", "network=mobile"}, []string{"on wwan0 (mobile)", "The application asks to require network mobile.", "Nothing else may be used."}},
		{[]string{"explain", "192.0.2.1:80", "--prohibit", "cost=free", "--prohibit", "cost=metered"}, []string{"there would be no connection: the application does not permit it", "the application permits no network that could be used"}},
		{[]string{"__complete", "explain", "--prefer", "network="}, []string{"network=home\nnetwork=mobile\n"}},
		{[]string{"__complete", "explain", "--avoid", ""}, []string{"cost=expensive\ncost=free\ncost=metered\ninterface=wlan0\ninterface=wwan0\nnetwork=home\nnetwork=mobile\n"}},
	} {
		out := d.ctl(t, tt.args...)
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q is missing in\n%s", tt.args, want, out)
			}
		}
	}

	// Without mamma, names and costs are not known.
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, d.Log)
	}
	for _, selection := range []string{"require network home", "prohibit cost metered", "require interface wlan0"} {
		if r := c.ask(service + " " + selection); !r.NotPermitted {
			t.Errorf("%q without mamma: from %v, %s", selection, r.Local, r.Err)
		}
	}
	if r := c.ask(service + " prefer network mobile"); bed.NetworkOf(r.Local) == nil || bed.NetworkOf(r.Local).Name != "wlan0" {
		t.Errorf("a preference without mamma: from %v, %s", r.Local, r.Err)
	}
}

// On its second socket, mamma serves programs of the original library. A Go program
// that asks there speaks to the same daemon, and its requirements are kept.
func TestSelectionOnCompatSocket(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	compat := filepath.Join(t.TempDir(), "compat")
	conf := write(t, "policy.conf", "compat_socket = \""+compat+"\"\n"+selectionConf)
	start(t, bed.Client, conf)
	if r := startDialer(t, bed, compat).ask(service + " require network mobile"); r.Device != "wwan0" {
		t.Errorf("%+v", r)
	}
}
