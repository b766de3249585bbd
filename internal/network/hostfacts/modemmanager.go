package hostfacts

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// The interfaces of ModemManager (modemmanager.org/docs, version 1.6 or later).
const (
	mmName   = "org.freedesktop.ModemManager1"
	mmPath   = "/org/freedesktop/ModemManager1"
	mmModem  = mmName + ".Modem"
	mm3GPP   = mmModem + ".Modem3gpp"
	mmBearer = mmName + ".Bearer"

	mmPortNet         = 2 // MM_MODEM_PORT_TYPE_NET
	mmStateRegistered = 8 // MM_MODEM_STATE_REGISTERED; higher states are connected, or nearly so
)

// getManaged reads all objects of a service, with their interfaces.
type getManaged func(ctx context.Context, path dbus.ObjectPath) (map[dbus.ObjectPath]map[string]props, error)

// mmFacts is what ModemManager says.
type mmFacts struct {
	modems map[string]Modem // by interface
	paths  map[dbus.ObjectPath]bool
}

// readMM asks ModemManager.
func readMM(ctx context.Context, managed getManaged, get getAll) (mmFacts, error) {
	objects, err := managed(ctx, mmPath)
	if err != nil {
		return mmFacts{}, err
	}
	out := mmFacts{modems: map[string]Modem{}, paths: map[dbus.ObjectPath]bool{mmPath: true}}
	for path, interfaces := range objects {
		modem, ok := interfaces[mmModem]
		if !ok || len(out.paths) >= maxObjects {
			continue
		}
		out.paths[path] = true
		if state, _ := of[int32](modem, "State"); state < mmStateRegistered {
			continue
		}
		m := describeModem(modem, interfaces[mm3GPP])
		names := netPorts(modem)
		for _, path := range modem.paths("Bearers") {
			if len(out.paths) >= maxObjects {
				break
			}
			bearer, err := get(ctx, path, mmBearer)
			switch {
			case hung(err):
				return mmFacts{}, err
			case err != nil:
				continue
			}
			out.paths[path] = true
			if name := bearer.name("Interface"); name != "" && bearer.boolean("Connected") {
				names = append(names, name)
			}
		}
		for _, name := range names {
			out.modems[name] = m
		}
	}
	return out, nil
}

func describeModem(modem, threeGPP props) Modem {
	m := Modem{Technology: technology(modem.u32("AccessTechnologies")), Operator: threeGPP.text("OperatorName"), Signal: -1}
	if m.Operator == "" {
		m.Operator = threeGPP.text("OperatorCode")
	}
	// The library decodes a structure into a list of values of any type.
	if quality, ok := of[[]any](modem, "SignalQuality"); ok && len(quality) == 2 {
		if v, ok := quality[0].(uint32); ok {
			m.Signal = percent(v)
		}
	}
	switch threeGPP.u32("RegistrationState") {
	case 5, 7, 10: // MM_MODEM_3GPP_REGISTRATION_STATE_ROAMING, _SMS_ONLY, _CSFB_NOT_PREFERRED
		m.Roaming = true
	}
	return m
}

// netPorts returns the network interfaces among the modem's ports.
func netPorts(modem props) (names []string) {
	ports, _ := of[[][]any](modem, "Ports")
	for _, port := range ports {
		if len(port) != 2 || len(names) == maxObjects {
			continue
		}
		text, _ := port[0].(string)
		if kind, _ := port[1].(uint32); kind == mmPortNet && interfaceName(text) != "" {
			names = append(names, text)
		}
	}
	return names
}

// technologies are the bits of MMModemAccessTechnology, the newest technology first.
var technologies = []struct {
	bit  uint32
	name string
}{
	{1 << 15, "5G"}, {1 << 14, "LTE"}, {1 << 16, "LTE-M"}, {1 << 17, "NB-IoT"},
	{1 << 9, "HSPA+"}, {1 << 8, "HSPA"}, {1 << 7, "HSUPA"}, {1 << 6, "HSDPA"}, {1 << 5, "UMTS"},
	{1 << 13, "EV-DO B"}, {1 << 12, "EV-DO A"}, {1 << 11, "EV-DO"}, {1 << 10, "1xRTT"},
	{1 << 4, "EDGE"}, {1 << 3, "GPRS"}, {1<<1 | 1<<2, "GSM"},
}

func technology(bits uint32) string {
	for _, t := range technologies {
		if bits&t.bit != 0 {
			return t.name
		}
	}
	return ""
}

// mmChanges are the properties of ModemManager's interfaces whose changes matter.
var mmChanges = map[string][]string{
	mmModem:  {"State", "AccessTechnologies", "SignalQuality", "Ports", "Bearers"},
	mm3GPP:   {"RegistrationState", "OperatorName", "OperatorCode"},
	mmBearer: {"Connected", "Interface"},
}
