package system

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// ctl runs mammactl with the daemon and returns what it prints.
func (d *daemon) ctl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), append([]string{"--control", filepath.Join(filepath.Dir(d.socket), "control.sock")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("mammactl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// A network is used until its budget is spent, and is then avoided, because further
// traffic costs money. Everything that shows networks shows the budget. After a restart
// the daemon still knows how much was used.
func TestBudgetIsSpent(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: true}, {Name: "wwan0", SourceRule: true}}})
	const budget = 1_000_000
	conf := write(t, "policy.conf", fmt.Sprintf(`policy "sample" {}
state_dir = %q
avoid_metered = true
interface "wlan0" {
  cost     = "metered"
  link_dns = false
}
interface "wwan0" {
  default      = true
  cost         = "metered"
  budget       = "1MB"
  budget_reset = 31
  link_dns     = false
}
`, t.TempDir()))
	d := start(t, bed.Client, conf)
	a := ask(t, bed, d, service)
	a.until("wwan0")
	d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		b := p["wwan0"].Budget
		switch {
		case b == nil || p["wlan0"].Budget != nil:
			return fmt.Sprintf("the budgets are %+v and %+v", b, p["wlan0"].Budget)
		case b.Limit != budget || b.Used >= budget || b.Exceeded || !b.Reset.After(time.Now()) || p["wwan0"].Cost != "metered":
			return fmt.Sprintf("at first %+v, %s", b, p["wwan0"].Cost)
		}
		return ""
	})
	if err := download(t.Context(), bed, "wwan0", budget); err != nil {
		t.Fatal(err)
	}
	a.until("wlan0")
	spent := func(p map[string]control.Prefix) string {
		if b := p["wwan0"].Budget; b == nil || !b.Exceeded || b.Used < budget || b.Used > 2*budget || p["wwan0"].Cost != "expensive" {
			return fmt.Sprintf("in the end %+v, %s", b, p["wwan0"].Cost)
		}
		return ""
	}
	d.within(t, stage.Patience, spent)

	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"prefixes"}, []string{"BUDGET", "expensive", "of 1.0 MB", "wwan0 is expensive as its budget is used up, until "}},
		// Each network has a prefix of each family.
		{[]string{"status"}, []string{"2 metered, 2 expensive (2 beyond the budget); what costs more is avoided"}},
	} {
		for _, want := range tt.want {
			if out := d.ctl(t, tt.args...); !strings.Contains(out, want) {
				t.Errorf("%v: %q is missing in\n%s", tt.args, want, out)
			}
		}
	}
	var status control.Status
	if err := json.Unmarshal([]byte(d.ctl(t, "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	if c := status.Prefixes; c.OverBudget != 2 || c.Metered != 2 || !status.AvoidMetered {
		t.Errorf("status: %+v", status)
	}
	if out := d.metrics(t); !strings.Contains(out, `mamma_prefix_budget_bytes{interface="wwan0",prefix="10.2.0.0/24"} 1e+06`) ||
		!strings.Contains(out, `mamma_prefix_cost{interface="wwan0",prefix="10.2.0.0/24"} 2`) ||
		strings.Contains(out, `mamma_prefix_budget_bytes{interface="wlan0"`) {
		t.Errorf("metrics:\n%s", out)
	}

	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, d.Log)
	}
	d = start(t, bed.Client, conf)
	d.within(t, stage.Patience, spent)
	ask(t, bed, d, service).until("wlan0")
}

// metrics reads the metrics from the control socket.
func (d *daemon) metrics(t *testing.T) string {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(filepath.Dir(d.socket), "control.sock"))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mamma/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
