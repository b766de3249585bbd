package mam

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// choose asks the policy about rq.asked and leaves its decision in rq. If the policy
// fails, rq has the default decision and the reason. If the policy is stuck, takeover
// answers the client in the caller's place and mine is false: the caller must then not
// touch rq and the connection.
func (m *Manager) choose(rq *request, takeover func()) (mine bool) {
	for {
		r := rq.view.Runner
		if r == nil {
			rq.decision = policy.Decision{Reason: "no policy"}
			rq.settle()
			return true
		}
		var d policy.Decision
		var line string
		var logFile string
		mine, err := r.call(takeover, func(p policy.Policy) {
			if rq.asked.Kind == policy.Resolve {
				if rc, ok := p.(policy.ResolveChooser); ok {
					d = rc.ChooseResolver(&rq.asked)
					m.called(r, rq, d)
				}
				return
			}
			d = p.Choose(&rq.asked)
			m.called(r, rq, d)
			if ll, ok := p.(policy.LineLogger); ok {
				if logFile = ll.LogFile(); logFile != "" {
					line = ll.LogLine(&rq.asked, d)
				}
			}
		})
		if !mine {
			return false
		}
		rq.took = time.Since(rq.asked.Now)
		if errors.Is(err, errReplaced) {
			if v := m.view.Load(); v.Runner != r {
				rq.look(v) // the view was replaced a moment ago; its candidates may still be offered to the new policy
				continue
			}
		}
		if err == nil {
			bound(&d)
			err = rq.check(&d)
		}
		if rq.conclude(d, err); err != nil {
			return true
		}
		if line != "" {
			rq.logFile, rq.line = logFile, cut(line, maxLogLine)
		}
		return true
	}
}

// conclude makes d the decision. If err says that the policy failed or gave an answer
// without sense, the decision is the default one. The decision is a refusal instead if
// the policy has said that some networks must not be used, since the default might use
// them.
func (rq *request) conclude(d policy.Decision, err error) {
	switch {
	case err == nil:
		d.Multipath = d.Multipath && !d.Only
		rq.decision, rq.fallback = d, ""
	case d.Only:
		rq.decision = policy.Decision{Only: true, Reason: err.Error()}
		rq.fallback = err.Error()
	default:
		rq.useDefault(err.Error())
		return
	}
	rq.settle()
}

// called passes a call of the policy to the OnCall option.
func (m *Manager) called(r *Runner, rq *request, d policy.Decision) {
	if m.opts.OnCall != nil {
		m.opts.OnCall(r.Name, &rq.asked, d)
	}
}

// These constants bound the texts and lists of one decision. Decisions are remembered,
// and an answer has room for wire.MaxMessage bytes. No sensible policy comes near the
// bounds.
const (
	maxReason      = 1 << 10
	maxLogLine     = 8 << 10
	maxOptions     = 64
	maxOptionBytes = 1 << 10
	maxScoreBytes  = 64 << 10
)

// cut shortens a text to at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:most]), "")
}

// bound shortens the texts of a decision that are too long to keep.
func bound(d *policy.Decision) {
	d.Reason = cut(d.Reason, maxReason)
	size := 0
	for i := range d.Scores {
		s := &d.Scores[i]
		size += 64 + len(s.Note)
		for j := range s.Terms {
			size += 64 + len(s.Terms[j].Name)
		}
		if size > maxScoreBytes {
			d.Scores = nil
			return
		}
	}
}

// check finds decisions without sense: a prefix or a socket that the policy was not
// offered, or more options than an answer has room for. Alternates that were not
// offered, and second mentions of one, are dropped without an error.
func (rq *request) check(d *policy.Decision) error {
	if d.Prefix != nil && d.Prefix != rq.asked.BoundPrefix && !rq.offered(d.Prefix) {
		return fmt.Errorf("policy %s chose %v, which was not offered", rq.view.Runner.Name, d.Prefix.ID)
	}
	if d.Socket != nil {
		found := false
		for i := range rq.asked.Sockets {
			found = found || d.Socket == &rq.asked.Sockets[i]
		}
		if !found {
			return fmt.Errorf("policy %s chose a socket that was not offered", rq.view.Runner.Name)
		}
	}
	options := 0
	for i := range d.Options {
		options += len(d.Options[i].Value)
	}
	if len(d.Options) > maxOptions || options > maxOptionBytes {
		return fmt.Errorf("policy %s wants %d socket options with %d bytes, more than %d or %d", rq.view.Runner.Name, len(d.Options), options, maxOptions, maxOptionBytes)
	}
	if len(d.Alternates) > len(rq.asked.Prefixes) {
		return rq.checkAlternates(d)
	}
	for _, p := range d.Alternates {
		if !rq.offered(p) || p == d.Prefix {
			return rq.checkAlternates(d)
		}
	}
	return nil
}

func (rq *request) checkAlternates(d *policy.Decision) error {
	kept := make([]*policy.Prefix, 0, len(rq.asked.Prefixes))
	for _, p := range d.Alternates {
		if p != d.Prefix && rq.offered(p) && !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	d.Alternates = kept
	return nil
}

func (rq *request) offered(p *policy.Prefix) bool {
	for _, q := range rq.asked.Prefixes {
		if p == q {
			return true
		}
	}
	return false
}

// useDefault makes the default decision, for requests that the policy does not decide.
func (rq *request) useDefault(why string) {
	rq.decision = policy.Decision{Prefix: rq.asked.DefaultPrefix(), Reason: "default"}
	rq.fallback = why
	rq.settle()
}
