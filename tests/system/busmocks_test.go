package system

import (
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/testing/busbed"
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
	props map[string]*busbed.Properties // by path
}

// serve puts objects on the bus under a name. Changes of properties are signalled.
func (d *desktop) serve(name string, o busbed.Objects) *busMock {
	d.t.Helper()
	conn := d.busConn()
	m := &busMock{d.t, conn, busbed.Export(d.t, conn, o)}
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
	m.props[path].Change(m.t, iface, name, v)
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
	busbed.Export(d.t, c, busbed.Objects{path + " " + name + ".Authority": {
		"BackendName": "test", "BackendVersion": "0", "BackendFeatures": uint32(0),
	}})
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
func nmObjects(devices ...map[string]any) busbed.Objects {
	o, paths := busbed.Objects{}, []dbus.ObjectPath{}
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
