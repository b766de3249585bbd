// Package budget counts how many bytes the host's interfaces transfer in a
// month that begins on any day, and keeps the counts over restarts.
//
// Callers read the kernel's counters of interfaces and pass them in. Callers also
// decide what follows from a count.
package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// Meter counts the bytes of interfaces. It is safe for concurrent use. Load makes one.
type Meter struct {
	boot string

	saving sync.Mutex // held while the file is written; taken before mu

	mu    sync.Mutex
	byIf  map[string]count
	dirty bool // the file is older than byIf
}

// count is the stored record of an interface.
type count struct {
	Used  uint64    `json:"used"`  // bytes in this month
	Start time.Time `json:"start"` // start of the month
	// Counter is the kernel's counter at the last reading. It is meaningful for one
	// interface index during one boot.
	Counter uint64 `json:"counter"`
	Index   int    `json:"index"`
	Boot    string `json:"boot"`
}

// file is the content of the file.
type file struct {
	Version    int              `json:"version"`
	Interfaces map[string]count `json:"interfaces"`
}

const (
	version = 1
	// maxFile bounds how much is read. An interface takes some 200 bytes.
	maxFile = 1 << 20
)

// Load reads the counts from a file. If the file does not exist, there are no counts.
// boot identifies this run of the kernel, see ownfile.BootID. After an error the Meter
// is empty, but can be used.
func Load(path, boot string) (*Meter, error) {
	m := &Meter{boot: boot, byIf: map[string]count{}}
	b, err := ownfile.ReadAll(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read budgets: %w", err)
	}
	if err := m.parse(b); err != nil {
		return m, fmt.Errorf("read budgets from %s: %w", path, err)
	}
	return m, nil
}

func (m *Meter) parse(b []byte) error {
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if f.Version != version {
		return fmt.Errorf("unknown version %d", f.Version)
	}
	maps.Copy(m.byIf, f.Interfaces)
	return nil
}

// Save writes the counts to the file, and makes its directory. The file is replaced as
// a whole, so readers see either the old counts or the new ones. If nothing has
// changed, Save does nothing. Add never waits while Save writes.
func (m *Meter) Save(path string) error {
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
		return fmt.Errorf("write budgets: %w", err)
	}
	return nil
}

// changes returns the content that the file should have; nil if the file has it
// already. After that the caller must write it.
func (m *Meter) changes() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty {
		return nil, nil
	}
	b, err := json.MarshalIndent(file{version, m.byIf}, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write budgets: %w", err)
	}
	m.dirty = false
	return b, nil
}

// Add takes the counter of an interface, for both directions together, and returns the
// bytes transferred in the month that begins on a day, 1 to 31. Bytes from before the
// interface was first seen do not count. Bytes between two calls count.
func (m *Meter) Add(now time.Time, name string, index int, counter uint64, day int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	start := Start(now, day)
	c, known := m.byIf[name]
	old := c
	switch same := c.Boot == m.boot && c.Index == index; {
	case !known:
	case same && counter >= c.Counter:
		c.Used += counter - c.Counter
	default: // the interface is a new one, whose counter began at zero
		c.Used += counter
	}
	c.Counter, c.Index, c.Boot = counter, index, m.boot
	switch {
	case !known, start.After(c.Start):
		// The bytes since the last reading may belong to either month. They are counted
		// for the new one, so that its budget is never exceeded unnoticed.
		if known {
			c.Used -= old.Used
		}
		c.Start = start
	case start.Before(c.Start) && now.Before(c.Start):
		c.Start = start // the clock was ahead before, or the day was changed
	}
	if c != old {
		m.byIf[name], m.dirty = c, true
	}
	return c.Used
}

// Start returns the beginning of the month that contains now, in now's time zone. If
// day is 29, 30 or 31 and a calendar month is shorter, the month begins on its last
// day.
func Start(now time.Time, day int) time.Time {
	begin := func(y int, m time.Month) time.Time {
		last := time.Date(y, m+1, 0, 0, 0, 0, 0, now.Location()).Day()
		return time.Date(y, m, min(max(day, 1), last), 0, 0, 0, 0, now.Location())
	}
	s := begin(now.Year(), now.Month())
	if s.After(now) {
		s = begin(now.Year(), now.Month()-1)
	}
	return s
}

// Next returns the end of the month that contains now.
func Next(now time.Time, day int) time.Time {
	s := Start(now, day)
	first := time.Date(s.Year(), s.Month()+1, 1, 0, 0, 0, 0, now.Location())
	last := time.Date(first.Year(), first.Month()+1, 0, 0, 0, 0, 0, now.Location()).Day()
	return time.Date(first.Year(), first.Month(), min(max(day, 1), last), 0, 0, 0, 0, now.Location())
}
