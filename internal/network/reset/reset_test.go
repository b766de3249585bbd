package reset

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/policy"
)

// host is a kernel of a test. Its connections have heard nothing since silent.
type host struct {
	able   error
	open   map[netip.AddrPort]sockdiag.Established // by remote address
	silent time.Time
	ended  []string
	at     []time.Time
	asked  int     // calls of Established
	list   []error // of the next calls of Established
	refuse []error // of the next calls of Destroy
}

// next takes the first error from a list; nil if there is none.
func next(list *[]error) (err error) {
	if len(*list) > 0 {
		err, *list = (*list)[0], (*list)[1:]
	}
	return err
}

func (h *host) Able() error { return h.able }

func (h *host) Established(local []netip.Addr) (list []sockdiag.Established, err error) {
	h.asked++
	if err := next(&h.list); err != nil {
		return nil, err
	}
	for _, c := range h.open {
		if c.Local.Addr() == local[0] {
			if c.Heard == 0 {
				c.Heard = time.Since(h.silent)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func (h *host) Destroy(c sockdiag.Established) error {
	if err := next(&h.refuse); err != nil {
		return err
	}
	if _, ok := h.open[c.Remote]; !ok {
		return sockdiag.ErrNotFound
	}
	delete(h.open, c.Remote)
	h.ended, h.at = append(h.ended, c.Remote.String()), append(h.at, time.Now())
	return nil
}

func (h *host) connect(local, remote string, change func(*sockdiag.Established)) {
	c := sockdiag.Established{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
	if change != nil {
		change(&c)
	}
	h.open[c.Remote] = c
}

const own = "10.1.0.2:1000"

// networks are two networks; the first has its connections reset.
func networks(change func(first, second *Network)) []Network {
	list := []Network{
		{ID: policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("10.1.0.0/24")}, Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.2")}, Reset: true, Carrier: true, Far: true},
		{ID: policy.PrefixID{Interface: "wwan0", Prefix: netip.MustParsePrefix("10.2.0.0/24")}, Index: 3, Addrs: []netip.Addr{netip.MustParseAddr("10.2.0.2")}, Carrier: true, Far: true},
	}
	if change != nil {
		change(&list[0], &list[1])
	}
	return list
}

func down(first, _ *Network) { first.Down = true }

func isLocal(list []Network) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		for _, n := range list {
			if n.Addrs[0] == a {
				return true
			}
		}
		return false
	}
}

// after lets virtual time pass, until all is done that is to be done by then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// play runs a Resetter over a host in virtual time.
func play(t *testing.T, h *host, log *bytes.Buffer, f func(tell func([]Network))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h.silent = time.Now()
		if h.open == nil {
			h.open = map[netip.AddrPort]sockdiag.Established{}
		}
		r := New(func() (Kernel, func(), error) { return h, func() {}, nil }, slog.New(slog.NewTextHandler(log, nil)))
		go func() { _ = r.Run(t.Context()) }()
		f(func(list []Network) {
			r.Networks(list, isLocal(list))
			synctest.Wait()
		})
		if n := int(r.Ended()); n != len(h.ended) {
			t.Errorf("Ended says %d, there were %d", n, len(h.ended))
		}
	})
}

// Only connections end for which nothing speaks.
func TestWhatIsEnded(t *testing.T) {
	for _, tt := range []struct {
		name          string
		local, remote string
		connection    func(*sockdiag.Established)
		networks      func(first, second *Network)
		ended         bool
	}{
		{name: "a server far away", remote: "192.0.2.1:80", ended: true},
		{name: "bound to the device", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Device = 2 }, ended: true},
		{name: "it is not known when it heard", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Heard = -1 }, ended: true},
		{name: "a neighbour without a link", remote: "10.1.0.9:80", networks: func(f, _ *Network) { f.Carrier = false }, ended: true},
		{name: "the other network leads to its link only", remote: "192.0.2.1:80", networks: func(_, s *Network) { s.Far = false }},
		{name: "the other network is down, too", remote: "192.0.2.1:80", networks: func(_, s *Network) { s.Down = true }},
		{name: "not asked for", remote: "192.0.2.1:80", networks: func(f, _ *Network) { f.Reset = false }},
		{name: "the network works", remote: "192.0.2.1:80", networks: func(f, _ *Network) { f.Down = false }},
		{name: "from the other network", local: "10.2.0.2:1000", remote: "192.0.2.1:80"},
		{name: "bound to another device", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Device = 3 }},
		{name: "both networks have the address", remote: "192.0.2.1:80", networks: func(f, s *Network) { s.Addrs = f.Addrs }},
		{name: "both have it, and it is bound to the device", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Device = 2 }, networks: func(f, s *Network) { s.Addrs = f.Addrs }, ended: true},
		{name: "a neighbour", remote: "10.1.0.9:80"},
		{name: "a link-local neighbour", remote: "[fe80::1]:80"},
		{name: "this host", remote: "10.2.0.2:80"},
		{name: "loopback", remote: "127.0.0.1:80"},
		{name: "a subflow", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Multipath = true }},
		{name: "it has heard since", remote: "192.0.2.1:80", connection: func(c *sockdiag.Established) { c.Heard = time.Millisecond }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
			if tt.local == "" {
				tt.local = own
			}
			h.connect(tt.local, tt.remote, tt.connection)
			play(t, h, &bytes.Buffer{}, func(tell func([]Network)) {
				tell(networks(func(f, s *Network) {
					f.Down = true
					if tt.networks != nil {
						tt.networks(f, s)
					}
				}))
				after(time.Hour)
			})
			if (len(h.ended) == 1) != tt.ended {
				t.Errorf("ended %v, want %v", h.ended, tt.ended)
			}
		})
	}
}

