package hostfacts

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

// Bounds of what is accepted from a service. Each is far more than a host has.
const (
	maxText    = 255 // bytes of a text that is kept
	maxObjects = 512 // devices, modems, bearers
	maxServers = 16  // name servers of an interface; nobody asks more
	maxDomains = 64  // of an interface
	maxDNS     = 256 // interfaces that have name servers
)

// props are the properties of an object. Each property is read by its exact type;
// another type counts as absent. The library's Store is not used, because it converts
// between types silently.
type props map[string]dbus.Variant

// of reads a property. It returns the zero value and false if the property is absent or
// has another type.
func of[T any](p props, name string) (T, bool) {
	v, ok := p[name].Value().(T)
	return v, ok
}

func (p props) u32(name string) uint32 {
	v, _ := of[uint32](p, name)
	return v
}

func (p props) boolean(name string) bool {
	v, _ := of[bool](p, name)
	return v
}

// text reads a text that may be shown to people.
func (p props) text(name string) string {
	v, _ := of[string](p, name)
	return printable(v)
}

// name reads the name of an interface. It returns "" if the text cannot be one
// (netdevice(7)).
func (p props) name(name string) string {
	v, _ := of[string](p, name)
	return interfaceName(v)
}

func interfaceName(v string) string {
	const ifNameSize = 16 // with a final NUL
	if len(v) >= ifNameSize || v == "." || v == ".." || strings.ContainsFunc(v, func(r rune) bool { return r == '/' || r == 0 || unicode.IsSpace(r) }) {
		return ""
	}
	return v
}

// path reads the path of another object, "" if there is none. All these services write
// "/" for none.
func (p props) path(name string) dbus.ObjectPath {
	v, _ := of[dbus.ObjectPath](p, name)
	if v == "/" || len(v) > maxText || !v.IsValid() {
		return ""
	}
	return v
}

// paths reads a list of objects, each once, and maxObjects at most.
func (p props) paths(name string) []dbus.ObjectPath {
	v, _ := of[[]dbus.ObjectPath](p, name)
	return somePaths(v)
}

func somePaths(v []dbus.ObjectPath) []dbus.ObjectPath {
	var list []dbus.ObjectPath
	seen := map[dbus.ObjectPath]bool{}
	for _, o := range v {
		if len(list) == maxObjects {
			break
		}
		if o != "/" && len(o) <= maxText && o.IsValid() && !seen[o] {
			seen[o] = true
			list = append(list, o)
		}
	}
	return list
}

// printable returns v, shortened, and without characters that a terminal might take for
// a command.
func printable(v string) string {
	if len(v) > maxText {
		v = strings.ToValidUTF8(v[:maxText], "")
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, v)
}

// percent limits v to 0 to 100.
func percent(v uint32) int { return int(min(v, 100)) }
