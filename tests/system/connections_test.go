package system

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The policy takes the network with the fewest connections of the user. Connections in
// a row are spread evenly, however fast they follow each other. A program that did not
// ask counts too, closed connections no longer count, and a replay decides by the
// counts of that time.
func TestFewestOfMyOwn(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: true}, {Name: "wwan0", SourceRule: true}}})
	file := filepath.Join(t.TempDir(), "decisions.jsonl")
	conf := write(t, "policy.conf", `policy "score" {
  minimize = prefix.user_connections
}
interface "wlan0" {
  default = true
}
interface "wwan0" {}
decisions {
  record = "`+file+`"
}
`)
	d := start(t, bed.Client, conf)
	counts := func() string {
		var e control.Explanation
		if err := json.Unmarshal([]byte(d.ctl(t, "explain", service, "--json")), &e); err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, score := range e.Decision.Scores {
			for _, term := range score.Terms {
				if term.Name == "prefix.user_connections" && term.Value != nil {
					list = append(list, fmt.Sprint(*term.Value))
				}
			}
		}
		return strings.Join(list, " ")
	}
	const n = 8
	c := startDialer(t, bed, d.socket)
	keep := func(n int, want string) {
		t.Helper()
		used := map[string]int{}
		for range n {
			network, _ := c.dial("keep " + service)
			used[network]++
		}
		if got := fmt.Sprint(used); got != want {
			t.Errorf("the networks that were used: %s, want %s", got, want)
		}
	}
	stage.Until(t, "the daemon has looked at the connections", func() bool { return counts() == "0 0" })
	keep(n, fmt.Sprintf("map[wlan0:%d wwan0:%d]", n/2, n/2))
	stage.Until(t, "all connections are seen", func() bool { return counts() == "4 4" })
	c.drop()
	stage.Until(t, "all connections have ended", func() bool { return counts() == "0 0" })

	// This connection uses the default route, by wlan0, and asks nobody.
	other := startDialer(t, bed, filepath.Join(t.TempDir(), "none.sock"))
	other.dial("keep " + service)
	stage.Until(t, "the connection of another program is seen", func() bool { return counts() == "1 0" })
	keep(3, "map[wlan0:1 wwan0:2]")

	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	out, err := exec.Command(filepath.Join(bin, "mammactl"), "replay", file, "--config", conf).CombinedOutput()
	if want := "11 decisions of score, replayed with score: 11 the same (100.0 %), 0 differ"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("replay: %v\n%s", err, out)
	}
}
