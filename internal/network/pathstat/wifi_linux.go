package pathstat

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

// errNoWifi means that this machine has no wireless interface, or a kernel
// without nl80211.
var errNoWifi = errors.New("no wireless interface")

// wifiTimeout bounds a reading. It is long, because drivers may have to ask their
// hardware.
const wifiTimeout = time.Second

// wifiReader reads station information and BSS load by nl80211. Unlike the original, it
// neither scans nor opens a monitor interface for beacons. The kernel keeps the
// elements of the last beacon or probe response of each access point that it has heard.
// A wifiReader is not safe for concurrent use.
type wifiReader struct {
	clock  func() Instant
	dial   func() (*genetlink.Conn, error)
	limit  func(*genetlink.Conn) error // bounds the next reading; a fake connection has no deadlines
	conn   *genetlink.Conn             // nil: not connected
	family genetlink.Family
	loads  map[string]bssLoad
}

// bssLoad is the BSS Load element of the access point bssid.
type bssLoad struct {
	bssid net.HardwareAddr
	load  qbss
}

// wifiLink is a wireless interface in station mode.
type wifiLink struct {
	index int
	name  string
}

func newWifiReader(clock func() Instant) *wifiReader {
	return &wifiReader{
		clock: clock,
		dial:  func() (*genetlink.Conn, error) { return genetlink.Dial(nil) },
		limit: func(c *genetlink.Conn) error { return c.SetDeadline(time.Now().Add(wifiTimeout)) },
		loads: map[string]bssLoad{},
	}
}

// Close closes the connection; the next Read opens another one.
func (r *wifiReader) Close() error {
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close()
	r.conn = nil
	return err
}

// Read returns what is known about the interfaces that are associated with an access
// point. load tells it to read the access points' load, too; that stays known until the
// access point changes. Without wireless hardware the error is errNoWifi.
func (r *wifiReader) Read(load bool) (stats map[string]*policy.WifiStats, err error) {
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	if err := r.connect(); err != nil {
		return nil, err
	}
	if err := r.limit(r.conn); err != nil {
		return nil, fmt.Errorf("limit nl80211 wait: %w", err)
	}
	links, err := r.interfaces()
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, errNoWifi
	}
	stats = map[string]*policy.WifiStats{}
	for _, l := range links {
		s, bssid, err := r.station(l)
		if err != nil {
			return nil, err
		}
		if bssid == nil {
			delete(r.loads, l.name)
			continue
		}
		if load {
			if q, ok, err := r.bssLoad(l, bssid); err != nil {
				return nil, err
			} else if ok {
				r.loads[l.name] = bssLoad{bssid, q}
			}
		}
		if known, ok := r.loads[l.name]; ok {
			if bytes.Equal(known.bssid, bssid) {
				known.load.fill(s)
			} else {
				delete(r.loads, l.name)
			}
		}
		stats[l.name] = s
	}
	return stats, nil
}

func (r *wifiReader) connect() error {
	if r.conn != nil {
		return nil
	}
	conn, err := r.dial()
	if err != nil {
		return fmt.Errorf("open generic netlink: %w", err)
	}
	r.conn = conn
	r.family, err = conn.GetFamily(unix.NL80211_GENL_NAME)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errNoWifi
	case err != nil:
		return fmt.Errorf("find nl80211: %w", err)
	}
	return nil
}

// dump asks for all objects of a kind. Index 0 means all interfaces.
func (r *wifiReader) dump(command uint8, index int) ([]genetlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	if index > 0 {
		ae.Uint32(unix.NL80211_ATTR_IFINDEX, uint32(index))
	}
	data, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	request := genetlink.Message{
		Header: genetlink.Header{Command: command, Version: r.family.Version},
		Data:   data,
	}
	return r.conn.Execute(request, r.family.ID, netlink.Request|netlink.Dump)
}

func (r *wifiReader) interfaces() ([]wifiLink, error) {
	messages, err := r.dump(unix.NL80211_CMD_GET_INTERFACE, 0)
	if err != nil {
		return nil, fmt.Errorf("list wireless interfaces: %w", err)
	}
	var links []wifiLink
	for _, m := range messages {
		l, ok, err := parseWifiLink(m.Data)
		if err != nil {
			return nil, fmt.Errorf("list wireless interfaces: %w", err)
		}
		if ok {
			links = append(links, l)
		}
	}
	return links, nil
}

// station returns the figures of l's access point, and the access point's address,
// which is nil if l is not associated.
func (r *wifiReader) station(l wifiLink) (*policy.WifiStats, net.HardwareAddr, error) {
	messages, err := r.dump(unix.NL80211_CMD_GET_STATION, l.index)
	if err != nil {
		return nil, nil, fmt.Errorf("station of %s: %w", l.name, err)
	}
	for _, m := range messages {
		s := &policy.WifiStats{Time: r.clock().Wall}
		bssid, err := parseStation(m.Data, s)
		if err != nil {
			return nil, nil, fmt.Errorf("station of %s: %w", l.name, err)
		}
		if bssid != nil {
			return s, bssid, nil
		}
	}
	return nil, nil, nil
}

