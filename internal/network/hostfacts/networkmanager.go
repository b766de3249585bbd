package hostfacts

import (
	"context"
	"net"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The interfaces of NetworkManager (networkmanager.dev/docs/api, version 1.2 or later).
const (
	nmName      = "org.freedesktop.NetworkManager"
	nmPath      = "/org/freedesktop/NetworkManager"
	nmDevice    = nmName + ".Device"
	nmWireless  = nmDevice + ".Wireless"
	nmActive    = nmName + ".Connection.Active"
	nmAccess    = nmName + ".AccessPoint"
	nmDHCP4     = nmName + ".DHCP4Config"
	nmTypeWifi  = 2   // NM_DEVICE_TYPE_WIFI
	nmTypeTun   = 16  // NM_DEVICE_TYPE_TUN
	nmTypeWG    = 29  // NM_DEVICE_TYPE_WIREGUARD
	nmPrepare   = 40  // NM_DEVICE_STATE_PREPARE: the first step of an activation
	nmActivated = 100 // NM_DEVICE_STATE_ACTIVATED
	nmActiveUp  = 2   // NM_ACTIVE_CONNECTION_STATE_ACTIVATED
)

// getAll reads all properties of an interface of an object of the service.
type getAll func(ctx context.Context, path dbus.ObjectPath, iface string) (props, error)

// nmFacts is what NetworkManager says.
type nmFacts struct {
	version string
	links   map[string]Link
	// data maps an interface to the one that carries its packets. For example, a
	// modem's ttyUSB2 is controlled, but ppp0 carries the packets.
	data map[string]string
	// paths are the objects whose changes matter.
	paths map[dbus.ObjectPath]bool
	// hardware returns the link-layer address of an interface in this network
	// namespace; "" if it has none.
	hardware func(name string) string
}

// readNM asks NetworkManager. before is its previous answer. While a device is being
// activated, NetworkManager does not know some facts about it, which are then taken
// from before. hardware returns the link-layer address of an interface in this
// process's network namespace, "" if it has none.
func readNM(ctx context.Context, get getAll, hardware func(string) string, before nmFacts) (nmFacts, error) {
	manager, err := get(ctx, nmPath, nmName)
	if err != nil {
		return nmFacts{}, err
	}
	out := nmFacts{
		version: manager.text("Version"), links: map[string]Link{}, data: map[string]string{},
		paths: map[dbus.ObjectPath]bool{nmPath: true}, hardware: hardware,
	}
	// Without a check, NetworkManager calls every device with a default route "full".
	checked := manager.boolean("ConnectivityCheckEnabled") && manager.boolean("ConnectivityCheckAvailable")
	vpn := false
	for _, path := range manager.paths("ActiveConnections") {
		active, err := get(ctx, path, nmActive)
		switch {
		case hung(err):
			return nmFacts{}, err
		case err != nil:
			continue // it ended while we asked
		}
		if active.boolean("Vpn") {
			out.paths[path] = true
			vpn = vpn || active.u32("State") == nmActiveUp
		}
	}
	for _, path := range manager.paths("Devices") {
		device, err := get(ctx, path, nmDevice)
		switch {
		case hung(err):
			return nmFacts{}, err
		case err != nil:
			continue
		}
		out.paths[path] = true
		if err := out.device(ctx, get, path, device, checked, vpn, before); err != nil {
			return nmFacts{}, err
		}
	}
	return out, nil
}

// device takes over what is said about a device. An error means that the service is hung.
func (n *nmFacts) device(ctx context.Context, get getAll, path dbus.ObjectPath, device props, checked, vpn bool, before nmFacts) error {
	control, data := device.name("Interface"), device.name("IpInterface")
	if data == "" {
		data = control
	}
	state := device.u32("State")
	if data == "" || state < nmPrepare || state > nmActivated {
		return nil // not in use, or not managed by NetworkManager
	}
	// In a container the bus may be the host's. Its interfaces then have our names, but
	// are not ours.
	if theirs, ours := device.text("HwAddress"), n.hardware(data); theirs != "" && ours != "" && !strings.EqualFold(theirs, ours) {
		return nil
	}
	if control != data && control != "" {
		n.data[control] = data
	}
	l := Link{Metered: metered(device.u32("Metered"))}
	if l.Metered == MeteredUnknown && state < nmActivated {
		l.Metered = before.links[data].Metered
	}
	if checked && state == nmActivated {
		l.Connectivity, l.Connectivity6 = connectivity(device.u32("Ip4Connectivity")), connectivity(device.u32("Ip6Connectivity"))
	}
	if at := device.path("Dhcp4Config"); at != "" {
		lease, err := get(ctx, at, nmDHCP4)
		if hung(err) {
			return err
		}
		n.paths[at] = true
		if l.Portal = leasePortal(lease); l.Portal != "" {
			l.PortalSource = NetworkManager
		}
	}
	switch device.u32("DeviceType") {
	case nmTypeWG:
		l.VPN = true
	case nmTypeTun:
		l.VPN = vpn
	case nmTypeWifi:
		w, at, err := readWifi(ctx, get, path)
		if err != nil {
			return err
		}
		n.paths[at] = true
		l.Wifi = w
	}
	n.links[data] = l
	return nil
}

// readWifi reads the access point in use. It returns nil if there is none, or if it
// vanishes meanwhile. An error means that the service is hung.
func readWifi(ctx context.Context, get getAll, device dbus.ObjectPath) (*Wifi, dbus.ObjectPath, error) {
	wireless, err := get(ctx, device, nmWireless)
	switch {
	case hung(err):
		return nil, "", err
	case err != nil:
		return nil, "", nil
	}
	at := wireless.path("ActiveAccessPoint")
	if at == "" {
		return nil, "", nil
	}
	point, err := get(ctx, at, nmAccess)
	switch {
	case hung(err):
		return nil, at, err
	case err != nil:
		return nil, at, nil
	}
	strength, _ := of[byte](point, "Strength")
	ssid, _ := of[[]byte](point, "Ssid")
	const maxSSID = 32 // IEEE 802.11
	return &Wifi{
		SSID: printable(string(ssid[:min(len(ssid), maxSSID)])), BSSID: point.text("HwAddress"),
		Signal: percent(uint32(strength)), BitRate: uint64(wireless.u32("Bitrate")) * 1000,
	}, at, nil
}

// leasePortal reads the captive portal of a DHCP lease. NetworkManager names its options as
// dhclient does: number 114 (RFC 8910), whose former meaning was "default-url", and 160
// (RFC 7710). Its own client asks for neither; it has them if it runs dhclient, and that
// is configured to ask.
func leasePortal(lease props) string {
	options, _ := of[map[string]dbus.Variant](lease, "Options")
	for _, name := range []string{"default_url", "v4_captive_portal"} {
		text, _ := of[string](options, name)
		if text = portal(text); text != "" {
			return text
		}
	}
	return ""
}

// hardwareAddr returns the link-layer address of an interface, "" if it has none or
// does not exist.
func hardwareAddr(name string) string {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return ""
	}
	return i.HardwareAddr.String()
}

// metered converts a value of NMMetered. Other values count as unknown.
func metered(v uint32) Metered {
	if v > uint32(MeteredGuessNo) {
		return MeteredUnknown
	}
	return Metered(v)
}

// connectivity converts a value of NMConnectivityState.
func connectivity(v uint32) Connectivity {
	if v > uint32(ConnectivityFull) {
		return ConnectivityUnknown
	}
	return Connectivity(v)
}

// nmChanges are the properties of NetworkManager's interfaces whose changes matter.
var nmChanges = map[string][]string{
	nmName:     {"Devices", "ActiveConnections", "ConnectivityCheckEnabled", "ConnectivityCheckAvailable", "Version"},
	nmDevice:   {"Metered", "State", "Ip4Connectivity", "Ip6Connectivity", "Interface", "IpInterface", "Managed", "HwAddress", "Dhcp4Config"},
	nmWireless: {"ActiveAccessPoint", "Bitrate"},
	nmActive:   {"State", "Vpn"},
	nmDHCP4:    {"Options"},
	nmAccess:   {"Strength", "Ssid", "HwAddress"},
}
