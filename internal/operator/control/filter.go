package control

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/mam"
)

// Filter says which decisions are wanted: those that match every field. The zero value
// matches all.
type Filter struct {
	// Program is the name or path of the program that asked, or the id of its process.
	// A program for which a proxy claims to ask counts, too. "" matches any.
	Program string
	// Network is the interface, name or prefix of the network that was chosen, or over
	// which the connection was made. "" matches any.
	Network string
	Since   time.Time // the earliest time of a decision; zero: any time
	// NoDecisions has a stream leave decisions out, so that changes of prefixes and
	// configuration are all that it has.
	NoDecisions bool
}

// Any tells whether the filter matches all decisions.
func (f *Filter) Any() bool { return f.Program == "" && f.Network == "" && f.Since.IsZero() }

// Matches tells whether d matches.
func (f *Filter) Matches(d *Decision) bool {
	return !d.Time.Before(f.Since) && (f.Program == "" || f.program(d)) && (f.Network == "" || f.network(d))
}

// matches is Matches for a decision in the engine's form.
func (f *Filter) matches(rec *mam.Record) bool {
	if f.Any() || rec.Time.Before(f.Since) {
		return f.Any()
	}
	d := decision(rec)
	return f.Matches(&d)
}

// commandLen is the length to which the kernel cuts a program's name (TASK_COMM_LEN,
// proc_pid_comm(5)).
const commandLen = 15

func (f *Filter) program(d *Decision) bool {
	pid, _ := strconv.ParseUint(f.Program, 10, 32) // 0 for a name; no process has the id 0
	is := func(command *string, process *uint32) bool {
		return command != nil && *command == f.Program[:min(len(f.Program), commandLen)] || process != nil && pid != 0 && uint64(*process) == pid
	}
	if is(d.App.Command, d.App.PID) || d.Origin != nil && is(d.Origin.Command, d.Origin.PID) {
		return true
	}
	x := d.App.Executable
	return x != nil && (*x == f.Program || filepath.Base(*x) == f.Program)
}

func (f *Filter) network(d *Decision) bool {
	is := func(p *PrefixRef) bool {
		return p.Interface == f.Network || p.Prefix == f.Network || p.Name != nil && *p.Name == f.Network
	}
	if d.Chosen != nil && is(d.Chosen) {
		return true
	}
	n := 0
	if d.Outcome != nil && d.Outcome.Errno == 0 {
		n = d.Outcome.Candidate
	}
	return n > 0 && n <= len(d.Alternates) && is(&d.Alternates[n-1])
}

// Query returns the filter as parameters of /v1/decisions and /v1/events.
func (f *Filter) Query() url.Values {
	q := url.Values{}
	if f.Program != "" {
		q.Set("program", f.Program)
	}
	if f.Network != "" {
		q.Set("network", f.Network)
	}
	if !f.Since.IsZero() {
		q.Set("after", f.Since.Format(time.RFC3339Nano))
	}
	if f.NoDecisions {
		q.Set("decisions", "no")
	}
	return q
}

// maxWanted bounds the texts of a Filter. No path is longer (PATH_MAX).
const maxWanted = 4096

// filterOf reads the parameters of a request.
func filterOf(r *http.Request) (Filter, error) {
	q := r.URL.Query()
	f := Filter{Program: q.Get("program"), Network: q.Get("network"), NoDecisions: q.Get("decisions") == "no"}
	if len(f.Program) > maxWanted || len(f.Network) > maxWanted {
		return f, badRequest(fmt.Errorf("program and network must not have more than %d bytes", maxWanted))
	}
	if text := q.Get("after"); text != "" {
		var err error
		if f.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return f, badRequest(fmt.Errorf("after must be a time such as 2026-03-01T12:03:42Z, not %q", text))
		}
	}
	return f, nil
}
