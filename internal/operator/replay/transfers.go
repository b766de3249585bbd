package replay

import (
	"fmt"

	"github.com/socket-intents/mamma/policy"
)

// tokens remembers what the subject decided in place of recorded decisions. The zero
// value remembers nothing.
type tokens struct{ recent, older map[recorded]replayed }

// recorded identifies a recorded decision.
type recorded struct {
	policy string
	token  uint64
}

// replayed is the decision that took its place.
type replayed struct {
	token  uint64
	prefix policy.PrefixID
	same   bool // the recorded decision was for the same prefix
}

// maxTokens bounds each of the two maps. Transfers end mostly within the next few hundred
// decisions.
const maxTokens = 4096

// remember notes that d took the place of a recorded decision, which the policy of that
// name had made.
func (t *tokens) remember(was *policy.Decision, name string, d *policy.Decision) {
	if was.Token == 0 || d.Token == 0 || d.Prefix == nil {
		return
	}
	if t.recent == nil || len(t.recent) >= maxTokens {
		t.recent, t.older = map[recorded]replayed{}, t.recent
	}
	t.recent[recorded{name, was.Token}] = replayed{d.Token, d.Prefix.ID, was.Prefix != nil && was.Prefix.ID == d.Prefix.ID}
}

// find returns the token of the decision that took the place of a recorded one. It returns
// 0 unless the transfer would have gone over the prefix over after the new decision, too.
// That is so if the new decision chose over, or the prefix that the recorded one chose: over
// then won the race, or the chosen prefix failed.
func (t *tokens) find(name string, token uint64, over *policy.Prefix) uint64 {
	r, ok := t.recent[recorded{name, token}]
	if !ok {
		r, ok = t.older[recorded{name, token}]
	}
	if !ok || over == nil || !r.same && r.prefix != over.ID {
		return 0 // the decision is forgotten, or the transfer would have gone elsewhere
	}
	return r.token
}

// tell tells the subject's policy of a recorded transfer, if that policy is an Observer.
// name is the policy that made the recorded decision.
func (s *Subject) tell(name string, t *policy.Transfer) (err error) {
	o, ok := s.policy.(policy.Observer)
	if !ok || s.remake != nil { // before the first request the policy is not made yet
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("policy %s panicked: %v", s.Name, v)
		}
	}()
	x := *t
	x.Token, x.Prefix = s.own.find(name, t.Token, t.Prefix), t.Prefix
	if s.config != nil {
		s.makeRoom()
		x.Prefix = s.prefix(t.Prefix)
	}
	o.Ended(&x)
	return nil
}
