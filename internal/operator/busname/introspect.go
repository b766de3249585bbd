package busname

import "strings"

const doctype = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

const description = doctype + `<node>
  <interface name="org.socketintents.Mamma1">
    <method name="Explain">
      <arg name="host" type="s" direction="in"/>
      <arg name="service" type="s" direction="in"/>
      <arg name="options" type="a{ss}" direction="in"/>
      <arg name="decision" type="a{sv}" direction="out"/>
    </method>
    <property name="Version" type="s" access="read">
      <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"/>
    </property>
    <property name="Networks" type="aa{sv}" access="read"/>
    <property name="Cost" type="s" access="read"/>
    <property name="AvoidMetered" type="b" access="read"/>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed" type="a{sv}"/>
      <arg name="invalidated" type="as"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
  </interface>
</node>
`

// describe returns the description of the object at a path. For a path above our
// object, the description has only the child on the way to that object. It is "" if
// there is no object.
func describe(path string) string {
	rest, ok := strings.CutPrefix(string(Path), strings.TrimSuffix(path, "/"))
	switch {
	case path == string(Path):
		return description
	case !ok || !strings.HasPrefix(rest, "/") || path != "/" && strings.HasSuffix(path, "/"):
		return ""
	}
	child, _, _ := strings.Cut(rest[1:], "/")
	return doctype + `<node>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml" type="s" direction="out"/>
    </method>
  </interface>
  <node name="` + child + `"/>
</node>
`
}
