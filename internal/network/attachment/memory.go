// Package attachment keeps what was measured of the places that the host is attached to,
// such as access points and gateways, over restarts and for when they come back. What an
// attachment is called, and what is measured, is left to others.
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
	// maxName bounds the names of interface and attachment, in bytes.
	maxName = 512
	// maxFile bounds what is read; a record takes some 500 bytes.
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

// record is what is known of an attachment, as it is stored. Zero is not known.
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
		r.SRTTMin4 >= 0 && r.SRTTMin6 >= 0 && rate(r.Down) && rate(r.Up) && rate(r.DownSlide)
}

// boundLocked drops what is too old or too much.
func (m *Memory) boundLocked() {
	now := m.now()
	maps.DeleteFunc(m.byKey, func(_ key, r record) bool { return now.Sub(r.Seen) > maxAge })
	if len(m.byKey) <= maxRecords {
		return
	}
	keys := slices.SortedFunc(maps.Keys(m.byKey), func(a, b key) int {
		return cmp.Or(m.byKey[a].Seen.Compare(m.byKey[b].Seen), strings.Compare(a.attachment, b.attachment))
	})
	for _, k := range keys[:len(keys)-maxRecords] {
		delete(m.byKey, k)
	}
}

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

// Forget drops what is known of the attachments of an interface, "" for all, and returns
// how many there were.
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
