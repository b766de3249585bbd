package pathstat

import (
	"net/netip"
	"testing"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// notes is a memory that keeps everything.
type notes struct {
	paths map[string]PathRecord
	links map[string]LinkRecord
	dests map[string][]DestinationRecord
}

func (n *notes) KeepPath(iface string, f policy.Family, a string, r PathRecord) {
	n.paths[iface+f.String()+a] = r
}

func (n *notes) RecallPath(iface string, f policy.Family, a string) (PathRecord, bool) {
	r, ok := n.paths[iface+f.String()+a]
	return r, ok
}

func (n *notes) KeepLink(iface, a string, r LinkRecord) { n.links[iface+a] = r }

func (n *notes) RecallLink(iface, a string) (LinkRecord, bool) {
	r, ok := n.links[iface+a]
	return r, ok
}

func (n *notes) KeepDestinations(iface string, f policy.Family, a string, list []DestinationRecord) {
	n.dests[iface+f.String()+a] = list
}

func (n *notes) RecallDestinations(iface string, f policy.Family, a string) []DestinationRecord {
	return n.dests[iface+f.String()+a]
}

func (n *notes) Forget(string) int {
	known := len(n.paths)
	clear(n.paths)
	clear(n.links)
	clear(n.dests)
	return known
}

// Figures of one attachment are not used at another one. It comes back with its
// attachment.
func TestAttachmentsHaveTheirOwnFigures(t *testing.T) {
	n := &notes{map[string]PathRecord{}, map[string]LinkRecord{}, map[string][]DestinationRecord{}}
	st := newState(DefaultInterval, 0, nil, n)
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := Instant{Wall: begin, Up: time.Hour}
	home := netip.MustParsePrefix("192.168.0.0/24")
	id := policy.PrefixID{Interface: "wlan0", Prefix: home}
	remote := netip.MustParseAddr("192.0.2.1").As16()
	var bytes uint64
	var heard uint32
	attach := func(attachment string, stay uint64) {
		st.set(now, &[]Prefix{{ID: id, Index: 2, Addrs: []netip.Addr{home.Addr().Next()}, Attachment: attachment, Stay: stay}})
	}
	pass := func(rtt uint32, rate uint64) {
		now.Wall, now.Up = now.Wall.Add(DefaultInterval), now.Up+DefaultInterval
		st.begin()
		if rtt > 0 {
			st.add(now, &tcpSocket{Local: home.Addr().Next().As16(), Remote: remote, Sample: Sample{RTT: rtt}, Heard: heard})
		}
		st.end(now)
		bytes += rate / 10
		st.links["wlan0"].add(now, now, LinkCounters{RxBytes: bytes + 1, TxBytes: 1}, DefaultInterval)
	}
	figures := func() (srtt time.Duration, down, dest float64) {
		s := st.snapshot(now)
		return s.Paths[id].SRTTMin, float64(s.Links["wlan0"].DownRateMax), s.Destination(id, netip.MustParseAddr("192.0.2.1")).SRTTMin.Seconds()
	}
	want := func(what string, srtt time.Duration, down, dest float64) {
		t.Helper()
		if s, d, x := figures(); s != srtt || d < down-1 || d > down+1 || x != dest {
			t.Errorf("%s: %v, %v bytes/s, destination %v s; want %v, %v, %v", what, s, d, x, srtt, down, dest)
		}
	}

	attach("", 1)
	pass(20000, 0)
	pass(20000, 1e6)
	attach("wifi a", 1) // a better name
	want("named", 20*time.Millisecond, 1e6, 0.02)
	attach("wifi b", 2)
	want("roamed", 0, 0, 0)
	heard = 5000
	pass(20000, 0)
	want("with a connection that has heard nothing there", 0, 0, 0)
	heard = 0
	pass(50000, 0)
	pass(50000, 2e5)
	want("at the other", 50*time.Millisecond, 2e5, 0.05)
	sampled := now.Wall
	attach("", 3) // nobody knows yet where
	want("in between", 0, 0, 0)
	attach("wifi a", 3)
	pass(0, 0)
	want("back", 20*time.Millisecond, 1e6, 0.02)
	s := st.snapshot(now)
	if p, l := s.Paths[id], s.Links["wlan0"]; !p.SampleTime.Before(sampled) || !l.DownRateMaxTime.Before(sampled) {
		t.Errorf("what is recalled seems to be new: %v, %v, after %v", p.SampleTime, l.DownRateMaxTime, sampled)
	}
	pass(30000, 0)
	want("with a sample", 20*time.Millisecond, 1e6, 0.02)
	now.Wall, now.Up = now.Wall.Add(History), now.Up+History
	pass(30000, 0)
	want("after its time", 30*time.Millisecond, 0, 0.03)
	attach("wifi b", 4)
	pass(0, 0)
	want("back at the other", 50*time.Millisecond, 2e5, 0.05)

	// The interface is gone for a while, and gets another prefix from the same place.
	none := []Prefix{}
	st.set(now, &none)
	id.Prefix = netip.MustParsePrefix("192.168.7.0/24")
	home = id.Prefix
	attach("wifi b", 5)
	pass(0, 0)
	want("with another prefix", 50*time.Millisecond, 2e5, 0.05)
	// The prefix changes from one pass to the next.
	pass(40000, 0)
	want("with a sample of the other prefix", 40*time.Millisecond, 2e5, 0.04)
	id.Prefix = netip.MustParsePrefix("192.168.9.0/24")
	home = id.Prefix
	attach("wifi b", 6)
	pass(0, 0)
	want("with yet another prefix", 40*time.Millisecond, 2e5, 0.04)
	st.forget("eth0")
	want("another is forgotten", 40*time.Millisecond, 2e5, 0.04)
	st.forget("wlan0")
	pass(0, 0)
	want("forgotten", 0, 0, 0)
}
