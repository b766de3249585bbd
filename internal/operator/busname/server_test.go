package busname

import (
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"

	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/internal/testing/busbed"
	"github.com/socket-intents/mamma/internal/testing/leak"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) { leak.VerifyMain(m) }

// patience is the time limit for what takes milliseconds on an idle machine.
const patience = time.Minute

// first chooses the first network that is offered.
type first struct{}

func (first) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{Prefix: r.Prefixes[0], Alternates: r.Prefixes[1:], Reason: "the first one"}
}

// view returns a View with Wi-Fi and a modem, which has the given cost and state.
func view(cost policy.Cost, state policy.HealthState) *mam.View {
	network := func(name string, index int, address string, c policy.Cost) *policy.Prefix {
		p := netip.MustParsePrefix(address)
		return &policy.Prefix{
			ID: policy.PrefixID{Interface: name, Prefix: p.Masked()}, Interface: name, Index: index, CIDR: p.Masked(), Addrs: []netip.Addr{p.Addr()}, Cost: c,
			Health: policy.Health{State: policy.Up},
		}
	}
	w, m := network("wlan0", 2, "192.168.0.7/24", cost), network("wwan0", 3, "10.64.3.9/10", policy.Metered)
	w.Health.State, w.Name = state, "hotel"
	return &mam.View{
		Time: time.Now(), Prefixes: []*policy.Prefix{w, m}, Runner: mam.NewRunner("first", first{}, slog.New(slog.DiscardHandler)),
		Fresh: func() (policy.Policy, error) { return first{}, nil },
		Told: map[policy.PrefixID]mam.Told{w.ID: {Cost: "NetworkManager", Facts: []mam.Fact{
			{Name: "metered", Value: "yes", Source: "NetworkManager"}, {Name: "signal", Value: "61 %", Source: "NetworkManager", Measured: true},
		}}},
	}
}

// served is a Server on a bus.
type served struct {
	*Server
	bus *busbed.Bus
}

func serve(t *testing.T, rules string) *served {
	t.Helper()
	b := busbed.Start(t, rules)
	m := mam.New(mam.Options{})
	s := &served{New(Options{Bus: b.Path, Manager: m, Version: "1.2.3"}), b}
	s.publish(view(policy.Free, policy.Up))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *served) publish(v *mam.View) {
	s.opts.Manager.Publish(v)
	s.Published(v)
}

// object returns our object as soon as somebody has the name.
func (s *served) object(t *testing.T, c *dbus.Conn) dbus.BusObject {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var has bool
		if err := c.BusObject().Call(busName+".NameHasOwner", 0, Name).Store(&has); err != nil {
			t.Fatal(err)
		}
		if has {
			return c.Object(Name, Path)
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody has the name")
		}
	}
}

