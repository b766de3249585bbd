package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// History is the answer to /v1/history: how the networks of the last ten minutes did,
// those that have gone since among them. Samples are numbered from 1, one for each
// StepMS since the daemon's start.
type History struct {
	Now      time.Time       `json:"now"`
	StepMS   float64         `json:"step_ms"`
	Last     uint64          `json:"last"`      // number of the latest sample; 0: there is none yet
	LastTime time.Time       `json:"last_time"` // when that sample was taken, to within StepMS
	Prefixes []PrefixHistory `json:"prefixes"`  // at most 512, by interface and prefix
	// Changes are the latest of networks, oldest first: at most 256. With since they are
	// those that came while that sample was the latest, or later.
	Changes []NetworkChange `json:"changes"`
}

// PrefixHistory holds the samples of a managed prefix: First, the one after it, and so
// on. A list is empty if nothing is known in all of them. The latest sample of a prefix that is
// still managed is History.Last.
type PrefixHistory struct {
	Prefix    string   `json:"prefix"`
	Name      *string  `json:"name"` // what the configuration calls the network; null: it has no name
	Interface string   `json:"interface"`
	Gone      bool     `json:"gone"`  // it is not managed any more
	First     uint64   `json:"first"` // number of the first sample below
	RTT       []Sample `json:"rtt_ms"`
	Down      []Sample `json:"down_bytes_per_second"` // of the interface, averaged over a second where it is busy
	Up        []Sample `json:"up_bytes_per_second"`
	Signal    []Sample `json:"signal_dbm"`
	// Health is a letter for each sample: u for up, s for suspect, d for down, - where
	// nothing was looked at, as while the host slept.
	Health string `json:"health"`
}

// NetworkChange is a change of a prefix as it is remembered.
type NetworkChange struct {
	Seq       uint64    `json:"seq"` // from 1 in order of time
	Time      time.Time `json:"time"`
	Change    string    `json:"change"` // added, removed, health or changed
	Prefix    string    `json:"prefix"`
	Name      *string   `json:"name"`
	Interface string    `json:"interface"`
	Cost      string    `json:"cost"`   // after the change, as all that follows
	Health    string    `json:"health"` // up, suspect or down
	Reason    *string   `json:"reason"` // of Health
}

// Sample is one figure. NaN is unknown, in JSON null.
type Sample float64

// Known tells that s is not unknown.
func (s Sample) Known() bool { return !math.IsNaN(float64(s)) }

// MarshalJSON gives two decimals at most: more were never measured.
func (s Sample) MarshalJSON() ([]byte, error) {
	if !s.Known() || math.IsInf(float64(s), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, math.Round(float64(s)*100)/100, 'f', -1, 64), nil
}

// UnmarshalJSON reads a number or null.
func (s *Sample) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*s = Sample(math.NaN())
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*s = Sample(f)
	return nil
}

// history answers /v1/history. As the list of decisions, it is written as it is read.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	if s.opts.Past == nil {
		writeFailure(w, failure(http.StatusNotImplemented, "unsupported", errors.New("the past of the networks is not remembered")))
		return
	}
	since, err := parameter(r, "since", 0)
	if err != nil {
		writeFailure(w, err)
		return
	}
	list, last, at := s.opts.Past.networks()
	since = min(since, last)
	out := History{
		Now: s.opts.now(), StepMS: millis(pastStep), Last: last, LastTime: at,
		Prefixes: []PrefixHistory{}, Changes: s.opts.Past.changesSince(since),
	}
	frame, err := json.Marshal(out)
	before, after, ok := strings.Cut(string(frame), `"prefixes":[]`)
	if err != nil || !ok {
		writeFailure(w, fmt.Errorf("encode the history: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := listWriter{w: bufio.NewWriterSize(w, listBuffer)}
	answer.text(before + `"prefixes":[`)
	for _, t := range list {
		if answer.err != nil {
			break
		}
		answer.add(s.opts.Past.history(t, since, last))
	}
	answer.text("]" + after + "\n")
	_ = answer.w.Flush() // an error means that the client has gone
}