// A network must be down for a second, and is looked at again when another one works.
func TestWhenItEnds(t *testing.T) {
	h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
	h.connect(own, "192.0.2.1:80", nil)
	play(t, h, &bytes.Buffer{}, func(tell func([]Network)) {
		tell(networks(nil))
		after(time.Minute)
		tell(networks(down))
		after(settle - time.Millisecond)
		tell(networks(nil)) // back in time
		after(time.Minute)
		if len(h.ended) > 0 {
			t.Fatalf("a short loss ends %v", h.ended)
		}
		tell(networks(func(f, s *Network) { f.Down, s.Down = true, true }))
		after(time.Minute)
		if len(h.ended) > 0 {
			t.Fatalf("nothing works, and that ends %v", h.ended)
		}
		tell(networks(down))
		if len(h.ended) != 1 {
			t.Errorf("another network works again: ended %v", h.ended)
		}
	})
}

// A connection that is heard from although its network is down is spared as long as that
// lasts. It ends if it falls silent in the same outage, and the others do not wait for it.
func TestFallsSilentLater(t *testing.T) {
	h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
	h.connect(own, "192.0.2.1:80", nil)
	h.connect("10.1.0.2:1001", "192.0.2.1:81", func(c *sockdiag.Established) { c.Heard = time.Millisecond })
	var log bytes.Buffer
	play(t, h, &log, func(tell func([]Network)) {
		begin := time.Now()
		tell(networks(down))
		after(time.Hour)
		if len(h.ended) != 1 || h.at[0].Sub(begin) != settle {
			t.Fatalf("ended %v at %v after %v", h.ended, h.at, begin)
		}
		h.connect("10.1.0.2:1001", "192.0.2.1:81", nil) // silent since the network is down
		silent := time.Now()
		tell(networks(down)) // nothing new
		after(time.Hour)
		if len(h.ended) != 2 || h.at[1].Sub(silent) > relook {
			t.Errorf("ended %v at %v, silent from %v on", h.ended, h.at, silent)
		}
		asked := h.asked
		after(time.Hour)
		if h.asked != asked {
			t.Errorf("nothing is left, and the kernel is asked %d times more", h.asked-asked)
		}
	})
	if text := log.String(); strings.Count(text, "\n") != 2 || strings.Count(text, "connections=1") != 2 {
		t.Errorf("log: %s", text)
	}
}

// Neighbours are left alone only while the link works, also if it fails after the network.
func TestLinkFailsLater(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(list []Network) []Network
	}{
		{"without a carrier", func(list []Network) []Network { list[0].Carrier = false; return list }},
		{"gone", func(list []Network) []Network { return list[1:] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
			h.connect(own, "10.1.0.9:80", nil)
			play(t, h, &bytes.Buffer{}, func(tell func([]Network)) {
				tell(networks(down))
				after(time.Minute)
				if len(h.ended) > 0 {
					t.Fatalf("the link works, and that ends %v", h.ended)
				}
				failed := time.Now()
				tell(tt.then(networks(down)))
				after(time.Minute)
				if len(h.ended) != 1 || h.at[0].Sub(failed) != settle {
					t.Errorf("the link has failed at %v: ended %v at %v", failed, h.ended, h.at)
				}
			})
		})
	}
}

