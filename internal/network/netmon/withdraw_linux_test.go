package netmon

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// linkMessage makes what the kernel says about a link (struct ifinfomsg).
func linkMessage(family byte, index, flags uint32) []byte {
	b := make([]byte, 16)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

func TestLinkDown(t *testing.T) {
	t.Parallel()
	const up, running = unix.IFF_UP, unix.IFF_RUNNING
	for _, tt := range []struct {
		name string
		kind uint16
		body []byte
		want endedLink
		down bool
	}{
		{"works", unix.RTM_NEWLINK, linkMessage(unix.AF_UNSPEC, 2, up|running), endedLink{2, true}, false},
		{"without carrier", unix.RTM_NEWLINK, linkMessage(unix.AF_UNSPEC, 2, up), endedLink{2, true}, true},
		{"switched off", unix.RTM_NEWLINK, linkMessage(unix.AF_UNSPEC, 2, 0), endedLink{2, false}, true},
		{"deleted", unix.RTM_DELLINK, linkMessage(unix.AF_UNSPEC, 2, up|running), endedLink{2, false}, true},
		{"a port that leaves its bridge", unix.RTM_DELLINK, linkMessage(unix.AF_BRIDGE, 2, up), endedLink{}, false},
		{"an address", unix.RTM_NEWADDR, linkMessage(unix.AF_UNSPEC, 2, 0), endedLink{}, false},
		{"cut off", unix.RTM_DELLINK, linkMessage(unix.AF_UNSPEC, 2, 0)[:15], endedLink{}, false},
		{"nothing", unix.RTM_NEWLINK, nil, endedLink{}, false},
	} {
		if got, down := linkDown(tt.kind, tt.body); got != tt.want || down != tt.down {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, down, tt.want, tt.down)
		}
	}
}

// A link that ends shows in a snapshot before anything is read, and changes nothing else.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	wlan := address(2, "10.1.0.2/24")
	first := NewSnapshot(State{Links: links(), Addrs: []Addr{wlan, address(6, "10.8.0.2/24")}})
	// running tells which links with an address carry packets.
	running := func(s *Snapshot) map[string]bool {
		out := map[string]bool{}
		for _, p := range s.Prefixes() {
			out[p.Interface] = p.Running
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		ended []endedLink
		told  bool
		want  map[string]bool
	}{
		{"without carrier", []endedLink{{2, true}}, true, map[string]bool{"wlan0": false, "wg0": true}},
		{"switched off", []endedLink{{2, false}}, true, map[string]bool{"wg0": true}},
		{"both", []endedLink{{2, true}, {6, false}}, true, map[string]bool{"wlan0": false}},
		{"as was known", []endedLink{{4, false}, {3, true}}, false, map[string]bool{"wlan0": true, "wg0": true}},
		{"unknown", []endedLink{{99, false}}, false, map[string]bool{"wlan0": true, "wg0": true}},
	} {
		m := &Monitor{subscribers: map[chan struct{}]bool{}}
		m.current.Store(first)
		changes, cancel := m.Subscribe()
		m.withdraw(tt.ended)
		cancel()
		got := running(m.Snapshot())
		if len(got) != len(tt.want) || len(changes) == 1 != tt.told || (m.Snapshot() != first) != tt.told {
			t.Errorf("%s: %v, told: %v", tt.name, got, len(changes) == 1)
		}
		for name, works := range tt.want {
			if r, there := got[name]; !there || r != works {
				t.Errorf("%s: %s there: %v, running: %v", tt.name, name, there, r)
			}
		}
	}
	if got := running(first); !got["wlan0"] || !got["wg0"] {
		t.Errorf("the first snapshot has changed: %v", got)
	}
}
