package system

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// busConn connects to the host's bus until the test ends.
func (d *desktop) busConn() *dbus.Conn {
	d.t.Helper()
	c, err := dbus.Connect("unix:path=" + d.bus)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// busMock is a scripted service.
type busMock struct {
	t     *testing.T
	conn  *dbus.Conn
	props map[string]*prop.Properties // by path
}

// busObjects are properties by path and interface, separated by a blank, and then by name.
type busObjects map[string]map[string]any

// serve puts objects on the bus under a name. Changes of properties are signalled.
func (d *desktop) serve(name string, o busObjects) *busMock {
	d.t.Helper()
	m := &busMock{d.t, d.busConn(), map[string]*prop.Properties{}}
	byPath := map[string]prop.Map{}
	for key, values := range o {
		path, iface, _ := strings.Cut(key, " ")
		if byPath[path] == nil {
			byPath[path] = prop.Map{}
		}
		byPath[path][iface] = map[string]*prop.Prop{}
		for n, v := range values {
			byPath[path][iface][n] = &prop.Prop{Value: v, Emit: prop.EmitTrue}
		}
	}
	for path, all := range byPath {
		p, err := prop.Export(m.conn, dbus.ObjectPath(path), all)
		if err != nil {
			d.t.Fatal(err)
		}
		m.props[path] = p
	}
	m.own(name)
	return m
}

// own takes a name on the bus.
func (m *busMock) own(name string) {
	m.t.Helper()
	if _, err := m.conn.RequestName(name, dbus.NameFlagReplaceExisting); err != nil {
		m.t.Fatal(err)
	}
}

func (m *busMock) set(path, iface, name string, v any) {
	m.t.Helper()
	m.props[path].SetMust(iface, name, v)
}

// authority answers services that ask polkit whether a caller may do something. The answer
// is always yes.
type authority struct{}

type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

type authorization struct {
	Allowed, Challenge bool
	Details            map[string]string
}

func (authority) CheckAuthorization(subject, string, map[string]string, uint32, string) (authorization, *dbus.Error) {
	return authorization{true, false, map[string]string{}}, nil
}

// permitAll serves polkit.
func (d *desktop) permitAll() {
	d.t.Helper()
	const name, path = "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority"
	c := d.busConn()
	if err := c.Export(authority{}, path, name+".Authority"); err != nil {
		d.t.Fatal(err)
	}
	if _, err := prop.Export(c, path, prop.Map{name + ".Authority": {
		"BackendName": {Value: "test"}, "BackendVersion": {Value: "0"}, "BackendFeatures": {Value: uint32(0)},
	}}); err != nil {
		d.t.Fatal(err)
	}
	if _, err := c.RequestName(name, 0); err != nil {
		d.t.Fatal(err)
	}
}

// The names of NetworkManager's interfaces, and the path of its first device.
const (
	nmName     = "org.freedesktop.NetworkManager"
	nmPath     = "/org/freedesktop/NetworkManager"
	nmDevice   = nmName + ".Device"
	nmWireless = nmDevice + ".Wireless"
	nmAccess   = nmName + ".AccessPoint"
	nmFirst    = nmPath + "/Devices/0"
)

// nmObjects makes a NetworkManager with active devices.
func nmObjects(devices ...map[string]any) busObjects {
	o, paths := busObjects{}, []dbus.ObjectPath{}
	for i, device := range devices {
		path := fmt.Sprintf("%s/Devices/%d", nmPath, i)
		paths = append(paths, dbus.ObjectPath(path))
		device["State"] = uint32(100)
		o[path+" "+nmDevice] = device
	}
	o[nmPath+" "+nmName] = map[string]any{
		"Version": "1.42.4", "Devices": paths, "ActiveConnections": []dbus.ObjectPath{},
		"ConnectivityCheckAvailable": false, "ConnectivityCheckEnabled": false,
	}
	return o
}
