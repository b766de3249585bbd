package hosts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/hostbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// followTask begins the task of a child that changes a host while the daemon runs.
const followTask = "follow:"

// followed is a change of a host, and what becomes of a network: its state, with
// "default" if it is the default network, or "gone" if it is no longer managed.
type followed struct {
	do   string // words of ip(8)
	want string
}

// follows are hosts that change. Each has the two uplinks of README.md. The test looks
// at wwan0.
var follows = map[string]struct {
	config []string
	steps  []followed
}{
	"a refusal comes and goes, by hand": {
		[]string{`interface "wlan0" {}`, `interface "wwan0" {}`},
		[]followed{
			{"rule add from 10.64.3.9 prohibit priority 100", "down"},
			{"rule del from 10.64.3.9 prohibit priority 100", "up"},
			{"rule add to 0.0.0.0/0 from 10.64.3.0/24 unreachable priority 100", "down"},
			{"rule del to 0.0.0.0/0 from 10.64.3.0/24 unreachable priority 100", "up"},
		},
	},
	"the same by a route, automatic": {
		[]string{"auto = true"},
		[]followed{
			{"rule add from 10.64.3.9 lookup 50 priority 100", "up"},
			{"route add blackhole default table 50", "gone"},
			{"route del blackhole default table 50", "up"},
			{"route add default via 192.168.0.1 dev wlan0 table 50", "up"},
			{"route del default table 50", "up"},
		},
	},
	"the default moves": {
		[]string{"auto = true"},
		[]followed{
			{"route add default via 10.64.3.1 dev wwan0 metric 10", "up default"},
			{"route del default via 10.64.3.1 dev wwan0 metric 10", "up"},
			{"link set wlan0 down", "up default"},
			{"link set wlan0 up", "up default"}, // its route does not come back by itself
			{"route add default via 192.168.0.1 dev wlan0 metric 100", "up"},
		},
	},
	"a VPN comes and goes": {
		[]string{"auto = true"},
		[]followed{
			{"route add 0.0.0.0/1 dev tun0", "up"},
			{"route add 128.0.0.0/1 dev tun0", "gone"},
			{"route del 128.0.0.0/1 dev tun0", "up"},
			{"route del 0.0.0.0/1 dev tun0", "up"},
		},
	},
	"an address comes and goes": {
		[]string{"auto = true"},
		[]followed{
			{"addr del 10.64.3.9/24 dev wwan0", "gone"},
			{"addr add 10.64.3.9/24 dev wwan0", "gone"}, // its route is removed with the old address
			{"route add default via 10.64.3.1 dev wwan0 metric 700", "up"},
		},
	},
}

const followedHost = `link wlan0
link wwan0
link tun0 kind tun
addr 192.168.0.23/24 dev wlan0
addr 10.64.3.9/24 dev wwan0
addr 10.8.0.6/24 dev tun0
route default via 192.168.0.1 dev wlan0 metric 100
route default via 10.64.3.1 dev wwan0 metric 700
`

// The daemon follows a change as soon as the kernel reports it. It does not wait for
// the time when it asks the kernel anyway, which is after 5 s.
func TestFollows(t *testing.T) {
	for name := range follows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := hostbed.Child(followTask+name, 2*time.Minute); err != nil {
				testbed.SkipOrFail(t, err)
			}
		})
	}
}

// follow changes a host and checks the result.
func follow(name string) (err error) {
	f := follows[name]
	h, err := hostfile.Parse([]byte(followedHost), name)
	if err != nil {
		return err
	}
	h.Config = f.config
	w, err := hostbed.Load(h)
	if err != nil {
		return err
	}
	defer w.Close()
	dir, err := os.MkdirTemp("", "mamma-follow")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &run{host: h, world: w, dir: dir, conf: filepath.Join(dir, "mamma.conf")}
	if err := r.start(ctx); err != nil {
		return err
	}
	defer func() { _ = r.stop() }()
	if _, err := r.await(ctx, "up"); err != nil {
		return err
	}
	for _, s := range f.steps {
		start := time.Now()
		if out, err := exec.Command("ip", strings.Fields(s.do)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", s.do, err, out)
		}
		state, err := r.await(ctx, s.want)
		took := time.Since(start)
		if err != nil {
			return fmt.Errorf("after ip %s: wwan0 is %q, want %q: %w", s.do, state, s.want, err)
		}
		if os.Getenv("MAMMA_HOST_LOG") != "" {
			_, _ = fmt.Fprintf(os.Stderr, "%-60s %-12s %v\n", s.do, s.want, took)
		}
		if took > 4*time.Second {
			return fmt.Errorf("after ip %s: wwan0 is %s after %v", s.do, s.want, took)
		}
	}
	return nil
}

// await returns when the state of wwan0 is want.
func (r *run) await(ctx context.Context, want string) (state string, err error) {
	c := control.NewClient(r.path("c"))
	defer c.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for enough := time.Now().Add(15 * time.Second); ; {
		var p control.Prefixes
		if _, err := c.Get(ctx, "/v1/prefixes", &p); err != nil {
			return "", err
		}
		state = "gone"
		for _, x := range p.Prefixes {
			if x.Interface == "wwan0" {
				state = x.Health.State
				if x.Default {
					state += " default"
				}
			}
		}
		if state == want {
			return state, nil
		}
		if time.Now().After(enough) {
			return state, context.DeadlineExceeded
		}
		<-tick.C
	}
}
