package scopes

import (
	"context"
	"slices"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/policy"
)

// State describes the scopes for people. It must not be changed.
type State struct {
	Scopes []ScopeState
	Root   string // the control group below which scopes are looked for
	// Hooks are the hooks at which programs are attached, Missing those that the kernel
	// lacks.
	Hooks, Missing []string
	Measured       bool // the kernel measures TCP connections
	Kept           bool // the programs stay attached while no daemon runs
	Detached       bool // somebody has asked to detach the programs
	// Err is why connections are not placed, or not as they should be. nil: all is well.
	Err error
	// Single is why scopes with MPTCP use TCP; nil: they do not, or there are none.
	Single       error
	Lost         uint64 // connections that were placed but are not shown
	Groups       int    // control groups below Root
	Destinations int    // destinations with an answer of their own
	Aside        int    // prefixes with routes of their own
}

// ScopeState is one scope.
type ScopeState struct {
	*config.Scope
	Counts Counts
	Groups []string // control groups of which some processes belong to the scope
	Usual  []UsualState
	// Variants are about connections for which rules state other intents.
	Variants []VariantState
	// Learnt is the number of answers, of those for single destinations, that rest on what
	// earlier connections have carried.
	Learnt int
}

// VariantState is about connections of a scope that some of its rules fit.
type VariantState struct {
	Source  string // the rules, and the well-known ports
	Intents intent.Set
	Usual   []UsualState
}

// UsualState says what is done with a scope's connections to most destinations.
type UsualState struct {
	Family    policy.Family
	Transport policy.Transport
	Kind      hook.Kind
	Prefix    *policy.Prefix // nil: none
	Reason    string
}

// State returns the present state, when the latest configuration is in use. It waits for
// Run. The error is ErrNotRunning, or that of ctx.
func (e *Engine) State(ctx context.Context) (State, error) {
	c := make(chan State, 1)
	e.mu.Lock()
	if !e.running {
		e.mu.Unlock()
		return State{}, ErrNotRunning
	}
	e.asked = append(e.asked, c)
	e.mu.Unlock()
	e.wake()
	select {
	case s := <-c:
		return s, nil
	case <-ctx.Done():
		return State{}, ctx.Err()
	}
}

// tell sends the state to those who have asked for it.
func (e *Engine) tell(asked []chan State) {
	if len(asked) == 0 {
		return
	}
	s := e.current()
	for _, c := range asked {
		c <- s
	}
}

// current returns the present state.
func (e *Engine) current() State {
	s := State{Detached: e.off, Lost: e.lost.Load(), Err: e.err, Single: e.single}
	if e.table != nil {
		s.Root, s.Missing, s.Lost = e.tree.root, e.table.Missing(), s.Lost+e.table.Lost()
		s.Groups, s.Destinations, s.Aside = len(e.groups), e.answers.own.Len(), len(e.aside)
	}
	if e.attachment != nil {
		s.Hooks, s.Kept, s.Measured = e.attachment.Hooks(), e.attachment.Kept(), e.attachment.Measures()
	}
	groups, learnt := e.groupsByScope(), map[*scope]int{}
	for _, g := range e.answers.ofDestinations() {
		if !g.learnt.IsZero() {
			learnt[g.scope]++
		}
	}
	for _, x := range e.scopes {
		state := ScopeState{Scope: x.Scope, Counts: *x.count, Learnt: learnt[x], Groups: slices.Sorted(slices.Values(groups[x]))}
		state.Usual = e.usual(x, 0)
		for v := 1; v < len(x.variants); v++ {
			set, _ := x.intents(hook.Variant(v), 0, intent.Set{})
			state.Variants = append(state.Variants, VariantState{x.variants[v].name(), set, e.usual(x, hook.Variant(v))})
		}
		s.Scopes = append(s.Scopes, state)
	}
	return s
}

// groupsByScope returns the paths of the groups of which some processes belong to each scope.
// Whoever reads a path takes the group for the one that is there now.
func (e *Engine) groupsByScope() map[*scope][]string {
	paths := map[*scope][]string{}
	if e.table == nil {
		return paths
	}
	for path, id := range e.where {
		c := e.groups[id]
		if c == nil || !slices.ContainsFunc(c.members, func(m member) bool { return m.scope != nil }) || !e.tree.is(path, id) {
			continue
		}
		seen := map[*scope]bool{}
		for _, m := range c.members {
			if m.scope != nil && !seen[m.scope] {
				seen[m.scope] = true
				paths[m.scope] = append(paths[m.scope], path)
			}
		}
	}
	return paths
}

// usual returns what is done with connections of a scope to most destinations.
func (e *Engine) usual(s *scope, v hook.Variant) []UsualState {
	var list []UsualState
	for _, u := range s.usual {
		g := e.answers.usual[u]
		if u.Variant != v || g == nil || e.table == nil {
			continue
		}
		d := &g.advice.Record
		us := UsualState{Family: d.Network.Family, Transport: d.Network.Transport, Kind: g.answer.Kind, Reason: d.Decision.Reason}
		if g.answer.Kind == hook.Place {
			us.Prefix = d.Decision.Prefix
		}
		list = append(list, us)
	}
	return list
}
