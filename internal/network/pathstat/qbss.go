package pathstat

import (
	"encoding/binary"

	"github.com/socket-intents/mamma/policy"
)

// qbss is the BSS Load element (IEEE 802.11-2020, 9.4.2.27).
type qbss struct {
	stations    uint16
	utilization uint8 // of 255
	capacity    uint16
}

// elementBSSLoad is the element's number.
const elementBSSLoad = 11

// findQBSS finds the first BSS Load element of a frame. It stops at an element that
// does not fit into the frame.
func findQBSS(elements []byte) (qbss, bool) {
	for len(elements) >= 2 {
		id, size := elements[0], int(elements[1])
		elements = elements[2:]
		if size > len(elements) {
			break
		}
		if id == elementBSSLoad {
			return parseQBSS(elements[:size])
		}
		elements = elements[size:]
	}
	return qbss{}, false
}

// parseQBSS decodes the element's data (doc/original/measurement.md 7.3).
func parseQBSS(b []byte) (qbss, bool) {
	if len(b) < 5 {
		return qbss{}, false
	}
	return qbss{
		stations:    binary.LittleEndian.Uint16(b),
		utilization: b[2],
		capacity:    binary.LittleEndian.Uint16(b[3:]),
	}, true
}

func (q qbss) fill(s *policy.WifiStats) {
	s.BSSLoad = true
	s.Stations = q.stations
	s.ChannelUtilization = float64(q.utilization) / 2.55
	s.AvailableAdmissionCapacity = q.capacity
}
