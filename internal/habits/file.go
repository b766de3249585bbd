package habits

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/internal/process/ownfile"
)

const (
	learntVersion = 1
	maxLearntFile = 256 << 20 // enough for a million hosts with long names
	maxHostLength = 255
)

// learntFile is the content of the file.
type learntFile struct {
	Version int      `json:"version"`
	Habits  []*habit `json:"habits"` // most recently seen first
}

// Load reads what was saved at path. A missing file is not an error. If both the file and l
// know a destination, the one seen later counts. So several processes can share a file,
// if each loads it before saving.
func (l *Learner) Load(path string) error {
	f, err := ownfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was learnt: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := l.read(f); err != nil {
		return fmt.Errorf("read what was learnt from %s: %w", path, err)
	}
	return nil
}

func (l *Learner) read(r io.Reader) error {
	var file learntFile
	d := json.NewDecoder(bounded.NewReader(r, maxLearntFile))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return err
	}
	if file.Version != learntVersion {
		return fmt.Errorf("version %d, not %d", file.Version, learntVersion)
	}
	for i, h := range file.Habits {
		if h == nil || !h.plausible() {
			return fmt.Errorf("entry %d makes no sense", i+1)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range file.Habits {
		if e := l.byDest[h.Dest]; e == nil {
			l.byDest[h.Dest] = l.recent.PushBack(h)
		} else if h.Seen.After(e.Value.(*habit).Seen) {
			e.Value = h
		}
	}
	l.sortLocked()
	l.boundLocked()
	return nil
}

func (h *habit) plausible() bool {
	for _, x := range []float64{h.Weight, h.Size.Mean, h.Size.Square, h.Duration.Mean, h.Duration.Square} {
		if math.IsNaN(x) || x < 0 || x > 64*64 { // ln of an int64 is below 44
			return false
		}
	}
	return h.Weight <= maxWeight && h.Size.Mean < 44 && h.Duration.Mean < 44 && len(h.Dest.Host) <= maxHostLength && h.Dest == h.Dest.normal()
}

// Save writes what was learnt to path, if that has changed. Readers see either the old
// file or the new one.
func (l *Learner) Save(path string) error {
	l.mu.Lock()
	changed := l.changed
	l.changed = false
	file := learntFile{Version: learntVersion, Habits: []*habit{}}
	if changed {
		for e := l.recent.Front(); e != nil; e = e.Next() {
			file.Habits = append(file.Habits, new(*e.Value.(*habit)))
		}
	}
	l.mu.Unlock()
	if !changed {
		return nil
	}
	err := ownfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(file) })
	if err != nil {
		l.mu.Lock()
		l.changed = true
		l.mu.Unlock()
		return fmt.Errorf("save what was learnt: %w", err)
	}
	return nil
}

// SaveEvery is the time between two saves, and so the most that a crash can lose.
const SaveEvery = 5 * time.Minute
