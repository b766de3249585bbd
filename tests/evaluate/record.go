package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/socket-intents/mamma/tests/evaluate/live"
)

// record is one measurement, a line of the raw data.
type record struct {
	Scenario string `json:"scenario"`
	Pair     string `json:"pair"`
	Part     string `json:"part,omitempty"`
	Repeat   int    `json:"repeat"`
	Load     string `json:"load"`
	Way      string `json:"way"`

	// Value is a load time in seconds, for video the MOS stand-in, for messages
	// the 95th percentile of their latency in seconds.
	Value     float64  `json:"value"`
	Bytes     []uint64 `json:"bytes,omitempty"` // received, by network
	Objects   []int    `json:"objects,omitempty"`
	Reused    int      `json:"reused,omitempty"`
	DecisionM float64  `json:"decision_us,omitempty"` // mean
	Late      float64  `json:"late,omitempty"`        // share of the time in which the machine was too busy

	Page     []live.Object  `json:"page,omitempty"`
	Video    *live.Watched  `json:"video,omitempty"`
	Messages *live.Messages `json:"messages,omitempty"`

	// Failed has the errors of the attempts that failed. Lost tells that the last
	// attempt failed, too, so that the record has no measurement.
	Failed []string `json:"failed,omitempty"`
	Lost   bool     `json:"lost,omitempty"`

	// Done marks the end of a repetition of a part; it has no measurement.
	Done bool `json:"done,omitempty"`
}

// unit names a repetition of a part.
func (r *record) unit() string {
	return fmt.Sprintf("%s %s %s#%d", r.Scenario, r.Pair, r.Part, r.Repeat)
}

// rawName is the file with the records.
const rawName = "raw.jsonl"

// journal keeps the raw data. It appends each record to the file at once, so that an
// interrupted run can be continued. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	file    *os.File
	records []record
	done    map[string]bool
}

// openJournal reads the records of earlier runs. It leaves out those of incomplete
// repetitions, which are measured again.
func openJournal(dir string) (*journal, error) {
	path := filepath.Join(dir, rawName)
	j := &journal{done: map[string]bool{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := j.read(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// The file is written anew, so that it has only the records that count.
	if j.file, err = os.Create(path); err != nil {
		return nil, err
	}
	old := j.records
	j.records = nil
	return j, j.add(old...)
}

func (j *journal) read(text []byte) error {
	pending := map[string][]record{}
	s := bufio.NewScanner(bytes.NewReader(completeLines(text)))
	s.Buffer(nil, len(text)+1)
	for n := 1; s.Scan(); n++ {
		var r record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		u := r.unit()
		pending[u] = append(pending[u], r)
		if r.Done {
			j.records = append(j.records, pending[u]...)
			j.done[u] = true
			delete(pending, u)
		}
	}
	return s.Err()
}

// completeLines leaves out a last line that was being written when the run ended.
func completeLines(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }

// add appends records.
func (j *journal) add(list ...record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := bufio.NewWriter(j.file)
	e := json.NewEncoder(w)
	for _, r := range list {
		if err := e.Encode(r); err != nil {
			return err
		}
		j.records = append(j.records, r)
		if r.Done {
			j.done[r.unit()] = true
		}
	}
	return w.Flush()
}

// all returns the records so far.
func (j *journal) all() []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records)
}

func (j *journal) has(unit string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[unit]
}