// Many connections end a few hundred a second, and all of them once.
func TestManyEndSlowly(t *testing.T) {
	const many = 3*most + 1
	h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
	for i := range many {
		h.connect(own, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i+1)).String(), nil)
	}
	var log bytes.Buffer
	play(t, h, &log, func(tell func([]Network)) {
		begin := time.Now()
		tell(networks(down))
		after(time.Hour)
		for i, at := range h.at {
			if want := settle + time.Duration(i/most)*pause; at.Sub(begin) != want {
				t.Fatalf("number %d ended after %v, want %v", i, at.Sub(begin), want)
			}
		}
	})
	if len(h.ended) != many {
		t.Errorf("ended %d of %d", len(h.ended), many)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "connections=769") {
		t.Errorf("log: %s", text)
	}
}

// After an error of the kernel it is tried again, but not in a hurry.
func TestTriesAgain(t *testing.T) {
	h := &host{open: map[netip.AddrPort]sockdiag.Established{}, list: []error{errors.New("no buffer space")}, refuse: []error{errors.New("out of memory")}}
	h.connect(own, "192.0.2.1:80", nil)
	var log bytes.Buffer
	play(t, h, &log, func(tell func([]Network)) {
		begin := time.Now()
		tell(networks(down))
		after(time.Hour)
		if len(h.at) != 1 || h.at[0].Sub(begin) != settle+2*again {
			t.Errorf("ended at %v after %v", h.at, begin)
		}
	})
	if text := log.String(); strings.Count(text, "trying again") != 2 || strings.Count(text, "\n") != 3 {
		t.Errorf("log: %s", text)
	}
}

// A network that comes and goes has its connections ended every 30 s at most.
func TestComesAndGoes(t *testing.T) {
	h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
	play(t, h, &bytes.Buffer{}, func(tell func([]Network)) {
		for range 100 {
			h.connect(own, "192.0.2.1:80", nil)
			tell(networks(down))
			after(2 * time.Second)
			tell(networks(nil))
			after(2 * time.Second)
		}
	})
	for i := 1; i < len(h.at); i++ {
		if apart := h.at[i].Sub(h.at[i-1]); apart < again {
			t.Errorf("again after %v", apart)
		}
	}
	if len(h.at) < 2 {
		t.Errorf("ended at %v only", h.at)
	}
}

// A network that leaves the host with its address is down. One that the configuration no
// longer names is not.
func TestGone(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		h := &host{open: map[netip.AddrPort]sockdiag.Established{}}
		h.connect(own, "10.1.0.9:80", nil) // a neighbour
		synctest.Test(t, func(t *testing.T) {
			h.silent = time.Now()
			r := New(func() (Kernel, func(), error) { return h, func() {}, nil }, nil)
			go func() { _ = r.Run(t.Context()) }()
			list := networks(nil)
			r.Networks(list, isLocal(list))
			after(time.Minute)
			h.silent = time.Now()
			left := list[1:]
			if leaves {
				r.Networks(left, isLocal(left))
			} else {
				r.Networks(left, isLocal(list))
			}
			after(time.Hour)
		})
		if (len(h.ended) == 1) != leaves {
			t.Errorf("leaves %v: ended %v", leaves, h.ended)
		}
	}
}

// The log says once what is missing, and nothing is tried.
func TestUnable(t *testing.T) {
	h := &host{able: sockdiag.ErrRights, open: map[netip.AddrPort]sockdiag.Established{}}
	h.connect(own, "192.0.2.1:80", nil)
	var log bytes.Buffer
	play(t, h, &log, func(tell func([]Network)) {
		tell(networks(nil))
		tell(networks(down))
		after(time.Hour)
		tell(networks(nil))
	})
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "CAP_NET_ADMIN") || len(h.ended) > 0 {
		t.Errorf("ended %v, log: %s", h.ended, text)
	}
	log.Reset()
	synctest.Test(t, func(t *testing.T) {
		r := New(func() (Kernel, func(), error) { return nil, nil, errors.New("no sockets") }, slog.New(slog.NewTextHandler(&log, nil)))
		go func() { _ = r.Run(t.Context()) }()
		r.Networks(networks(down), nil)
		after(time.Hour)
	})
	if !strings.Contains(log.String(), "no sockets") {
		t.Errorf("log: %s", log.String())
	}
}
