package hostfacts

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/internal/testing/busbed"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the time limit for what takes milliseconds on an idle machine.
const patience = time.Minute

// testBus is a bus on which there are mocks.
type testBus struct{ *busbed.Bus }

func startBus(t *testing.T) *testBus {
	t.Helper()
	return &testBus{busbed.Start(t, busbed.Anybody)}
}

// mock is a scripted service on a bus.
type mock struct {
	t     *testing.T
	conn  *dbus.Conn
	props map[string]*busbed.Properties // by path
	asked atomic.Int64                  // how often the manager's properties were read
}

// serve puts objects on the bus under a name.
func (b *testBus) serve(t *testing.T, name string, o objects) *mock {
	t.Helper()
	conn := b.Connect(t)
	m := &mock{t: t, conn: conn, props: busbed.Export(t, conn, busbed.Objects(o))}
	if name == nmName {
		if err := m.conn.Export(counted{m, m.props[nmPath]}, nmPath, busName+".Properties"); err != nil {
			t.Fatal(err)
		}
	}
	// The name may still belong to a connection that was closed a moment ago.
	if _, err := m.conn.RequestName(name, 0); err != nil {
		t.Fatal(err)
	}
	return m
}

// counted counts the questions.
type counted struct {
	m *mock
	p *busbed.Properties
}

func (c counted) GetAll(iface string) (map[string]dbus.Variant, *dbus.Error) {
	c.m.asked.Add(1)
	return c.p.GetAll(iface)
}

func (m *mock) set(path, iface, name string, v any) {
	m.t.Helper()
	m.props[path].Change(m.t, iface, name, v)
}

// run runs a Watcher until the test ends.
func run(t *testing.T, path string) *Watcher {
	t.Helper()
	return runWith(t, New(path, nil))
}

func runWith(t *testing.T, w *Watcher) *Watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// await waits until the facts are as wanted, and returns how long that took.
func await(t *testing.T, w *Watcher, what string, ok func(*Facts) bool) time.Duration {
	t.Helper()
	began := time.Now()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok(w.Facts()) {
		select {
		case <-w.Changed():
		case <-limit.C:
			t.Fatalf("%s: not seen; what is known: %+v", what, w.Facts())
		}
	}
	return time.Since(began)
}

func isMetered(name string, want Metered) func(*Facts) bool {
	return func(f *Facts) bool { return f.Link(name).Metered == want }
}

func gone(f *Facts) bool { return len(f.Services) == 0 && len(f.links) == 0 && len(f.dns) == 0 }

// A service is found when it appears, then followed, and forgotten when it goes. The same
// holds for the bus.
func TestServicesComeAndGo(t *testing.T) {
	b := startBus(t)
	b.Stop(t)
	w := run(t, b.Path) // before there is a bus
	b.Restart(t)
	nm := b.serve(t, nmName, laptop())
	await(t, w, "NetworkManager", isMetered("ppp0", MeteredYes))
	if s := w.Facts().Services; len(s) != 1 || s[0] != (Service{NetworkManager, "1.42.4"}) {
		t.Errorf("services %+v", s)
	}
	nm.set(dev1, nmDevice, "Metered", uint32(1))
	await(t, w, "the signal", isMetered("wlan0", MeteredYes))
	nm.set(nmPath, nmName, "Devices", []dbus.ObjectPath{dev1})
	await(t, w, "a device that goes", isMetered("ppp0", MeteredUnknown))

	modem := b.serve(t, mmName, nil)
	exportModem(t, modem, uint32(1))
	await(t, w, "ModemManager", func(f *Facts) bool { return f.Link("wwan0").Modem != nil && !f.Link("wwan0").Modem.Roaming })
	exportModem(t, modem, uint32(5))
	if err := modem.conn.Emit(mmPath+"/Modem/0", busName+".Properties.PropertiesChanged", mm3GPP, map[string]dbus.Variant{"RegistrationState": dbus.MakeVariant(uint32(5))}, []string{}); err != nil {
		t.Fatal(err)
	}
	await(t, w, "roaming", func(f *Facts) bool {
		l := f.Link("wwan0")
		cost, by := l.Cost()
		return cost == policy.Expensive && by == ModemManager
	})

	_ = nm.conn.Close()
	await(t, w, "the end of NetworkManager", func(f *Facts) bool { return len(f.Services) == 1 && f.Link("wlan0").Wifi == nil })
	b.serve(t, nmName, laptop())
	await(t, w, "its return", isMetered("ppp0", MeteredYes))

	b.Stop(t)
	await(t, w, "the end of the bus", gone)
	b.Restart(t)
	b.serve(t, nmName, laptop())
	await(t, w, "the return of both", isMetered("ppp0", MeteredYes))
}

