package pathstat

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

var ap1, ap2 = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}

// encode builds the attributes of an nl80211 message.
func encode(t *testing.T, build func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	build(ae)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func nested(build func(*netlink.AttributeEncoder)) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error { build(ae); return nil }
}

func wifiInterface(t *testing.T, index uint32, name string, kind uint32) genetlink.Message {
	return genetlink.Message{Data: encode(t, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.NL80211_ATTR_IFINDEX, index)
		ae.String(unix.NL80211_ATTR_IFNAME, name)
		ae.Uint32(unix.NL80211_ATTR_IFTYPE, kind)
	})}
}

func wifiStation(t *testing.T, bssid net.HardwareAddr, chains bool) genetlink.Message {
	return genetlink.Message{Data: encode(t, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NL80211_ATTR_MAC, bssid)
		ae.Nested(unix.NL80211_ATTR_STA_INFO, nested(func(ae *netlink.AttributeEncoder) {
			ae.Int8(unix.NL80211_STA_INFO_SIGNAL, -50)
			ae.Int8(unix.NL80211_STA_INFO_SIGNAL_AVG, -51)
			if chains {
				ae.Nested(unix.NL80211_STA_INFO_CHAIN_SIGNAL, nested(func(ae *netlink.AttributeEncoder) {
					ae.Int8(0, -60)
					ae.Int8(1, -70)
				}))
				ae.Nested(unix.NL80211_STA_INFO_CHAIN_SIGNAL_AVG, nested(func(ae *netlink.AttributeEncoder) {
					ae.Int8(0, -61)
				}))
			}
			ae.Nested(unix.NL80211_STA_INFO_TX_BITRATE, nested(func(ae *netlink.AttributeEncoder) {
				ae.Uint16(unix.NL80211_RATE_INFO_BITRATE, 9)
				ae.Uint32(unix.NL80211_RATE_INFO_BITRATE32, 8667)
			}))
			ae.Nested(unix.NL80211_STA_INFO_RX_BITRATE, nested(func(ae *netlink.AttributeEncoder) {
				ae.Uint16(unix.NL80211_RATE_INFO_BITRATE, 540)
			}))
		}))
	})}
}

func wifiBSS(t *testing.T, bssid net.HardwareAddr, probe, beacon []byte) genetlink.Message {
	return genetlink.Message{Data: encode(t, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.NL80211_ATTR_BSS, nested(func(ae *netlink.AttributeEncoder) {
			ae.Bytes(unix.NL80211_BSS_BSSID, bssid)
			ae.Bytes(unix.NL80211_BSS_INFORMATION_ELEMENTS, probe)
			if beacon != nil {
				ae.Bytes(unix.NL80211_BSS_BEACON_IES, beacon)
			}
		}))
	})}
}

// fakeWifi answers nl80211 dumps by command. With nil, the family is missing.
func fakeWifi(answers map[uint8][]genetlink.Message) func() (*genetlink.Conn, error) {
	family := genetlink.Family{ID: 30, Version: 1, Name: unix.NL80211_GENL_NAME}
	serve := func(req genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
		messages, ok := answers[req.Header.Command]
		if !ok {
			return nil, unix.EIO
		}
		if len(messages) == 0 {
			return nil, io.EOF // which genltest takes for a dump of nothing
		}
		return messages, nil
	}
	return func() (*genetlink.Conn, error) {
		return genltest.Dial(genltest.ServeFamily(family, serve)), nil
	}
}

func testReader(dial func() (*genetlink.Conn, error)) *wifiReader {
	r := newWifiReader(func() Instant { return at(0) })
	r.dial = dial
	r.limit = func(*genetlink.Conn) error { return nil }
	return r
}

var ssid = []byte{0, 4, 'h', 'o', 'm', 'e'}

