package attachment

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/policy"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Figures are found again by interface, family and attachment, also after they were
// read from the file.
func TestComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "attachments.json")
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	m.now = func() time.Time { return time.Now() }
	at := time.Now().Truncate(time.Second)
	home := pathstat.PathRecord{SRTTMin: 20 * time.Millisecond, Time: at}
	link := pathstat.LinkRecord{Down: 1e7, Up: 1e6, DownTime: at, UpTime: at, DownAverage: 9e6}
	m.KeepPath("wlan0", policy.IPv4, "wifi a", home)
	m.KeepLink("wlan0", "wifi a", link)
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Memory{"as kept": m, "from the file": again} {
		if got, ok := m.RecallPath("wlan0", policy.IPv4, "wifi a"); !ok || got.SRTTMin != home.SRTTMin || !got.Time.Equal(at) {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
		if got, ok := m.RecallLink("wlan0", "wifi a"); !ok || got.Down != link.Down || got.DownAverage != link.DownAverage || !got.UpTime.Equal(at) {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
		if _, ok := m.RecallPath("wlan0", policy.IPv6, "wifi a"); ok {
			t.Errorf("%s: the other family has a round-trip time", name)
		}
		if _, ok := m.RecallPath("wlan0", policy.IPv4, "wifi b"); ok {
			t.Errorf("%s: another access point has one", name)
		}
		if _, ok := m.RecallLink("eth0", "wifi a"); ok {
			t.Errorf("%s: another interface has rates", name)
		}
	}
	if n := again.Forget("eth0"); n != 0 {
		t.Errorf("forgot %d of another interface", n)
	}
	if n := again.Forget("wlan0"); n != 1 {
		t.Errorf("forgot %d", n)
	}
	if _, ok := again.RecallLink("wlan0", "wifi a"); ok {
		t.Error("known although forgotten")
	}
	if err := again.Save(path); err != nil {
		t.Fatal(err)
	}
	if again, err = Load(path); err != nil || len(again.byKey) != 0 {
		t.Errorf("after forgetting the file has %d, %v", len(again.byKey), err)
	}
}

func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
}

func destinations(from, to int, at time.Time) (list []pathstat.DestinationRecord) {
	for i := from; i < to; i++ {
		list = append(list, pathstat.DestinationRecord{Network: network(i), PathRecord: pathstat.PathRecord{SRTTMin: time.Duration(i+1) * time.Millisecond, Time: at}})
	}
	return list
}

// Figures of destinations are found again with their attachment, also after they were read
// from the file. Figures of earlier attachments stay behind the later ones as long as there
// is room.
func TestDestinations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attachments.json")
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Truncate(time.Second)
	six := []pathstat.DestinationRecord{{Network: netip.MustParsePrefix("2001:db8:1::/48"), PathRecord: pathstat.PathRecord{SRTTMin: time.Millisecond, Time: at}}}
	m.KeepDestinations("wlan0", policy.IPv4, "wifi a", destinations(0, 3, at))
	m.KeepDestinations("wlan0", policy.IPv6, "wifi a", six)
	m.KeepDestinations("wlan0", policy.IPv4, "wifi a", destinations(2, 4, at))
	m.KeepDestinations("wlan0", policy.IPv4, "wifi b", destinations(9, 10, at))
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Memory{"as kept": m, "from the file": again} {
		var got []netip.Prefix
		for _, d := range m.RecallDestinations("wlan0", policy.IPv4, "wifi a") {
			got = append(got, d.Network)
			if !d.Time.Equal(at) || d.SRTTMin <= 0 {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if want := []netip.Prefix{network(2), network(3), network(0), network(1)}; !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
		if got := m.RecallDestinations("wlan0", policy.IPv6, "wifi a"); len(got) != 1 || got[0].Network != six[0].Network {
			t.Errorf("%s: %v", name, got)
		}
		if got := m.RecallDestinations("wlan0", policy.IPv4, "wifi c"); len(got) != 0 {
			t.Errorf("%s: %v of a place that was never visited", name, got)
		}
	}
	again.Forget("wlan0")
	if got := again.RecallDestinations("wlan0", policy.IPv4, "wifi a"); len(got) != 0 {
		t.Errorf("%v although forgotten", got)
	}
}

// However many destinations there are, memory and file are bounded, and the destinations of
// the latest attachments stay.
func TestDestinationsAreBounded(t *testing.T) {
	now := epoch
	m := &Memory{now: func() time.Time { return now }, byKey: map[key]record{}}
	for i := range 3 * maxRecords {
		now = now.Add(time.Second)
		for round := range 2 {
			m.KeepDestinations("wlan0", policy.IPv4, fmt.Sprint("wifi ", i), destinations(round*maxOfRecord, (round+1)*maxOfRecord, now))
		}
	}
	total := 0
	for _, r := range m.byKey {
		total += r.destinations()
	}
	if total > maxDestinations || total < maxDestinations-maxOfRecord {
		t.Errorf("%d destinations", total)
	}
	last := m.RecallDestinations("wlan0", policy.IPv4, fmt.Sprint("wifi ", 3*maxRecords-1))
	if len(last) != maxOfRecord || last[0].Network != network(maxOfRecord) {
		t.Errorf("%d of the latest place, the first is %v", len(last), last[0].Network)
	}
	path := filepath.Join(t.TempDir(), "attachments.json")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > maxFile {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	now = now.Add(maxAge + time.Hour)
	m.KeepDestinations("wlan0", policy.IPv4, "wifi new", destinations(0, 1, epoch))
	if got := m.RecallDestinations("wlan0", policy.IPv4, "wifi new"); len(got) != 0 {
		t.Errorf("measured months ago: %v", got)
	}
}

// However many attachments there are, memory is bounded, and the latest ones stay.
func TestBounds(t *testing.T) {
	now := epoch
	m := &Memory{now: func() time.Time { return now }, byKey: map[key]record{}}
	for i := range 3 * maxRecords {
		now = now.Add(time.Second)
		m.KeepLink("wlan0", fmt.Sprint("wifi ", i), pathstat.LinkRecord{Down: 1})
	}
	if len(m.byKey) != maxRecords {
		t.Errorf("%d records", len(m.byKey))
	}
	if _, ok := m.RecallLink("wlan0", fmt.Sprint("wifi ", 3*maxRecords-1)); !ok {
		t.Error("the latest is gone")
	}
	now = now.Add(maxAge + time.Hour)
	m.KeepLink("wlan0", "wifi new", pathstat.LinkRecord{Down: 1})
	if len(m.byKey) != 1 {
		t.Errorf("%d records after months", len(m.byKey))
	}
	m.KeepLink("wlan0", string(make([]byte, maxName+1)), pathstat.LinkRecord{Down: 1})
	if len(m.byKey) != 1 {
		t.Error("a name of any length is kept")
	}
}

// Whatever the file contains, what is read from it is bounded and valid, and is the same
// after it was written again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"attachments":[{"interface":"wlan0","attachment":"wifi a","seen":"2026-03-01T12:00:00Z","srtt_min_ipv4":20000000,"down_max":1e7}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Load(path)
		if err != nil && len(m.byKey) != 0 || len(m.byKey) > maxRecords {
			t.Fatalf("%d records, %v", len(m.byKey), err)
		}
		m.dirty = true
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
		again, err := Load(path)
		if err != nil || len(again.byKey) != len(m.byKey) {
			t.Fatalf("%d records, and %d when read again; %v", len(m.byKey), len(again.byKey), err)
		}
		for _, r := range m.byKey {
			if !r.valid() {
				t.Fatalf("%+v", r)
			}
		}
	})
}