// With the installed configuration, on a bus that permits nothing else, everybody can read
// the networks and hears of changes.
func TestNetworks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, whom the policy lets have the name")
	}
	installed, err := filepath.Abs("../../../init/org.socketintents.Mamma1.xml")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, busbed.Usual+"<include>"+installed+"</include>")
	c := s.bus.Connect(t)
	o := s.object(t, c)
	if err := c.AddMatchSignal(dbus.WithMatchObjectPath(Path), dbus.WithMatchInterface(properties)); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 16)
	c.Signal(signals)

	var all map[string]dbus.Variant
	if err := o.Call(properties+".GetAll", 0, Interface).Store(&all); err != nil {
		t.Fatal(err)
	}
	networks := all["Networks"].Value().([]map[string]dbus.Variant)
	if len(all) != 4 || all["Version"].Value() != "1.2.3" || all["Cost"].Value() != "free" || all["AvoidMetered"].Value() != false || len(networks) != 2 {
		t.Fatalf("%v", all)
	}
	for name, want := range map[string]any{
		"Interface": "wlan0", "Index": uint32(2), "Prefix": "192.168.0.0/24", "Family": "IPv4", "Name": "hotel", "Cost": "free", "CostSource": "NetworkManager",
		"Health": "up", "HealthReason": "", "Default": false, "OverBudget": false, "Device": "", "ResolversSource": "",
	} {
		if got := networks[0][name].Value(); got != want {
			t.Errorf("%s is %#v, want %#v", name, got, want)
		}
	}
	if facts, ok := networks[0]["Facts"].Value().([][]string); !ok || len(facts) != 2 || !slices.Equal(facts[0], []string{"metered", "yes", "NetworkManager"}) {
		t.Errorf("facts %v", networks[0]["Facts"])
	}

	// New measurements are not signalled. They come with the next change.
	louder := view(policy.Free, policy.Up)
	told := louder.Told[louder.Prefixes[0].ID]
	told.Facts[1].Value = "60 %"
	s.publish(louder)
	s.publish(view(policy.Metered, policy.Up))
	if got := changed(t, signals); len(got) != 2 || got["Cost"].Value() != "metered" || got["Networks"].Value().([]map[string]dbus.Variant)[0]["Cost"].Value() != "metered" {
		t.Errorf("changed: %v", got)
	}
	v := view(policy.Metered, policy.Up)
	for _, p := range v.Prefixes {
		p.Health.State = policy.Down
	}
	s.publish(v)
	if got := changed(t, signals); got["Cost"].Value() != "" {
		t.Errorf("where nothing works: %v", got)
	}
	var one dbus.Variant
	if err := o.Call(properties+".Get", 0, Interface, "Cost").Store(&one); err != nil || one.Value() != "" {
		t.Errorf("Cost: %v, %v", one, err)
	}

	// When the bus returns, the Server gets its name again.
	s.bus.Stop(t)
	s.bus.Restart(t)
	again := s.bus.Connect(t)
	if err := s.object(t, again).Call(properties+".Get", 0, Interface, "Version").Store(&one); err != nil || one.Value() != "1.2.3" {
		t.Errorf("after the bus was lost: %v, %v", one, err)
	}
}

// changed waits for the next signal and returns the changed properties.
func changed(t *testing.T, signals <-chan *dbus.Signal) map[string]dbus.Variant {
	t.Helper()
	select {
	case s := <-signals:
		if s.Name != properties+".PropertiesChanged" || len(s.Body) != 3 || s.Body[0] != Interface {
			t.Fatalf("%+v", s)
		}
		return s.Body[1].(map[string]dbus.Variant)
	case <-time.After(patience):
		t.Fatal("no signal")
		return nil
	}
}

func TestExplain(t *testing.T) {
	s := serve(t, busbed.Anybody)
	o := s.object(t, s.bus.Connect(t))
	var d map[string]dbus.Variant
	if err := o.Call(Interface+".Explain", 0, "www.example.net", "443", map[string]string{"filesize": "300000000", "category": "bulktransfer", "family": "IPv4"}).Store(&d); err != nil {
		t.Fatal(err)
	}
	if d["Interface"].Value() != "wlan0" || d["Address"].Value() != "192.168.0.7" || d["Reason"].Value() != "the first one" || d["Policy"].Value() != "first" || d["Refused"].Value() != false {
		t.Errorf("%v", d)
	}
	if a, ok := d["Alternates"].Value().([][]string); !ok || len(a) != 1 || !slices.Equal(a[0], []string{"wwan0", "10.64.0.0/10", "10.64.3.9"}) {
		t.Errorf("alternates %v", d["Alternates"])
	}
	for _, tt := range []struct {
		options map[string]string
		want    string
	}{
		{map[string]string{"filesize": "many"}, "filesize must be a number"},
		{map[string]string{"colour": "blue"}, `there is no option "colour"`},
		{map[string]string{"category": "other"}, "category must be one of"},
		{map[string]string{"family": "IPv5"}, "family must be one of"},
	} {
		err := o.Call(Interface+".Explain", 0, "www.example.net", "443", tt.options).Err
		if e := (dbus.Error{}); !errors.As(err, &e) || e.Name != errorPrefix+"InvalidArgs" || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("%v: %v", tt.options, err)
		}
	}
	v := view(policy.Free, policy.Up)
	v.Runner = nil
	s.publish(v)
	if e := (dbus.Error{}); !errors.As(o.Call(Interface+".Explain", 0, "a", "1", map[string]string{}).Err, &e) || e.Name != Name+".Error.NoPolicy" {
		t.Errorf("without a policy: %v", e)
	}
}