// exportModem serves ModemManager's objects. It returns the state of registration, which
// may be changed.
func exportModem(t *testing.T, m *mock, registration uint32) *atomic.Uint32 {
	t.Helper()
	type quality struct {
		Value  uint32
		Recent bool
	}
	type port struct {
		Name string
		Kind uint32
	}
	now := &atomic.Uint32{}
	now.Store(registration)
	all := func() map[dbus.ObjectPath]map[string]map[string]dbus.Variant {
		return map[dbus.ObjectPath]map[string]map[string]dbus.Variant{mmPath + "/Modem/0": {
			mmModem: {
				"State": dbus.MakeVariant(int32(11)), "AccessTechnologies": dbus.MakeVariant(uint32(1 << 14)),
				"SignalQuality": dbus.MakeVariant(quality{60, true}), "Ports": dbus.MakeVariant([]port{{"wwan0", 2}}), "Bearers": dbus.MakeVariant([]dbus.ObjectPath{}),
			},
			mm3GPP: {"RegistrationState": dbus.MakeVariant(now.Load()), "OperatorName": dbus.MakeVariant("Example")},
		}}
	}
	methods := map[string]any{"GetManagedObjects": func() (map[dbus.ObjectPath]map[string]map[string]dbus.Variant, *dbus.Error) { return all(), nil }}
	if err := m.conn.ExportMethodTable(methods, mmPath, busName+".ObjectManager"); err != nil {
		t.Fatal(err)
	}
	if err := m.conn.Emit(mmPath, busName+".ObjectManager.InterfacesAdded", dbus.ObjectPath(mmPath+"/Modem/0"), all()[mmPath+"/Modem/0"]); err != nil {
		t.Fatal(err)
	}
	return now
}

// Changes that systemd-resolved does not signal are seen when the host's interfaces change.
func TestResolvedIsFollowed(t *testing.T) {
	type entry struct {
		Index, Family int32
		Addr          []byte
		Port          uint16
		Name          string
	}
	type domain struct {
		Index int32
		Name  string
		Only  bool
	}
	b := startBus(t)
	resolved := b.serve(t, resolvedName, objects{
		resolvedPath + " " + resolvedManager:       {"DNSEx": []entry{{3, 2, []byte{192, 0, 2, 1}, 0, ""}}, "Domains": []domain{}},
		resolvedPath + "/link/_33 " + resolvedLink: {"DefaultRoute": true, "DNSOverTLS": "no"},
	})
	w := run(t, b.Path)
	await(t, w, "a server", func(f *Facts) bool { return len(f.DNS(3).Servers) == 1 && f.DNS(3).DefaultRoute })
	resolved.set(resolvedPath, resolvedManager, "DNSEx", []entry{{3, 2, []byte{192, 0, 2, 1}, 0, ""}, {3, 2, []byte{192, 0, 2, 2}, 5353, ""}})
	await(t, w, "another one", func(f *Facts) bool { return len(f.DNS(3).Servers) == 2 && f.DNS(3).Servers[1].Port() == 5353 })
	resolved.set(resolvedPath, resolvedManager, "Domains", []domain{{3, "corp.example", true}})
	w.LinksChanged()
	await(t, w, "a domain", func(f *Facts) bool { return len(f.DNS(3).Domains) == 1 })
	_ = resolved.conn.Close()
	await(t, w, "its end", gone)
}

