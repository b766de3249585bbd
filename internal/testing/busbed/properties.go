package busbed

import (
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

const propertiesName = "org.freedesktop.DBus.Properties"

// Objects are the properties of a scripted service: by path and interface, separated by
// a blank, and then by name.
type Objects map[string]map[string]any

// Properties serves the properties of one object (org.freedesktop.DBus.Properties). It is
// safe for concurrent use. The library has such a type, too, whose Set changes the value
// that an earlier answer still refers to; here a value is replaced and never changed.
type Properties struct {
	conn *dbus.Conn
	path dbus.ObjectPath

	mu     sync.Mutex
	values map[string]map[string]dbus.Variant // by interface and name
}

// Export serves objects on a connection, and returns them by path.
func Export(t *testing.T, conn *dbus.Conn, o Objects) map[string]*Properties {
	t.Helper()
	served := map[string]*Properties{}
	for key, values := range o {
		path, iface, _ := strings.Cut(key, " ")
		p := served[path]
		if p == nil {
			p = &Properties{conn: conn, path: dbus.ObjectPath(path), values: map[string]map[string]dbus.Variant{}}
			served[path] = p
		}
		p.values[iface] = make(map[string]dbus.Variant, len(values))
		for name, v := range values {
			p.values[iface][name] = dbus.MakeVariant(v)
		}
	}
	for path, p := range served {
		if err := conn.Export(p, dbus.ObjectPath(path), propertiesName); err != nil {
			t.Fatal(err)
		}
	}
	return served
}

// GetAll is the method of that name of the bus.
func (p *Properties) GetAll(iface string) (map[string]dbus.Variant, *dbus.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	values, ok := p.values[iface]
	if !ok {
		return nil, &dbus.ErrMsgUnknownInterface
	}
	return maps.Clone(values), nil
}

// Get is the method of that name of the bus.
func (p *Properties) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.values[iface][name]
	if !ok {
		return dbus.Variant{}, &dbus.ErrMsgInvalidArg
	}
	return v, nil
}

// Change replaces a value and signals that. The test fails if there is no such property,
// or the connection is closed.
func (p *Properties) Change(t *testing.T, iface, name string, v any) {
	t.Helper()
	// The lock is held until the signal is sent, so that signals come in the order of changes.
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.values[iface][name]; !ok {
		t.Errorf("no property %s of %s at %s", name, iface, p.path)
		return
	}
	p.values[iface][name] = dbus.MakeVariant(v)
	err := p.conn.Emit(p.path, propertiesName+".PropertiesChanged", iface, map[string]dbus.Variant{name: dbus.MakeVariant(v)}, []string{})
	if err != nil {
		t.Errorf("%s of %s at %s: %v", name, iface, p.path, err)
	}
}
