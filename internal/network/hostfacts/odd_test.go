package hostfacts

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/testing/busbed"
)

// stuck is an object that answers some questions not before it is let go.
type stuck struct {
	p     *busbed.Properties
	stuck atomic.Bool
	asked chan struct{} // has a value for each question
	free  chan struct{} // closed at the end
}

func (s *stuck) GetAll(iface string) (map[string]dbus.Variant, *dbus.Error) {
	s.asked <- struct{}{}
	if s.stuck.Load() {
		<-s.free
	}
	return s.p.GetAll(iface)
}

// twice waits until the object was asked two times more.
func (s *stuck) twice(t *testing.T) {
	t.Helper()
	for range 2 {
		select {
		case <-s.asked:
		case <-time.After(patience):
			t.Fatal("not asked again")
		}
	}
}

// A service that does not answer for a while, because it or the host is busy, is asked
// again without a signal, and what it has said before counts meanwhile. An object that
// it answers about with an error is gone.
func TestBusyService(t *testing.T) {
	b := startBus(t)
	nm := b.serve(t, nmName, laptop())
	s := &stuck{p: nm.props[dev2], asked: make(chan struct{}, 1000), free: make(chan struct{})}
	t.Cleanup(func() { close(s.free) })
	s.stuck.Store(true)
	if err := nm.conn.Export(s, dev2, busName+".Properties"); err != nil {
		t.Fatal(err)
	}
	w := New(b.Path, nil)
	w.limit, w.look = 200*time.Millisecond, 50*time.Millisecond
	runWith(t, w)
	s.twice(t)
	if l := w.Facts().Link("wlan0"); l != (Link{}) {
		t.Errorf("half an answer was taken in: %+v", l)
	}
	s.stuck.Store(false)
	await(t, w, "the answer", isMetered("ppp0", MeteredYes))

	s.stuck.Store(true)
	for len(s.asked) > 0 {
		<-s.asked
	}
	nm.set(dev1, nmDevice, "Metered", uint32(1))
	s.twice(t)
	if f := w.Facts(); !isMetered("ppp0", MeteredYes)(f) || !isMetered("wlan0", MeteredGuessNo)(f) {
		t.Errorf("while the service is busy: %+v", f)
	}
	s.stuck.Store(false)
	await(t, w, "the next answer", func(f *Facts) bool {
		return isMetered("ppp0", MeteredYes)(f) && isMetered("wlan0", MeteredYes)(f)
	})
	// Now the device is unknown to its own service, but still listed.
	if err := nm.conn.Export(nil, dev2, busName+".Properties"); err != nil {
		t.Fatal(err)
	}
	nm.set(dev1, nmDevice, "Metered", uint32(2))
	await(t, w, "the end of a device", func(f *Facts) bool {
		return isMetered("ppp0", MeteredUnknown)(f) && isMetered("wlan0", MeteredNo)(f)
	})
}

// signal sends what looks like a change, as fast as the bus takes it.
func signal(t *testing.T, c *dbus.Conn, n int, path, iface, property string, value any) {
	for range n {
		changed := map[string]dbus.Variant{property: dbus.MakeVariant(value)}
		if err := c.Emit(dbus.ObjectPath(path), busName+".Properties.PropertiesChanged", iface, changed, []string{}); err != nil {
			t.Error(err)
			return
		}
	}
}

// All services flood at the same time with signals about what matters. Each is asked a
// bounded number of times, memory does not grow, and what is true at the end is known.
func TestFloodOfAll(t *testing.T) {
	type entry struct {
		Index, Family int32
		Addr          []byte
		Port          uint16
		Name          string
	}
	b := startBus(t)
	nm := b.serve(t, nmName, laptop())
	modem := b.serve(t, mmName, nil)
	var asked atomic.Int64
	registration := exportModem(t, modem, 1)
	resolved := b.serve(t, resolvedName, objects{
		resolvedPath + " " + resolvedManager:       {"DNSEx": []entry{{3, 2, []byte{192, 0, 2, 1}, 0, ""}}},
		resolvedPath + "/link/_33 " + resolvedLink: {"DefaultRoute": true, "DNSOverTLS": "no"},
	})
	countResolved := questions{resolved.props[resolvedPath], &asked}
	if err := resolved.conn.Export(countResolved, resolvedPath, busName+".Properties"); err != nil {
		t.Fatal(err)
	}
	networkd := serveNetworkd(t, b, `{"OnlineState":"online"}`)
	w := run(t, b.Path)
	await(t, w, "all of them", func(f *Facts) bool {
		return len(f.Services) == 4 && isMetered("ppp0", MeteredYes)(f) && f.Link("wwan0").Modem != nil && len(f.DNS(3).Servers) == 1
	})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	nm.asked.Store(0)
	networkd.asked.Store(0)
	asked.Store(0)
	began := time.Now()
	const n = 2000
	var all sync.WaitGroup
	all.Go(func() { signal(t, nm.conn, n, dev1, nmDevice, "Metered", uint32(1)) })
	all.Go(func() { signal(t, modem.conn, n, mmPath+"/Modem/0", mm3GPP, "RegistrationState", uint32(5)) })
	all.Go(func() { signal(t, resolved.conn, n, resolvedPath, resolvedManager, "DNSEx", []entry{}) })
	all.Go(func() { signal(t, networkd.conn, n, loopbackLink, networkdLink, "OnlineState", "partial") })
	all.Wait()
	nm.set(dev1, nmDevice, "Metered", uint32(1))
	registration.Store(5)
	signal(t, modem.conn, 1, mmPath+"/Modem/0", mm3GPP, "RegistrationState", uint32(5))
	resolved.set(resolvedPath, resolvedManager, "DNSEx", []entry{{3, 2, []byte{192, 0, 2, 9}, 0, ""}})
	networkd.say(t, `{"OnlineState":"partial"}`)
	await(t, w, "the last word of each", func(f *Facts) bool {
		m := f.Link("wwan0").Modem
		return isMetered("wlan0", MeteredYes)(f) && m != nil && m.Roaming && len(f.DNS(3).Servers) == 1 &&
			f.DNS(3).Servers[0].Addr().String() == "192.0.2.9" && f.Link("lo").Online == "partial"
	})
	most := int64(time.Since(began)/minGap) + 3
	for name, times := range map[string]int64{NetworkManager: nm.asked.Load(), Networkd: networkd.asked.Load(), Resolved: asked.Load()} {
		if times > most {
			t.Errorf("%s was asked %d times, more than %d", name, times, most)
		}
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d bytes of memory before the flood, %d after it", before, after)
	}
}