func (r *wifiReader) bssLoad(l wifiLink, bssid net.HardwareAddr) (qbss, bool, error) {
	messages, err := r.dump(unix.NL80211_CMD_GET_SCAN, l.index)
	if err != nil {
		return qbss{}, false, fmt.Errorf("access points of %s: %w", l.name, err)
	}
	for _, m := range messages {
		of, q, ok, err := parseBSS(m.Data)
		if err != nil {
			return qbss{}, false, fmt.Errorf("access points of %s: %w", l.name, err)
		}
		if ok && bytes.Equal(of, bssid) {
			return q, true, nil
		}
	}
	return qbss{}, false, nil
}

// parseWifiLink decodes an answer to GET_INTERFACE. ok tells whether it is a network
// interface in station mode.
func parseWifiLink(b []byte) (l wifiLink, ok bool, err error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return wifiLink{}, false, err
	}
	station := false
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_ATTR_IFINDEX:
			l.index = int(int32(ad.Uint32()))
		case unix.NL80211_ATTR_IFNAME:
			l.name = ad.String()
		case unix.NL80211_ATTR_IFTYPE:
			station = ad.Uint32() == unix.NL80211_IFTYPE_STATION
		}
	}
	return l, station && l.index > 0 && l.name != "", ad.Err()
}

// parseStation decodes an answer to GET_STATION (doc/original/measurement.md 7.2). The
// address is nil if there is none.
func parseStation(b []byte, s *policy.WifiStats) (net.HardwareAddr, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	var bssid net.HardwareAddr
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_ATTR_MAC:
			bssid = ad.Bytes()
		case unix.NL80211_ATTR_STA_INFO:
			ad.Nested(func(info *netlink.AttributeDecoder) error {
				parseStationInfo(info, s)
				return nil
			})
		}
	}
	return bssid, ad.Err()
}

func parseStationInfo(ad *netlink.AttributeDecoder, s *policy.WifiStats) {
	// The figure of the first antenna is preferred, as in the original, but not all
	// drivers have it.
	var chain, chainAvg int8
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_STA_INFO_SIGNAL:
			s.Signal = int8(ad.Uint8())
		case unix.NL80211_STA_INFO_SIGNAL_AVG:
			s.SignalAvg = int8(ad.Uint8())
		case unix.NL80211_STA_INFO_CHAIN_SIGNAL:
			ad.Nested(func(c *netlink.AttributeDecoder) error { chain = firstSignal(c); return nil })
		case unix.NL80211_STA_INFO_CHAIN_SIGNAL_AVG:
			ad.Nested(func(c *netlink.AttributeDecoder) error { chainAvg = firstSignal(c); return nil })
		case unix.NL80211_STA_INFO_TX_BITRATE:
			ad.Nested(func(r *netlink.AttributeDecoder) error { s.TxRate = bitrate(r); return nil })
		case unix.NL80211_STA_INFO_RX_BITRATE:
			ad.Nested(func(r *netlink.AttributeDecoder) error { s.RxRate = bitrate(r); return nil })
		}
	}
	if chain != 0 {
		s.Signal = chain
	}
	if chainAvg != 0 {
		s.SignalAvg = chainAvg
	}
}

func firstSignal(ad *netlink.AttributeDecoder) (dBm int8) {
	for first := true; ad.Next(); first = false {
		if first {
			dBm = int8(ad.Uint8())
		}
	}
	return dBm
}

// bitrate reads a rate. The kernel gives it in units of 100 kbit/s, in 16 bits and, on
// newer kernels, also in 32.
func bitrate(ad *netlink.AttributeDecoder) policy.BytesPerSecond {
	var narrow, wide uint32
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_RATE_INFO_BITRATE:
			narrow = uint32(ad.Uint16())
		case unix.NL80211_RATE_INFO_BITRATE32:
			wide = ad.Uint32()
		}
	}
	if wide == 0 {
		wide = narrow
	}
	return policy.BytesPerSecond(wide) * 100_000 / 8
}

// parseBSS decodes an answer to GET_SCAN: an access point, and its load if the answer
// has it.
func parseBSS(b []byte) (bssid net.HardwareAddr, q qbss, ok bool, err error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, qbss{}, false, err
	}
	var probe, beacon []byte
	for ad.Next() {
		if ad.Type() != unix.NL80211_ATTR_BSS {
			continue
		}
		ad.Nested(func(bss *netlink.AttributeDecoder) error {
			for bss.Next() {
				switch bss.Type() {
				case unix.NL80211_BSS_BSSID:
					bssid = bss.Bytes()
				case unix.NL80211_BSS_INFORMATION_ELEMENTS:
					probe = bss.Bytes()
				case unix.NL80211_BSS_BEACON_IES:
					beacon = bss.Bytes()
				}
			}
			return nil
		})
	}
	if err := ad.Err(); err != nil {
		return nil, qbss{}, false, err
	}
	// A beacon is usually newer, because probe responses come only while scanning.
	if q, ok = findQBSS(beacon); !ok {
		q, ok = findQBSS(probe)
	}
	return bssid, q, ok && bssid != nil, nil
}
