package hostfacts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// objects is a scripted service: properties by path and interface.
type objects map[string]map[string]any

func (o objects) get(_ context.Context, path dbus.ObjectPath, iface string) (props, error) {
	values, ok := o[string(path)+" "+iface]
	if !ok {
		return nil, errors.New("no such object")
	}
	p := props{}
	for name, v := range values {
		p[name] = dbus.MakeVariant(v)
	}
	return p, nil
}

const (
	dev1 = nmPath + "/Devices/1"
	dev2 = nmPath + "/Devices/2"
)

// laptop is a NetworkManager with Wi-Fi and a modem.
func laptop() objects {
	return objects{
		nmPath + " " + nmName: {
			"Version": "1.42.4", "Devices": []dbus.ObjectPath{dev1, dev2, nmPath + "/Devices/gone", dev1, "/"},
			"ActiveConnections": []dbus.ObjectPath{}, "ConnectivityCheckAvailable": true, "ConnectivityCheckEnabled": true,
		},
		dev1 + " " + nmDevice: {
			"Interface": "wlan0", "IpInterface": "wlan0", "DeviceType": uint32(2), "State": uint32(100), "Metered": uint32(4),
			"Ip4Connectivity": uint32(2), "Ip6Connectivity": uint32(4), "HwAddress": "02:00:00:00:00:01",
		},
		dev1 + " " + nmWireless:               {"ActiveAccessPoint": dbus.ObjectPath(nmPath + "/AccessPoint/7"), "Bitrate": uint32(54000)},
		nmPath + "/AccessPoint/7 " + nmAccess: {"Ssid": []byte("Caf\xe9\x1b[2J"), "HwAddress": "02:00:00:00:00:99", "Strength": byte(61)},
		dev2 + " " + nmDevice: {
			"Interface": "ttyUSB2", "IpInterface": "ppp0", "DeviceType": uint32(8), "State": uint32(100), "Metered": uint32(1),
			"Ip4Connectivity": uint32(3), "Ip6Connectivity": uint32(1),
		},
	}
}

func noHardware(string) string { return "" }