func TestWifiReader(t *testing.T) {
	load := append(append([]byte(nil), ssid...), elementBSSLoad, 5, 3, 0, 128, 10, 1)
	older := append(append([]byte(nil), ssid...), elementBSSLoad, 5, 9, 9, 9, 9, 9)
	answers := map[uint8][]genetlink.Message{
		unix.NL80211_CMD_GET_INTERFACE: {
			wifiInterface(t, 3, "wlan0", unix.NL80211_IFTYPE_STATION),
			wifiInterface(t, 4, "mon0", unix.NL80211_IFTYPE_MONITOR),
		},
		unix.NL80211_CMD_GET_STATION: {wifiStation(t, ap1, true)},
		unix.NL80211_CMD_GET_SCAN:    {wifiBSS(t, ap2, older, nil), wifiBSS(t, ap1, older, load)},
	}
	r := testReader(fakeWifi(answers))
	t.Cleanup(func() { _ = r.Close() })

	want := policy.WifiStats{
		Time: at(0).Wall, Signal: -60, SignalAvg: -61, TxRate: 866.7e6 / 8, RxRate: 54e6 / 8,
		BSSLoad: true, Stations: 3, ChannelUtilization: 50.196078431372555, AvailableAdmissionCapacity: 266,
	}
	read := func(load bool) map[string]*policy.WifiStats {
		t.Helper()
		stats, err := r.Read(load)
		if err != nil {
			t.Fatal(err)
		}
		return stats
	}
	if diff := cmp.Diff(map[string]*policy.WifiStats{"wlan0": &want}, read(true)); diff != "" {
		t.Errorf("first reading (-want +got):\n%s", diff)
	}
	// The load stays known between two readings of it.
	if diff := cmp.Diff(map[string]*policy.WifiStats{"wlan0": &want}, read(false)); diff != "" {
		t.Errorf("second reading (-want +got):\n%s", diff)
	}
	// At another access point, the load is not known yet, and the driver knows no chains.
	answers[unix.NL80211_CMD_GET_STATION] = []genetlink.Message{wifiStation(t, ap2, false)}
	want = policy.WifiStats{Time: at(0).Wall, Signal: -50, SignalAvg: -51, TxRate: 866.7e6 / 8, RxRate: 54e6 / 8}
	if diff := cmp.Diff(map[string]*policy.WifiStats{"wlan0": &want}, read(false)); diff != "" {
		t.Errorf("after roaming (-want +got):\n%s", diff)
	}
	answers[unix.NL80211_CMD_GET_STATION] = nil
	if got := read(true); len(got) != 0 {
		t.Errorf("not associated: %v", got)
	}
	delete(answers, unix.NL80211_CMD_GET_STATION)
	if _, err := r.Read(true); !errors.Is(err, unix.EIO) {
		t.Errorf("error %v, want EIO", err)
	}
	if r.conn != nil {
		t.Error("connection kept after an error")
	}
}

func TestWifiReaderWithoutHardware(t *testing.T) {
	missing := func() (*genetlink.Conn, error) {
		return genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return nil, genltest.Error(int(unix.ENOENT))
		}), nil
	}
	none := map[uint8][]genetlink.Message{unix.NL80211_CMD_GET_INTERFACE: {}}
	for name, dial := range map[string]func() (*genetlink.Conn, error){"no family": missing, "no interface": fakeWifi(none)} {
		t.Run(name, func(t *testing.T) {
			if _, err := testReader(dial).Read(true); !errors.Is(err, errNoWifi) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("this machine", func(t *testing.T) {
		r := newWifiReader(Now)
		defer func() { _ = r.Close() }()
		if _, err := r.Read(true); err != nil && !errors.Is(err, errNoWifi) && !errors.Is(err, os.ErrPermission) {
			t.Errorf("error %v", err)
		}
	})
}

func TestQBSSVectors(t *testing.T) {
	for _, v := range loadVectors(t, "measure_qbss") {
		t.Run(v.ID, func(t *testing.T) {
			var in struct{ Payload []int }
			var want map[string]vectorNumber
			v.decode(t, &in, &want)
			var payload []byte
			for _, b := range in.Payload {
				payload = append(payload, byte(b))
			}
			q, ok := parseQBSS(payload)
			if !ok {
				t.Fatal("refused")
			}
			var s policy.WifiStats
			q.fill(&s)
			v.check(t, 0, "number_of_stations", float64(s.Stations), want["number_of_stations"])
			v.check(t, 0, "channel_utilization", s.ChannelUtilization, want["channel_utilization"])
			v.check(t, 0, "available_admission_capacity", float64(s.AvailableAdmissionCapacity), want["available_admission_capacity"])
		})
	}
}

func TestFindQBSSBounds(t *testing.T) {
	for _, test := range []struct {
		name     string
		elements []byte
		ok       bool
	}{
		{"none", ssid, false},
		{"empty", nil, false},
		{"after another", append(append([]byte(nil), ssid...), 11, 5, 1, 0, 2, 3, 0), true},
		{"longer than known", []byte{11, 6, 1, 0, 2, 3, 0, 9}, true},
		{"too short", []byte{11, 4, 1, 0, 2, 3}, false},
		{"cut", []byte{11, 5, 1, 0, 2, 3}, false},
		{"half a head", []byte{11}, false},
		{"another one cut", []byte{0, 200, 11, 5, 1, 0, 2, 3, 0}, false},
	} {
		if _, ok := findQBSS(test.elements); ok != test.ok {
			t.Errorf("%s: %v", test.name, ok)
		}
	}
}

func FuzzBeacon(f *testing.F) {
	f.Add(append(append([]byte(nil), ssid...), 11, 5, 3, 0, 128, 10, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, ok := findQBSS(b)
		if ok && len(b) < 7 {
			t.Errorf("an element out of %d bytes", len(b))
		}
		var s policy.WifiStats
		if q.fill(&s); s.ChannelUtilization < 0 || s.ChannelUtilization > 100 || math.IsNaN(s.ChannelUtilization) {
			t.Errorf("utilization %v", s.ChannelUtilization)
		}
		// The same bytes, as netlink attributes, must not make the decoders fail.
		_, _, _, _ = parseBSS(b)
		_, _ = parseStation(b, &s)
		_, _, _ = parseWifiLink(b)
	})
}
