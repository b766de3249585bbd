package replay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policy"
)

// Result is one decision, made twice.
type Result struct {
	Line     int // in the file
	Request  *policy.Request
	Recorded Choice
	Replayed Choice
	// Same tells that both do the same: bind to the same prefix, reuse the same
	// socket, refuse the connection or not, use MPTCP or not, ask the same resolver. Alternates, reasons and scores
	// do not count.
	Same bool
	// How long the transfer takes with either choice. Both times are predicted by the
	// same policy: the replayed one, or else the recorded one. 0 if neither predicts
	// both.
	RecordedTime, ReplayedTime time.Duration
}

// Choice is what was decided.
type Choice struct {
	Policy    string
	Prefix    policy.PrefixID // the chosen one; zero: no preference
	Reused    bool            // an idle socket,
	FD        int32           // the client's number of it
	Refused   bool            // no connection
	Multipath bool
	Resolver  string // "default", "never", or the prefix whose resolver is asked
	Reason    string
	// Predicted is the policy's own prediction for its choice; 0: none.
	Predicted time.Duration
}

// Run gives the requests of a recording to s, in their order, and calls each with every
// result. A line that cannot be read is passed to bad and skipped. The error comes from
// reading, from each, or from the policy.
func Run(in io.Reader, s *Subject, each func(*Result) error, bad func(*decisionlog.LineError)) error {
	reader := decisionlog.NewReader(in)
	for {
		e, err := reader.Next()
		var line *decisionlog.LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &line):
			bad(line)
			continue
		case err != nil:
			return err
		}
		if e.Transfer != nil {
			if err := s.tell(e.Policy, e.Transfer); err != nil {
				return fmt.Errorf("line %d: %w", e.Line, err)
			}
			continue
		}
		asked, d, err := s.ask(e.Request)
		if err != nil {
			return fmt.Errorf("line %d: %w", e.Line, err)
		}
		s.own.remember(&e.Decision, e.Policy, &d)
		result := compare(e, asked, d, s.Name)
		if err := each(result); err != nil {
			return err
		}
	}
}

// compare compares the recorded decision with the new one. asked is the request that
// the policy was asked about. Its prefixes may differ from the recorded ones, and have
// the same indices.
func compare(e *decisionlog.Entry, asked *policy.Request, d policy.Decision, name string) *Result {
	r := &Result{
		Line: e.Line, Request: e.Request,
		Recorded: choiceOf(e.Policy, e.Request, e.Decision), Replayed: choiceOf(name, asked, d),
	}
	a, b := &r.Recorded, &r.Replayed
	r.Same = a.Prefix == b.Prefix && a.Reused == b.Reused && a.FD == b.FD && a.Refused == b.Refused && a.Multipath == b.Multipath && a.Resolver == b.Resolver
	for _, scores := range [][]policy.Score{d.Scores, e.Decision.Scores} {
		x, y := predicted(scores, a.Prefix), predicted(scores, b.Prefix)
		if x > 0 && y > 0 {
			r.RecordedTime, r.ReplayedTime = x, y
			break
		}
	}
	return r
}

func choiceOf(name string, r *policy.Request, d policy.Decision) Choice {
	c := Choice{Policy: name, Multipath: d.Multipath, Resolver: resolver(r, d), Reason: d.Reason}
	if c.Refused = d.Refuses(r); c.Refused {
		c.Resolver = ""
		return c
	}
	if d.Prefix != nil {
		c.Prefix = d.Prefix.ID
		c.Predicted = predicted(d.Scores, c.Prefix)
	}
	if d.Socket != nil {
		c.Reused, c.FD = true, d.Socket.FD
	}
	return c
}

// resolver says which resolver would be asked for the name; "" if no name has to be
// resolved.
func resolver(r *policy.Request, d policy.Decision) string {
	p := d.Prefix
	if p == nil {
		p = r.BoundPrefix
	}
	switch {
	case r.Kind == policy.Connect || d.Socket != nil || r.Host == "":
		return ""
	case d.Resolution == policy.ResolveNever:
		return "never"
	case d.Resolution == policy.ResolveDefault || p == nil:
		return "default"
	}
	return p.ID.String()
}

// predicted returns the time in the scores of a prefix, 0 if there is none.
func predicted(scores []policy.Score, id policy.PrefixID) time.Duration {
	for _, s := range scores {
		if s.Prefix != nil && s.Prefix.ID == id {
			return s.Predicted
		}
	}
	return 0
}
