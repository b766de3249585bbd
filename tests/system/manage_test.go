package system

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// crowd adds addresses to a network of a bed, each with a network of its own, and
// removes them.
type crowd struct {
	t    *testing.T
	h    *netlink.Handle
	link netlink.Link
	has  map[int]bool
}

func crowdOn(t *testing.T, bed *testbed.Bed, name string) *crowd {
	t.Helper()
	link, err := bed.Client.Handle().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return &crowd{t, bed.Client.Handle(), link, map[int]bool{}}
}

func (c *crowd) address(i int) *netlink.Addr {
	n := netlink.NewIPNet(netip.AddrFrom4([4]byte{172, byte(16 + i>>8), byte(i), 2}).AsSlice())
	n.Mask = []byte{255, 255, 255, 0}
	return &netlink.Addr{IPNet: n}
}

// toggle adds the address if it is not there, and removes it otherwise.
func (c *crowd) toggle(i int) {
	c.t.Helper()
	change := c.h.AddrAdd
	if c.has[i] {
		change = c.h.AddrDel
	}
	if err := change(c.link, c.address(i)); err != nil {
		c.t.Fatal(err)
	}
	if c.has[i] {
		delete(c.has, i)
	} else {
		c.has[i] = true
	}
}

// The daemon's rules follow when hundreds of networks change beside thousands of
// routes, at any moment. The same holds at the daemon's end: every rule that is left
// behind is reported.
func TestManagedRoutingUnderChange(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	const own = 4 // addresses of the two networks in two families
	c := crowdOn(t, bed, "wwan0")
	for i := range 300 {
		c.toggle(i)
	}
	for i := range 2000 {
		r := &netlink.Route{LinkIndex: bed.Networks[1].Index, Gw: bed.Networks[1].Gateway4.AsSlice()}
		r.Dst = netlink.NewIPNet(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}).AsSlice())
		r.Dst.Mask = []byte{255, 255, 255, 0}
		if err := c.h.RouteAdd(r); err != nil {
			t.Fatal(err)
		}
	}
	conf := write(t, "policy.conf", "routing = \"manage\"\n"+plainConf)
	// The next change comes before the daemon has carried out the one before, from its
	// start on.
	d := start(t, bed.Client, conf)
	for _, part := range []int{150, 300, 10, 290} {
		for i := range part {
			c.toggle(i)
		}
		awaitSome(t, bed)
	}
	awaitMarked(t, bed, 2*(own+len(c.has)))

	// The end comes in the middle of a pass.
	for i := range 300 {
		c.toggle(i)
	}
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	if n := marked(t, bed); n != 0 {
		d.Log.Await(t, "left behind", 1)
	}
	// If the daemon is killed in the middle, the next daemon removes the rules that are
	// left.
	d = start(t, bed.Client, conf)
	awaitSome(t, bed)
	d.Kill(t)
	start(t, bed.Client, write(t, "policy.conf", plainConf))
	awaitMarked(t, bed, 0)
}

// shows waits until mammactl shows this many networks.
func (d *daemon) shows(t *testing.T, want int) {
	t.Helper()
	var answer struct {
		Prefixes []control.Prefix `json:"prefixes"`
	}
	stage.Until(t, fmt.Sprint(want, " networks are shown"), func() bool {
		answer.Prefixes = nil
		if err := json.Unmarshal([]byte(d.ctl(t, "prefixes", "--json")), &answer); err != nil {
			t.Fatal(err)
		}
		return len(answer.Prefixes) == want
	})
}

// awaitSome returns when the daemon has rules, whether these are complete or not.
func awaitSome(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	stage.Until(t, "there are rules", func() bool { return marked(t, bed) > 0 })
}

// Reloads of different configurations and changes of the networks come at any moment of
// each other. In the end everything is as the last ones say.
func TestReloadsUnderChange(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	const seed = 18
	random := rand.New(rand.NewPCG(seed, seed))
	c := crowdOn(t, bed, "wwan0")
	configurations := []string{
		"routing = \"manage\"\n" + plainConf,
		plainConf,
		"routing = \"manage\"\npolicy \"sample\" {}\ninterface \"wlan0\" {}\n",
		"policy \"adaptive\" {}\nauto = true\n",
		"policy \"sample\" {}\nnonsense\n",
	}
	conf := write(t, "policy.conf", configurations[0])
	d := start(t, bed.Client, conf)
	for range 300 {
		switch random.IntN(4) {
		case 0:
			if err := os.WriteFile(conf, []byte(configurations[random.IntN(len(configurations))]), 0o600); err != nil {
				t.Fatal(err)
			}
			d.Signal(t, syscall.SIGHUP)
		default:
			c.toggle(random.IntN(20))
		}
	}
	for _, last := range []struct {
		conf    string
		managed bool
	}{{configurations[0], true}, {configurations[1], false}, {configurations[0], true}} {
		if err := os.WriteFile(conf, []byte(last.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		d.Signal(t, syscall.SIGHUP)
		c.toggle(random.IntN(20))
		want := 0
		if last.managed {
			want = 2 * (4 + len(c.has))
		}
		awaitMarked(t, bed, want)
		d.shows(t, 4+len(c.has))
	}
	d.Signal(t, syscall.SIGHUP) // the end comes during a reload
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	if n := marked(t, bed); n != 0 {
		t.Errorf("%d rules are left", n)
	}
}