// questions counts how often properties are read.
type questions struct {
	p *busbed.Properties
	n *atomic.Int64
}

func (q questions) GetAll(iface string) (map[string]dbus.Variant, *dbus.Error) {
	q.n.Add(1)
	return q.p.GetAll(iface)
}

// Names that come and go, and objects that do, in quick succession, leave nothing behind;
// at the end is known what is there then.
func TestChurn(t *testing.T) {
	b := startBus(t)
	nm := b.serve(t, nmName, laptop())
	modem := b.serve(t, mmName, nil)
	registration := exportModem(t, modem, 1)
	w := run(t, b.Path)
	await(t, w, "both", func(f *Facts) bool { return len(f.Services) == 2 })
	for i := range 200 {
		for _, name := range []string{mmName, nmName} {
			c := map[string]*mock{mmName: modem, nmName: nm}[name]
			if _, err := c.conn.ReleaseName(name); err != nil {
				t.Fatal(err)
			}
			if _, err := c.conn.RequestName(name, 0); err != nil {
				t.Fatal(err)
			}
		}
		registration.Store(uint32(1 + 4*(i%2)))
		signal(t, modem.conn, 1, mmPath+"/Modem/0", mm3GPP, "RegistrationState", uint32(1+4*(i%2)))
		devices := []dbus.ObjectPath{dev1}
		if i%2 == 0 {
			devices = append(devices, dev2, dbus.ObjectPath(fmt.Sprint(nmPath, "/Devices/", i+100)))
		}
		nm.set(nmPath, nmName, "Devices", devices)
	}
	await(t, w, "what is there at the end", func(f *Facts) bool {
		m := f.Link("wwan0").Modem
		return len(f.Services) == 2 && isMetered("wlan0", MeteredGuessNo)(f) && isMetered("ppp0", MeteredUnknown)(f) && m != nil && m.Roaming
	})
	for name, c := range map[string]*mock{mmName: modem, nmName: nm} {
		if _, err := c.conn.ReleaseName(name); err != nil {
			t.Fatal(err)
		}
	}
	await(t, w, "the end", gone)
}

// A look at what is not signalled asks about no interface that systemd-networkd leaves to
// others, and keeps what is known of it.
func TestNetworkdLooks(t *testing.T) {
	state := map[dbus.ObjectPath]string{
		"/managed":   `{"AdministrativeState":"configured","OnlineState":"online"}`,
		"/unmanaged": `{"AdministrativeState":"unmanaged","OnlineState":"partial"}`,
	}
	var asked []string
	n := &networkd{
		list: func(context.Context) ([][]any, error) {
			return [][]any{{int32(2), "eth0", dbus.ObjectPath("/managed")}, {int32(3), "veth0", dbus.ObjectPath("/unmanaged")}}, nil
		},
		describe: func(_ context.Context, path dbus.ObjectPath) (string, error) {
			asked = append(asked, string(path))
			return state[path], nil
		},
		ours: func() (map[int]string, error) { return map[int]string{2: "eth0", 3: "veth0"}, nil },
	}
	var before *networkdFacts
	for _, want := range []string{"/managed /unmanaged", "/managed", "/managed"} {
		asked = nil
		f, err := n.read(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(asked, " "); got != want || f.links["eth0"].online != "online" || f.links["veth0"].online != "partial" {
			t.Errorf("asked about %q, want %q; %+v", got, want, f)
		}
		before = &f
	}
	// After a signal, all are asked about.
	state["/unmanaged"] = state["/managed"]
	asked = nil
	if f, err := n.read(t.Context(), nil); err != nil || len(asked) != 2 || f.links["veth0"].online != "online" || len(f.unmanaged) != 0 {
		t.Errorf("asked about %q; %+v, %v", asked, f, err)
	}
	// Another interface with the same index is not the one that was unmanaged.
	asked = nil
	if _, err := n.read(t.Context(), &networkdFacts{unmanaged: map[int]string{2: "wlan0"}}); err != nil || len(asked) != 2 {
		t.Errorf("asked about %q, %v", asked, err)
	}
}
