// Package attachment keeps what was measured of the places that the host is attached
// to, such as access points and gateways, over restarts and for when they come back.
// Callers decide what an attachment is called and what is measured.
package attachment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/process/ownfile"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxRecords is how many attachments are kept: more than somebody visits in months. Those
	// that were not seen for longest go first.
	maxRecords = 512
	// maxAge is how long one is kept that does not come back.
	maxAge = 90 * 24 * time.Hour
	// maxDestinations is how many networks of destinations are kept, of all attachments
	// together. Those of attachments that were not seen for longest go first.
	maxDestinations = 4096
	// maxOfRecord is how many of them are kept of an attachment and family.
	maxOfRecord = 64
	// maxName bounds the names of interface and attachment, in bytes.
	maxName = 512
	// maxFile bounds what is read; a record takes some 500 bytes, and a network of
	// destinations some 130.
	maxFile = 2 << 20
	version = 1
)

// Memory implements pathstat.Memory. It is safe for concurrent use. Load makes one.
type Memory struct {
	now func() time.Time

	saving sync.Mutex // held while the file is written; before mu

	mu    sync.Mutex
	byKey map[key]record
	dirty bool // the file does not say what byKey says
}

var _ pathstat.Memory = (*Memory)(nil)

// key is an interface and what it was attached to.
type key struct{ iface, attachment string }

// record is what is known about an attachment, as it is stored. Zero is not known.
type record struct {
	Interface  string    `json:"interface"`
	Attachment string    `json:"attachment"`
	Seen       time.Time `json:"seen"`
	// Round-trip times are in nanoseconds, rates in bytes per second.
	SRTTMin4  time.Duration         `json:"srtt_min_ipv4,omitempty"`
	Time4     time.Time             `json:"srtt_time_ipv4,omitzero"`
	SRTTMin6  time.Duration         `json:"srtt_min_ipv6,omitempty"`
	Time6     time.Time             `json:"srtt_time_ipv6,omitzero"`
	Down      policy.BytesPerSecond `json:"down_max,omitempty"`
	DownTime  time.Time             `json:"down_max_time,omitzero"`
	Up        policy.BytesPerSecond `json:"up_max,omitempty"`
	UpTime    time.Time             `json:"up_max_time,omitzero"`
	DownSlide policy.BytesPerSecond `json:"down_average_max,omitempty"`
	// Destinations are in the order of their use, the latest first. A slice in here is
	// never modified.
	Destinations4 []destination `json:"destinations_ipv4,omitempty"`
	Destinations6 []destination `json:"destinations_ipv6,omitempty"`
}

// destination is what is known about a network of destinations, as it is stored.
type destination struct {
	Network netip.Prefix  `json:"network"`
	SRTTMin time.Duration `json:"srtt_min"` // in nanoseconds
	Time    time.Time     `json:"srtt_time"`
}

// sane tells whether all networks are of a family, and not too many.
func sane(list []destination, f policy.Family) bool {
	return len(list) <= maxOfRecord && !slices.ContainsFunc(list, func(d destination) bool {
		return !d.Network.IsValid() || d.Network != d.Network.Masked() || d.Network.Addr().Is4() != (f == policy.IPv4) || d.SRTTMin <= 0
	})
}

// file is the form of the file.
type file struct {
	Version     int      `json:"version"`
	Attachments []record `json:"attachments"`
}

// Load reads a file; one that does not exist holds nothing. After an error the Memory is
// empty, and can be used.
func Load(path string) (*Memory, error) {
	m := &Memory{now: time.Now, byKey: map[key]record{}}
	b, err := ownfile.ReadAll(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = m.parse(b)
	}
	if err != nil {
		return m, fmt.Errorf("read what was measured of networks from %s: %w", path, err)
	}
	return m, nil
}

func (m *Memory) parse(b []byte) error {
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if f.Version != version {
		return fmt.Errorf("unknown version %d", f.Version)
	}
	for _, r := range f.Attachments {
		if r.valid() {
			m.byKey[key{r.Interface, r.Attachment}] = r
		}
	}
	m.boundLocked()
	return nil
}

// valid tells whether a record may have been written by Save.
func (r *record) valid() bool {
	rate := func(v policy.BytesPerSecond) bool { return v >= 0 && !math.IsInf(float64(v), 0) }
	return r.Interface != "" && r.Attachment != "" && len(r.Interface) <= maxName && len(r.Attachment) <= maxName &&
		sane(r.Destinations4, policy.IPv4) && sane(r.Destinations6, policy.IPv6) && r.SRTTMin4 >= 0 && r.SRTTMin6 >= 0 && rate(r.Down) && rate(r.Up) && rate(r.DownSlide)
}

// boundLocked drops what is too old or too much.
func (m *Memory) boundLocked() {
	now := m.now()
	dests := 0
	maps.DeleteFunc(m.byKey, func(_ key, r record) bool {
		old := now.Sub(r.Seen) > maxAge
		if !old {
			dests += r.destinations()
		}
		return old
	})
	if len(m.byKey) <= maxRecords && dests <= maxDestinations {
		return
	}
	keys := slices.SortedFunc(maps.Keys(m.byKey), func(a, b key) int {
		return cmp.Or(m.byKey[a].Seen.Compare(m.byKey[b].Seen), strings.Compare(a.attachment, b.attachment))
	})
	for _, k := range keys {
		if len(m.byKey) <= maxRecords && dests <= maxDestinations {
			return
		}
		r := m.byKey[k]
		dests -= r.destinations()
		if len(m.byKey) > maxRecords {
			delete(m.byKey, k)
			continue
		}
		r.Destinations4, r.Destinations6 = nil, nil
		m.byKey[k] = r
	}
}

