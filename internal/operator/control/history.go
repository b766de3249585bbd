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

// History is the answer to /v1/history: what the networks of the last ten minutes did,
// including those that are gone. There is one sample for each StepMS since the daemon's
// start, numbered from 1.
type History struct {
	Now      time.Time       `json:"now"`
	StepMS   float64         `json:"step_ms"`
	Last     uint64          `json:"last"`      // number of the latest sample; 0: there is none
	LastTime time.Time       `json:"last_time"` // time of that sample, to within StepMS
	Prefixes []PrefixHistory `json:"prefixes"`  // at most 512, by interface and prefix
	// Changes are the latest changes of networks, oldest first, at most 256. With the
	// parameter since, they are the changes during that sample and later.
	Changes []NetworkChange `json:"changes"`
}

// PrefixHistory holds the samples of a managed prefix, from number First on. A list is
// empty if all its samples are unknown. If the prefix is still managed, its latest
// sample is History.Last.
type PrefixHistory struct {
	Prefix    string   `json:"prefix"`
	Name      *string  `json:"name"` // the network's name in the configuration; null: none
	Interface string   `json:"interface"`
	Gone      bool     `json:"gone"`  // it is no longer managed
	First     uint64   `json:"first"` // number of the first sample below
	RTT       []Sample `json:"rtt_ms"`
	Down      []Sample `json:"down_bytes_per_second"` // of the interface, averaged over a second where it is busy
	Up        []Sample `json:"up_bytes_per_second"`
	Signal    []Sample `json:"signal_dbm"`
	// Health has one letter per sample: u for up, s for suspect, d for down, and - if
	// nothing was sampled, for instance while the host slept.
	Health string `json:"health"`
}

// NetworkChange is a remembered change of a prefix.
type NetworkChange struct {
	Seq       uint64    `json:"seq"` // from 1 in order of time
	Time      time.Time `json:"time"`
	Change    string    `json:"change"`            // added, removed, health or changed
	Differs   []string  `json:"differs,omitempty"` // as in PrefixChange
	Prefix    string    `json:"prefix"`
	Name      *string   `json:"name"`
	Interface string    `json:"interface"`
	Cost      string    `json:"cost"`   // this and the fields below are as of after the change
	Health    string    `json:"health"` // up, suspect or down
	Reason    *string   `json:"reason"` // the reason of Health
}

// Sample is one figure. An unknown one is NaN, and null in JSON.
type Sample float64

// Known tells whether s is known.
func (s Sample) Known() bool { return !math.IsNaN(float64(s)) }

// MarshalJSON writes at most two decimals, because the measurements are not more exact.
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

// history answers /v1/history. Like the list of decisions, the answer is written while
// it is read.
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