func readLaptop(t *testing.T, change func(objects)) nmFacts {
	t.Helper()
	o := laptop()
	change(o)
	f, err := readNM(t.Context(), o.get, noHardware, nmFacts{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// with returns v after a change.
func with[T any](v T, change func(*T)) T { change(&v); return v }

func TestReadNM(t *testing.T) {
	wlan := Link{
		Metered: MeteredGuessNo, Connectivity: ConnectivityPortal, Connectivity6: ConnectivityFull,
		Wifi: &Wifi{SSID: "Caf??[2J", BSSID: "02:00:00:00:00:99", Signal: 61, BitRate: 54_000_000},
	}
	ppp := Link{Metered: MeteredYes, Connectivity: ConnectivityLimited, Connectivity6: ConnectivityNone}
	for _, tt := range []struct {
		name   string
		change func(objects)
		want   map[string]Link
	}{
		{"as it is", func(objects) {}, map[string]Link{"wlan0": wlan, "ppp0": ppp}},
		{"without a check, connectivity is not known", func(o objects) { o[nmPath+" "+nmName]["ConnectivityCheckEnabled"] = false }, map[string]Link{
			"wlan0": {Metered: MeteredGuessNo, Wifi: wlan.Wifi}, "ppp0": {Metered: MeteredYes},
		}},
		{"not activated", func(o objects) { o[dev1+" "+nmDevice]["State"] = uint32(30) }, map[string]Link{"ppp0": ppp}},
		{"without an access point", func(o objects) { o[dev1+" "+nmWireless]["ActiveAccessPoint"] = dbus.ObjectPath("/") }, map[string]Link{
			"wlan0": {Metered: MeteredGuessNo, Connectivity: ConnectivityPortal, Connectivity6: ConnectivityFull}, "ppp0": ppp,
		}},
		{"other types than the interface says", func(o objects) {
			o[dev1+" "+nmDevice]["Metered"] = int32(1)
			o[dev1+" "+nmDevice]["Ip4Connectivity"] = "2"
			o[dev1+" "+nmDevice]["Ip6Connectivity"] = uint64(2)
			o[dev1+" "+nmDevice]["DeviceType"] = byte(2)
		}, map[string]Link{"wlan0": {}, "ppp0": ppp}},
		{"values that nobody knows", func(o objects) {
			o[dev1+" "+nmDevice]["Metered"] = uint32(5)
			o[dev1+" "+nmDevice]["Ip4Connectivity"] = uint32(1 << 31)
			o[dev1+" "+nmDevice]["Ip6Connectivity"] = uint32(5)
			o[dev1+" "+nmDevice]["State"] = uint32(101)
		}, map[string]Link{"ppp0": ppp}},
		{"no name of an interface", func(o objects) {
			o[dev1+" "+nmDevice]["IpInterface"] = "../../etc/passwd"
			o[dev1+" "+nmDevice]["Interface"] = "a b"
		}, map[string]Link{"ppp0": ppp}},
		{"of another type altogether", func(o objects) { o[nmPath+" "+nmName]["Devices"] = []string{dev1} }, map[string]Link{}},
		{"a lease with a captive portal", func(o objects) {
			o[dev1+" "+nmDevice]["Dhcp4Config"] = dbus.ObjectPath(nmPath + "/DHCP4Config/1")
			o[nmPath+"/DHCP4Config/1 "+nmDHCP4] = map[string]any{"Options": map[string]dbus.Variant{
				"default_url": dbus.MakeVariant("https://portal.example/api"), "v4_captive_portal": dbus.MakeVariant("https://old.example/"),
			}}
			o[dev2+" "+nmDevice]["Dhcp4Config"] = dbus.ObjectPath(nmPath + "/DHCP4Config/2")
			o[nmPath+"/DHCP4Config/2 "+nmDHCP4] = map[string]any{"Options": map[string]dbus.Variant{
				"default_url": dbus.MakeVariant("urn:ietf:params:capport:unrestricted"), "v4_captive_portal": dbus.MakeVariant([]byte("https://old.example/")),
			}}
		}, map[string]Link{"wlan0": with(wlan, func(l *Link) { l.Portal, l.PortalSource = "https://portal.example/api", NetworkManager }), "ppp0": ppp}},
		{"a lease that is gone", func(o objects) { o[dev1+" "+nmDevice]["Dhcp4Config"] = dbus.ObjectPath(nmPath + "/DHCP4Config/1") }, map[string]Link{"wlan0": wlan, "ppp0": ppp}},
		{"a tunnel while a VPN is there", func(o objects) {
			o[nmPath+" "+nmName]["ActiveConnections"] = []dbus.ObjectPath{"/a"}
			o["/a "+nmActive] = map[string]any{"Vpn": true, "State": uint32(2)}
			o[dev2+" "+nmDevice] = map[string]any{"IpInterface": "tun0", "DeviceType": uint32(16), "State": uint32(100)}
		}, map[string]Link{"wlan0": wlan, "tun0": {VPN: true}}},
		{"a tunnel without one", func(o objects) {
			o[dev2+" "+nmDevice] = map[string]any{"IpInterface": "tun0", "DeviceType": uint32(16), "State": uint32(100)}
		}, map[string]Link{"wlan0": wlan, "tun0": {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readLaptop(t, tt.change).links); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// While a device is being activated, facts that are not known yet keep their former values.
func TestMeteredInPassing(t *testing.T) {
	o := laptop()
	before := readLaptop(t, func(objects) {})
	wwan := o[dev2+" "+nmDevice]
	wwan["Metered"], wwan["State"] = uint32(0), uint32(70)
	f, err := readNM(t.Context(), o.get, noHardware, before)
	if err != nil || f.links["ppp0"].Metered != MeteredYes {
		t.Errorf("%v while it is activated, %v", f.links["ppp0"].Metered, err)
	}
	wwan["State"] = uint32(100)
	if f, err = readNM(t.Context(), o.get, noHardware, f); err != nil || f.links["ppp0"].Metered != MeteredUnknown {
		t.Errorf("%v afterwards, %v", f.links["ppp0"].Metered, err)
	}
}

// An interface in another network namespace is another one, even if it has the same name.
func TestHardwareAddress(t *testing.T) {
	for ours, want := range map[string]bool{"": true, "02:00:00:00:00:01": true, "02:00:00:00:00:02": false} {
		f, err := readNM(t.Context(), laptop().get, func(string) string { return ours }, nmFacts{})
		if _, there := f.links["wlan0"]; err != nil || there != want {
			t.Errorf("with %q: %v, %v", ours, there, err)
		}
	}
}

// The number of devices that are taken in is bounded, above what any host has.
func TestManyDevices(t *testing.T) {
	f := readLaptop(t, func(o objects) {
		var all []dbus.ObjectPath
		for i := range 4 * maxObjects {
			path := dbus.ObjectPath(fmt.Sprintf("%s/Devices/%d", nmPath, i+10))
			all = append(all, path, path)
			o[string(path)+" "+nmDevice] = map[string]any{"IpInterface": fmt.Sprintf("veth%d", i), "State": uint32(100)}
		}
		o[nmPath+" "+nmName]["Devices"] = all
	})
	if len(f.links) != maxObjects {
		t.Errorf("%d interfaces", len(f.links))
	}
}

func TestReadingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fail := func(context.Context, dbus.ObjectPath, string) (props, error) { return nil, ctx.Err() }
	if _, err := readNM(ctx, fail, noHardware, nmFacts{}); err == nil {
		t.Error("NetworkManager was read without an answer")
	}
	if _, err := readResolved(ctx, fail); err == nil {
		t.Error("systemd-resolved was read without an answer")
	}
	if _, err := readMM(ctx, func(context.Context, dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error) {
		return nil, ctx.Err()
	}, fail); err == nil {
		t.Error("ModemManager was read without an answer")
	}
}

func variants(values map[string]any) props {
	p, _ := objects{"/ x": values}.get(context.Background(), "/", "x")
	return p
}

func TestReadMM(t *testing.T) {
	modem := func() map[string]any {
		return map[string]any{
			"State": int32(11), "AccessTechnologies": uint32(1<<14 | 1<<5), "SignalQuality": []any{uint32(73), true},
			"Ports": [][]any{{"cdc-wdm0", uint32(6)}, {"wwan0", uint32(2)}, {"../x", uint32(2)}}, "Bearers": []dbus.ObjectPath{mmPath + "/Bearer/0", mmPath + "/Bearer/1"},
		}
	}
	threeGPP := func() map[string]any {
		return map[string]any{"RegistrationState": uint32(5), "OperatorName": "Example", "OperatorCode": "00101"}
	}
	bearers := objects{
		mmPath + "/Bearer/0 " + mmBearer: {"Interface": "wwan0.1", "Connected": true},
		mmPath + "/Bearer/1 " + mmBearer: {"Interface": "wwan9", "Connected": false},
	}
	roaming := Modem{Technology: "LTE", Operator: "Example", Signal: 73, Roaming: true}
	for _, tt := range []struct {
		name   string
		change func(modem, threeGPP map[string]any)
		want   map[string]Modem
	}{
		{"abroad", func(_, _ map[string]any) {}, map[string]Modem{"wwan0": roaming, "wwan0.1": roaming}},
		{"at home", func(_, g map[string]any) { g["RegistrationState"] = uint32(1) }, map[string]Modem{
			"wwan0": with(roaming, func(m *Modem) { m.Roaming = false }), "wwan0.1": with(roaming, func(m *Modem) { m.Roaming = false }),
		}},
		{"not registered", func(m, _ map[string]any) { m["State"] = int32(6) }, map[string]Modem{}},
		{"failed", func(m, _ map[string]any) { m["State"] = int32(-1) }, map[string]Modem{}},
		{"operator without a name", func(_, g map[string]any) { g["OperatorName"] = "" }, map[string]Modem{
			"wwan0": with(roaming, func(m *Modem) { m.Operator = "00101" }), "wwan0.1": with(roaming, func(m *Modem) { m.Operator = "00101" }),
		}},
		{"other types", func(m, g map[string]any) {
			m["AccessTechnologies"], m["SignalQuality"], m["Bearers"] = "LTE", []any{true, uint32(73)}, "x"
			g["RegistrationState"], g["OperatorName"], g["OperatorCode"] = int32(5), []byte("x"), uint32(1)
		}, map[string]Modem{"wwan0": {Signal: -1}}},
		{"more than all", func(m, _ map[string]any) { m["SignalQuality"] = []any{uint32(1 << 31), true} }, map[string]Modem{
			"wwan0": with(roaming, func(m *Modem) { m.Signal = 100 }), "wwan0.1": with(roaming, func(m *Modem) { m.Signal = 100 }),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, g := modem(), threeGPP()
			tt.change(m, g)
			managed := func(context.Context, dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error) {
				return map[dbus.ObjectPath]map[string]props{
					mmPath + "/Modem/0": {mmModem: decoded(t, m), mm3GPP: decoded(t, g)}, mmPath + "/SIM/0": {"org.example": nil},
				}, nil
			}
			f, err := readMM(t.Context(), managed, bearers.get)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, f.modems); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// decoded returns properties as the library decodes them: structures are lists of values of
// any type.
func decoded(t *testing.T, values map[string]any) props {
	t.Helper()
	p := props{}
	for name, v := range values {
		switch x := v.(type) {
		case []any:
			p[name] = dbus.MakeVariantWithSignature(x, structure(x))
		case [][]any:
			p[name] = dbus.MakeVariantWithSignature(x, dbus.ParseSignatureMust("a"+structure(x[0]).String()))
		default:
			p[name] = dbus.MakeVariant(v)
		}
	}
	return p
}

func structure(fields []any) dbus.Signature {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(dbus.SignatureOf(f).String())
	}
	return dbus.ParseSignatureMust("(" + b.String() + ")")
}

func TestReadResolved(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::53").As16()
	link := netip.MustParseAddr("fe80::53").As16()
	manager := map[string]any{
		"DNSEx": [][]any{
			{int32(23), int32(2), []byte{192, 0, 2, 53}, uint16(0), ""},
			{int32(23), int32(10), v6[:], uint16(853), "dns.example"},
			{int32(23), int32(10), link[:], uint16(0), ""},
			{int32(23), int32(2), []byte{192, 0, 2, 53}, uint16(53), "twice"},
			{int32(0), int32(2), []byte{192, 0, 2, 1}, uint16(0), "of no interface"},
			{int32(-1), int32(2), []byte{192, 0, 2, 1}, uint16(0), "of no interface"},
			{int32(4), int32(10), []byte{192, 0, 2, 1}, uint16(0), "the other family"},
			{int32(4), int32(2), []byte{192, 0, 2}, uint16(0), "too short"},
			{int32(5), int32(2), []byte{10, 9, 0, 53}, uint16(0), ""},
			{int32(7), int32(2), []byte{10, 7, 0, 53}, uint16(0), ""},
			{int32(6), int32(2), []byte{10, 6, 0, 53}, uint16(0), "whose interface goes"},
		},
		"Domains": [][]any{
			{int32(23), ".", true}, {int32(23), "Lan.", false}, {int32(23), "lan", true}, {int32(5), "corp.example", true},
			{int32(5), "a..b", true}, {int32(5), strings.Repeat("x", 64) + ".example", true}, {int32(5), "\x1b.example", true}, {int32(0), "global.example", true},
			{int32(7), ".", true},
		},
	}
	get := func(_ context.Context, path dbus.ObjectPath, iface string) (props, error) {
		switch string(path) + " " + iface {
		case resolvedPath + " " + resolvedManager:
			return decoded(t, manager), nil
		case resolvedPath + "/link/_323 " + resolvedLink:
			return variants(map[string]any{"DefaultRoute": true, "DNSOverTLS": "opportunistic"}), nil
		case resolvedPath + "/link/_35 " + resolvedLink:
			return variants(map[string]any{"DefaultRoute": false, "DNSOverTLS": "yes"}), nil
		case resolvedPath + "/link/_37 " + resolvedLink:
			return variants(map[string]any{"DefaultRoute": false, "DNSOverTLS": "no"}), nil
		}
		return nil, errors.New("no such object")
	}
	got, err := readResolved(t.Context(), get)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]DNS{
		23: {Source: Resolved, Servers: addrPorts("192.0.2.53:53", "[2001:db8::53]:853", "[fe80::53%23]:53"), Domains: []Domain{{Name: "lan"}}, Root: true, DefaultRoute: true},
		7:  {Source: Resolved, Servers: addrPorts("10.7.0.53:53"), Root: true, DefaultRoute: true},
		5:  {Source: Resolved, Servers: addrPorts("10.9.0.53:53"), Domains: []Domain{{Name: "corp.example", RouteOnly: true}}, TLS: true},
	}
	if diff := cmp.Diff(want, got, sameAddrPort); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Before DNSEx, version 246, there was DNS.
	manager["DNS"] = [][]any{{int32(23), int32(2), []byte{192, 0, 2, 7}}}
	delete(manager, "DNSEx")
	if got, err = readResolved(t.Context(), get); err != nil || !slices.Equal(got[23].Servers, addrPorts("192.0.2.7:53")) {
		t.Errorf("by DNS: %v, %v", got, err)
	}
}

func addrPorts(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}