// Each object describes itself, so that tools find our methods and properties.
func TestIntrospect(t *testing.T) {
	s := serve(t, busbed.Anybody)
	c := s.bus.Connect(t)
	s.object(t, c)
	path := "/"
	for {
		n, err := introspect.Call(c.Object(Name, dbus.ObjectPath(path)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(n.Children) == 0 {
			var described []string
			for _, i := range n.Interfaces {
				for _, m := range i.Methods {
					described = append(described, i.Name+"."+m.Name)
				}
			}
			for key := range methods {
				if !slices.Contains(described, key[0]+"."+key[1]) {
					t.Errorf("%v is not described", key)
				}
			}
			if len(described) != len(methods) {
				t.Errorf("described %v", described)
			}
			break
		}
		path = strings.TrimSuffix(path, "/") + "/" + n.Children[0].Name
	}
	if path != string(Path) {
		t.Errorf("the way ends at %s", path)
	}
	for name := range (&Server{}).properties(nil) {
		if !strings.Contains(description, `<property name="`+name+`"`) {
			t.Errorf("property %s is not described", name)
		}
	}
	if err := xml.Unmarshal([]byte(description), new(introspect.Node)); err != nil {
		t.Error(err)
	}
	if err := c.Object(Name, Path).Call(peerInterface+".Ping", 0).Err; err != nil {
		t.Error(err)
	}
}

// A wrong call is answered with an error. A message that is not a call gets no answer.
func TestHostileCalls(t *testing.T) {
	s := serve(t, busbed.Anybody)
	c := s.bus.Connect(t)
	o := s.object(t, c)
	deep := dbus.MakeVariant(map[string]dbus.Variant{"a": dbus.MakeVariant([]any{"b", uint32(1)})})
	for _, tt := range []struct {
		what string
		call *dbus.Call
		want string
	}{
		{"a write", o.Call(properties+".Set", 0, Interface, "Cost", dbus.MakeVariant("free")), "PropertyReadOnly"},
		{"a write of many types", o.Call(properties+".Set", 0, Interface, "Cost", deep), "PropertyReadOnly"},
		{"other types", o.Call(Interface+".Explain", 0, "a", "b", map[string]dbus.Variant{"x": deep}), "InvalidArgs"},
		{"too few", o.Call(properties+".Get", 0, Interface), "InvalidArgs"},
		{"too many", o.Call(properties+".GetAll", 0, Interface, "x"), "InvalidArgs"},
		{"too long", o.Call(Interface+".Explain", 0, strings.Repeat("x", 1<<20), "b", map[string]string{}), "InvalidArgs"},
		{"a long name", o.Call(Interface+".Explain", 0, strings.Repeat("x", 300), "b", map[string]string{}), "InvalidArgs"},
		{"no method", o.Call(Interface+".Reload", 0), "UnknownMethod"},
		{"no property", o.Call(properties+".Get", 0, Interface, "Password"), "UnknownProperty"},
		{"another interface", o.Call(properties+".Get", 0, "a.b", "Cost"), "UnknownProperty"},
		{"no object", c.Object(Name, "/org/socketintents/Mamma").Call(properties+".GetAll", 0, ""), "UnknownObject"},
		{"an object on the way", c.Object(Name, "/org").Call(properties+".GetAll", 0, ""), "UnknownMethod"},
	} {
		if e := (dbus.Error{}); !errors.As(tt.call.Err, &e) || e.Name != errorPrefix+tt.want {
			t.Errorf("%s: %v", tt.what, tt.call.Err)
		}
	}
	for range 2000 {
		o.Call(Interface+".Explain", dbus.FlagNoReplyExpected, "www.example.net", "443", map[string]string{})
	}
	// A sender of very many calls may have to wait or be refused. Other senders need not.
	var v dbus.Variant
	if err := s.bus.Connect(t).Object(Name, Path).Call(properties+".Get", 0, "", "Version").Store(&v); err != nil || v.Value() != "1.2.3" {
		t.Errorf("beside a flood: %v, %v", v, err)
	}
}

// What others than the bus tell is not even decoded.
func TestAdmit(t *testing.T) {
	for _, tt := range []struct {
		h    systembus.Header
		want bool
	}{
		{systembus.Header{Kind: dbus.TypeSignal, Sender: busName}, true},
		{systembus.Header{Kind: dbus.TypeMethodReply, Sender: busName}, true},
		{systembus.Header{Kind: dbus.TypeMethodReply}, true},
		{systembus.Header{Kind: dbus.TypeSignal}, false},
		{systembus.Header{Kind: dbus.TypeSignal, Sender: ":1.8"}, false},
		{systembus.Header{Kind: dbus.TypeMethodReply, Sender: ":1.8"}, false},
		{systembus.Header{Kind: dbus.TypeError, Sender: Name}, false},
	} {
		if got := admit(tt.h); got != tt.want {
			t.Errorf("%+v: %t", tt.h, got)
		}
	}
}

// The queue is bounded, and so is each sender's part of it.
func TestQueue(t *testing.T) {
	q := newQueue()
	sender := func(name string) call {
		var c call
		c.Sender = name
		return c
	}
	taken := 0
	for range 100 {
		if q.add(sender(":1.1")) {
			taken++
		}
	}
	if taken != maxOfOne {
		t.Errorf("took %d of one sender", taken)
	}
	for i := range 1000 {
		if q.add(sender(":1." + strings.Repeat("2", i%50+1))) {
			taken++
		}
	}
	if taken != maxCalls {
		t.Errorf("took %d", taken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := 0
	if err := q.serve(ctx, func(call) {
		if answered++; answered == maxCalls {
			cancel()
		}
	}); err != nil || answered != maxCalls || len(q.of) != 0 {
		t.Errorf("answered %d, %v; %v are waiting", answered, err, q.of)
	}
}

// lines receives the lines of the log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// If the bus does not grant the name, the log says so, and nothing else happens.
func TestForbidden(t *testing.T) {
	log := make(lines, 16)
	b := busbed.Start(t, busbed.Usual)
	s := New(Options{Bus: b.Path, Manager: mam.New(mam.Options{}), Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case text := <-log:
		if !strings.Contains(text, "level=INFO") || !strings.Contains(text, "does not let this user have the name") {
			t.Error(text)
		}
	case <-time.After(patience):
		t.Error("nothing is said")
	}
	cancel()
	if err := <-done; err != nil || len(log) > 0 {
		t.Errorf("%v, and %d more lines", err, len(log))
	}
}

// If an interface's name is not UTF-8, it is shown nevertheless, and does not end the
// session.
func TestNamesThatAreNoText(t *testing.T) {
	s := serve(t, busbed.Anybody)
	v := view(policy.Free, policy.Up)
	v.Prefixes[0].Interface = "w\xffx\x00"
	v.Prefixes[0].ID.Interface = v.Prefixes[0].Interface
	s.publish(v)
	var all map[string]dbus.Variant
	c := s.bus.Connect(t)
	if err := s.object(t, c).Call("org.freedesktop.DBus.Properties.GetAll", 0, Interface).Store(&all); err != nil {
		t.Fatal(err)
	}
	list, _ := all["Networks"].Value().([]map[string]dbus.Variant)
	if len(list) != 2 || list[0]["Interface"].Value() != "w\ufffdx\ufffd" {
		t.Errorf("networks: %v", all["Networks"])
	}
}