// Read asks once, and returns what is there.
func TestReadOnce(t *testing.T) {
	b := startBus(t)
	b.serve(t, nmName, laptop())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if f, err := Read(ctx, b.Path); err != nil || f.Link("ppp0").Metered != MeteredYes {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := Read(ctx, b.Path+"x"); err == nil || f == nil || !gone(f) {
		t.Errorf("without a bus: %+v, %v", f, err)
	}
}

// Other processes on the bus can neither pass for a service nor make the watcher ask one,
// however much they send.
func TestOthersOnTheBus(t *testing.T) {
	b := startBus(t)
	nm := b.serve(t, nmName, laptop())
	w := run(t, b.Path)
	await(t, w, "NetworkManager", isMetered("ppp0", MeteredYes))
	// When this change is seen, the gap after the first questions is over.
	nm.set(dev1, nmDevice, "Metered", uint32(1))
	await(t, w, "a signal", isMetered("wlan0", MeteredYes))
	asked := nm.asked.Load()

	other := b.Connect(t)
	var names []string
	if err := other.BusObject().Call(busName+".ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	forged := func(to string, body ...any) {
		m := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(to), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(dev1)),
			dbus.FieldInterface: dbus.MakeVariant(busName + ".Properties"), dbus.FieldMember: dbus.MakeVariant("PropertiesChanged"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
		}}
		if call := other.Send(m, nil); call.Err != nil {
			t.Fatal(call.Err)
		}
	}
	changed := map[string]dbus.Variant{"Metered": dbus.MakeVariant(uint32(2))}
	large := map[string]dbus.Variant{"x": dbus.MakeVariant(make([]byte, systembus.MaxMessage))}
	for _, to := range names {
		if !strings.HasPrefix(to, ":") || to == other.Names()[0] {
			continue
		}
		for i := range 100 {
			forged(to, nmDevice, changed, []string{})
			if i == 50 {
				forged(to, nmDevice, large, []string{})
			}
		}
	}
	// The bus keeps the order, so what the service says now comes after all of that.
	nm.set(dev1, nmDevice, "Metered", uint32(4))
	await(t, w, "the service's own word", isMetered("wlan0", MeteredGuessNo))
	if n := nm.asked.Load() - asked; n > 2 {
		t.Errorf("the service was asked %d times", n)
	}
}

// A flood of the service's own signals leads to a few questions only, and at its end the
// latest facts are known.
func TestFloodOfSignals(t *testing.T) {
	b := startBus(t)
	nm := b.serve(t, nmName, laptop())
	w := run(t, b.Path)
	await(t, w, "NetworkManager", isMetered("ppp0", MeteredYes))
	const signals = 2000
	began := time.Now()
	for i := range signals {
		nm.set(dev1, nmDevice, "Metered", uint32(i%2*2+1))
	}
	nm.set(dev1, nmDevice, "Metered", uint32(4))
	await(t, w, "the last word", isMetered("wlan0", MeteredGuessNo))
	if n, most := nm.asked.Load(), int64(time.Since(began)/minGap)+3; n > most {
		t.Errorf("asked %d times for %d signals, more than %d", n, signals, most)
	}
}

// A service whose answer is too large is not believed, and the others are followed all the
// same.
func TestOversizedAnswer(t *testing.T) {
	b := startBus(t)
	o := laptop()
	impatient := New(b.Path, nil)
	impatient.limit = time.Second
	w := runWith(t, impatient)
	o[nmPath+" "+nmName]["Padding"] = make([]byte, 2*systembus.MaxMessage)
	nm := b.serve(t, nmName, o)
	modem := b.serve(t, mmName, nil)
	exportModem(t, modem, uint32(5))
	await(t, w, "ModemManager", func(f *Facts) bool { return f.Link("wwan0").Modem != nil })
	if w.Facts().Link("ppp0") != (Link{}) {
		t.Error("an answer of two megabytes was taken in")
	}
	_ = nm.conn.Close()
	delete(o[nmPath+" "+nmName], "Padding")
	b.serve(t, nmName, o)
	await(t, w, "an answer of usual size", isMetered("ppp0", MeteredYes))
}

// If a bus never answers, the watcher gives up and tries again.
func TestDeafBus(t *testing.T) {
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if f, err := Read(ctx, filepath.Join(dir, "s")); !gone(f) {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestPropertiesChanged(t *testing.T) {
	signal := func(body ...any) *dbus.Signal {
		return &dbus.Signal{Name: busName + ".Properties.PropertiesChanged", Body: body}
	}
	one := map[string]dbus.Variant{"Metered": {}}
	for _, tt := range []struct {
		name string
		s    *dbus.Signal
		want bool
	}{
		{"changed", signal(nmDevice, one, []string{}), true},
		{"invalidated", signal(nmDevice, map[string]dbus.Variant{}, []string{"State"}), true},
		{"of another interface", signal(nmDevice+".Statistics", one, []string{}), false},
		{"another property", signal(nmDevice, map[string]dbus.Variant{"Autoconnect": {}}, []string{"Mtu"}), false},
		{"other types", signal(7, "x", one), false},
		{"too short", signal(nmDevice, one), false},
		{"another signal", &dbus.Signal{Name: "org.example.Other"}, true},
	} {
		if got := propertiesChanged(tt.s, nmChanges); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
