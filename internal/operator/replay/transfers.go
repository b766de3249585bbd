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

// remember notes that d took the place of was, a decision of the policy of that name.
func (t *tokens) remember(was *policy.Decision, name string, d *policy.Decision) {
	if was.Token == 0 || d.Token == 0 || d.Prefix == nil {
		return
	}
	if t.recent == nil || len(t.recent) >= maxTokens {
		t.recent, t.older = map[recorded]replayed{}, t.recent
	}
	t.recent[recorded{name, was.Token}] = replayed{d.Token, d.Prefix.ID, was.Prefix != nil && was.Prefix.ID == d.Prefix.ID}
}

// find returns the token of the decision that took the place of a recorded one, if the
// transfer would have gone over this prefix by it as well. That is so if it chose this
// prefix. It is also so if it chose what was recorded: this prefix then won the race, or
// the chosen one failed.
func (t *tokens) find(name string, token uint64, over *policy.Prefix) uint64 {
	r, ok := t.recent[recorded{name, token}]
	if !ok {
		r, ok = t.older[recorded{name, token}]
	}
	if !ok || over == nil || !r.same && r.prefix != over.ID {
		return 0 // nobody knows how the transfer would have gone elsewhere
	}
	return r.token
}

// tell tells a policy that learns of a transfer. The policy of that name had decided about
// it.
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