func (r *record) destinations() int { return len(r.Destinations4) + len(r.Destinations6) }

// change changes the record of an attachment.
func (m *Memory) change(iface, attachment string, f func(*record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key{iface, attachment}
	r := m.byKey[k]
	r.Interface, r.Attachment, r.Seen = iface, attachment, m.now()
	if f(&r); !r.valid() {
		return
	}
	m.byKey[k], m.dirty = r, true
	m.boundLocked()
}

func (m *Memory) get(iface, attachment string) record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byKey[key{iface, attachment}]
}

// KeepPath implements pathstat.Memory.
func (m *Memory) KeepPath(iface string, f policy.Family, attachment string, p pathstat.PathRecord) {
	m.change(iface, attachment, func(r *record) {
		if f == policy.IPv6 {
			r.SRTTMin6, r.Time6 = p.SRTTMin, p.Time
		} else {
			r.SRTTMin4, r.Time4 = p.SRTTMin, p.Time
		}
	})
}

// RecallPath implements pathstat.Memory.
func (m *Memory) RecallPath(iface string, f policy.Family, attachment string) (pathstat.PathRecord, bool) {
	r := m.get(iface, attachment)
	p := pathstat.PathRecord{SRTTMin: r.SRTTMin4, Time: r.Time4}
	if f == policy.IPv6 {
		p = pathstat.PathRecord{SRTTMin: r.SRTTMin6, Time: r.Time6}
	}
	return p, p.SRTTMin > 0
}

// KeepDestinations implements pathstat.Memory.
func (m *Memory) KeepDestinations(iface string, f policy.Family, attachment string, list []pathstat.DestinationRecord) {
	m.change(iface, attachment, func(r *record) {
		if f == policy.IPv6 {
			r.Destinations6 = merge(list, r.Destinations6, m.now())
		} else {
			r.Destinations4 = merge(list, r.Destinations4, m.now())
		}
	})
}

// merge puts what is known now before what was known earlier of other networks.
func merge(list []pathstat.DestinationRecord, before []destination, now time.Time) []destination {
	out := make([]destination, 0, min(len(list)+len(before), maxOfRecord))
	seen := make(map[netip.Prefix]bool, cap(out))
	add := func(d destination) {
		if len(out) < maxOfRecord && !seen[d.Network] && now.Sub(d.Time) <= maxAge {
			seen[d.Network] = true
			out = append(out, d)
		}
	}
	for _, d := range list {
		add(destination{d.Network, d.SRTTMin, d.Time})
	}
	for _, d := range before {
		add(d)
	}
	return out
}

// RecallDestinations implements pathstat.Memory.
func (m *Memory) RecallDestinations(iface string, f policy.Family, attachment string) []pathstat.DestinationRecord {
	r := m.get(iface, attachment)
	kept := r.Destinations4
	if f == policy.IPv6 {
		kept = r.Destinations6
	}
	list := make([]pathstat.DestinationRecord, len(kept))
	for i, d := range kept {
		list[i] = pathstat.DestinationRecord{Network: d.Network, PathRecord: pathstat.PathRecord{SRTTMin: d.SRTTMin, Time: d.Time}}
	}
	return list
}

// KeepLink implements pathstat.Memory.
func (m *Memory) KeepLink(iface, attachment string, l pathstat.LinkRecord) {
	m.change(iface, attachment, func(r *record) {
		r.Down, r.DownTime, r.Up, r.UpTime, r.DownSlide = l.Down, l.DownTime, l.Up, l.UpTime, l.DownAverage
	})
}

// RecallLink implements pathstat.Memory.
func (m *Memory) RecallLink(iface, attachment string) (pathstat.LinkRecord, bool) {
	r := m.get(iface, attachment)
	return pathstat.LinkRecord{Down: r.Down, DownTime: r.DownTime, Up: r.Up, UpTime: r.UpTime, DownAverage: r.DownSlide}, r.Down > 0 || r.Up > 0
}

// Forget drops what is known about the attachments of an interface, "" for all, and
// returns how many there were.
func (m *Memory) Forget(iface string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.byKey)
	maps.DeleteFunc(m.byKey, func(k key, _ record) bool { return iface == "" || k.iface == iface })
	m.dirty = m.dirty || len(m.byKey) != before
	return before - len(m.byKey)
}

// Save writes what is known to a file, and makes its directory. If nothing has changed, Save
// does nothing. Other methods do not wait for the disk meanwhile.
func (m *Memory) Save(path string) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	b, err := m.changes()
	if b == nil || err != nil {
		return err
	}
	err = ownfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err != nil {
		m.mu.Lock()
		m.dirty = true
		m.mu.Unlock()
		return fmt.Errorf("write what was measured of networks: %w", err)
	}
	return nil
}

// changes is what the file has to hold; nil if the file holds it already.
func (m *Memory) changes() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty {
		return nil, nil
	}
	f := file{Version: version, Attachments: slices.SortedFunc(maps.Values(m.byKey), func(a, b record) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), strings.Compare(a.Attachment, b.Attachment))
	})}
	b, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write what was measured of networks: %w", err)
	}
	m.dirty = false
	return b, nil
}
