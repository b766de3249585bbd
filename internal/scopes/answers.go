package scopes

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

const (
	// maxAnswers is how many destinations have an answer of their own. The ones used last
	// are kept.
	maxAnswers = 8192
	// maxGiven is how many answers can be found by their number. A record of the kernel may
	// name an answer that has been replaced meanwhile.
	maxGiven = 2 * maxAnswers
	// fresh is how long an answer is used before the policy is asked again. Connections
	// of one scope to one destination that follow each other faster are placed alike.
	fresh = time.Second
)

// given is an answer that was given to the kernel, and what it was made from.
type given struct {
	id     uint64
	scope  *scope
	from   string     // where the intents come from besides the scope, for people
	learnt intent.Set // what was expected of connections like this
	asked  time.Time
	advice mam.Advice
	answer hook.Answer
	// alternate is the network of answer.Alternate; nil: there is none.
	alternate *policy.Prefix
}

// answers holds what the kernel has been told to do.
type answers struct {
	last  uint64
	usual map[hook.Usual]*given
	own   *simplelru.LRU[hook.Key, *given]
	byID  *simplelru.LRU[uint64, *given]
}

func newAnswers() answers {
	own, _ := simplelru.NewLRU[hook.Key, *given](maxAnswers, nil) // fails only for sizes below 1
	byID, _ := simplelru.NewLRU[uint64, *given](maxGiven, nil)
	return answers{usual: map[hook.Usual]*given{}, own: own, byID: byID}
}

// ofDestinations returns the answers for single destinations.
func (a *answers) ofDestinations() []*given {
	if a.own == nil {
		return nil // nothing has been loaded yet
	}
	return a.own.Values()
}

// clear forgets the answers for destinations.
func (a *answers) clear(t *hook.Table) {
	for _, k := range a.own.Keys() {
		_ = t.DropAnswer(k) // the scope is gone
	}
	a.own.Purge()
}

// dropScopes forgets the usual answers of scopes.
func (a *answers) dropScopes(t *hook.Table, scopes []*scope) {
	for _, s := range scopes {
		for _, u := range s.usual {
			_ = t.DropUsual(u)
			delete(a.usual, u)
		}
		if s.rules != nil {
			_ = t.DropRules(s.id, s.rules)
		}
	}
}

// usuals returns the kinds of connections for which a scope has a usual answer.
func usuals(scope uint32, variants int) []hook.Usual {
	var list []hook.Usual
	for v := range variants {
		for _, p := range []hook.Protocol{hook.TCP, hook.UDP} {
			list = append(list, hook.Usual{Scope: scope, Variant: hook.Variant(v), Protocol: p}, hook.Usual{Scope: scope, Variant: hook.Variant(v), Protocol: p, V6: true})
		}
	}
	return list
}

// inputs is what answers depend on, apart from measurements.
type inputs struct {
	view  *mam.View
	known []input
}

// input is the part of inputs that belongs to one prefix.
type input struct {
	id     policy.PrefixID
	name   string
	addr   netip.Addr
	state  policy.HealthState
	cost   policy.Cost
	device string
}

// changed tells whether v differs from the last View in something that answers depend on.
func (in *inputs) changed(v *mam.View) bool {
	if v == in.view || v == nil {
		return false
	}
	known := make([]input, len(v.Prefixes))
	for i, p := range v.Prefixes {
		known[i] = input{p.ID, p.Name, p.Addr(), p.Health.State, p.Cost, v.Devices[p.ID]}
	}
	old := in.view
	changed := old == nil || old.Epoch != v.Epoch || old.Runner != v.Runner || !slices.Equal(known, in.known) ||
		!maps.EqualFunc(old.Avoid, v.Avoid, func(a, b []policy.PrefixID) bool { return slices.Equal(a, b) })
	in.view, in.known = v, known
	return changed
}

// askAll asks about everything again.
func (e *Engine) askAll() {
	e.askUsual()
	keys := e.answers.own.Keys()              // from the oldest
	for _, k := range slices.Backward(keys) { // those used last are needed first
		if g, ok := e.answers.own.Peek(k); ok {
			e.askOwn(g.scope, k, g.advice.Record.App)
		}
	}
	for _, k := range keys {
		e.answers.own.Get(k) // the order stays
	}
	e.downs.forget()
}

// askUsual asks about the usual connection of each scope.
func (e *Engine) askUsual() {
	for _, s := range e.scopes {
		for _, u := range s.usual {
			e.askOne(s, u)
		}
	}
}

// refresh asks again about scopes whose usual answer was used since the last time.
func (e *Engine) refresh() {
	for _, s := range e.scopes {
		if !s.used {
			continue
		}
		s.used = false
		for _, u := range s.usual {
			e.askOne(s, u)
		}
	}
}

func (e *Engine) askOne(s *scope, u hook.Usual) {
	q := mam.Question{Network: policy.Network{Family: policy.IPv4}}
	if u.V6 {
		q.Network.Family = policy.IPv6
	}
	var from string
	q.Intents, from = s.intents(u.Variant, 0, intent.Set{})
	g := e.ask(s, u.Protocol, &q)
	g.from = from
	if old := e.answers.usual[u]; old != nil && alike(&old.answer, &g.answer) {
		old.asked, old.advice = g.asked, g.advice
		return
	}
	if err := e.makeRoom(func() error { return e.table.SetUsual(u, g.answer) }); err != nil {
		e.problem("answer of scope "+s.Name, err)
		return
	}
	kept := new(g) // only here: most answers are as before
	e.answers.usual[u] = kept
	e.answers.byID.Add(g.id, kept)
}

// askOwn asks about connections to one destination.
func (e *Engine) askOwn(s *scope, k hook.Key, app policy.App) {
	q := mam.Question{Network: policy.Network{Family: policy.FamilyOf(k.Remote.Addr())}, Remote: k.Remote, App: app}
	var from string
	learnt := e.typical(s, k)
	q.Intents, from = s.intents(k.Variant, k.Remote.Port(), learnt)
	g := e.ask(s, k.Protocol, &q)
	g.from, g.learnt = from, learnt
	if old, ok := e.answers.own.Get(k); ok && alike(&old.answer, &g.answer) {
		old.asked, old.advice, old.from, old.learnt = g.asked, g.advice, g.from, g.learnt
		return
	}
	if e.answers.own.Len() == maxAnswers && !e.answers.own.Contains(k) {
		if oldest, _, ok := e.answers.own.RemoveOldest(); ok {
			_ = e.table.DropAnswer(oldest)
		}
	}
	if err := e.table.SetAnswer(k, g.answer); err != nil {
		e.problem("answer of scope "+s.Name, err)
		return
	}
	kept := new(g)
	e.answers.own.Add(k, kept)
	e.answers.byID.Add(g.id, kept)
}

// alike tells whether two answers have the same effect.
func alike(a, b *hook.Answer) bool {
	c := *b
	c.ID = a.ID
	return *a == c
}

// ask lets the policy decide, and translates the decision into an answer for the kernel. q
// lacks what is the same for all connections of the scope by a protocol.
func (e *Engine) ask(s *scope, p hook.Protocol, q *mam.Question) given {
	q.Kind, q.Selection = policy.Connect, s.selection
	if p == hook.UDP {
		q.Network.Transport = policy.Datagram
	}
	e.answers.last++
	g := given{id: e.answers.last, scope: s, asked: time.Now()}
	advice, err := e.opts.Decider.Ask(*q, g.asked)
	if err != nil {
		e.log.Debug("not decided", "scope", s.Name, "err", err)
	}
	g.advice = advice
	g.answer = hook.Answer{ID: g.id, Kind: hook.Leave}
	d := &g.advice.Record.Decision
	switch {
	case advice.Record.Refused:
		g.answer.Kind = hook.Refuse
		if advice.Record.Selected { // the scope permits none of the networks that exist
			g.answer.Errno = unix.ENETUNREACH
		}
	case err != nil && s.Strict():
		g.answer.Kind, g.answer.Errno = hook.Refuse, unix.ENETUNREACH
	case d.Only && d.Prefix != nil && d.Prefix.Health.State == policy.Down:
		// The network was offered because all permitted networks are down. A program that
		// asks mamma itself would wait for it. A program that knows nothing of mamma had
		// better learn at once that no network leads there.
		g.answer.Kind, g.answer.Errno = hook.Refuse, unix.ENETUNREACH
		g.advice.Record.Refused, d.Reason = true, allDown+describe(d.Prefix)
	case advice.Source.IsValid():
		g.answer.Kind, g.answer.Only = hook.Place, d.Only
		g.answer.First = e.way(d.Prefix, mam.Binding{Source: advice.Source, Device: advice.Device, Interface: advice.Interface})
		e.addAlternate(&g)
	}
	return g
}

// addAlternate adds the best alternate that is another network than the first one, and up.
func (e *Engine) addAlternate(g *given) {
	d := &g.advice.Record.Decision
	if d.Prefix == nil {
		return
	}
	for i, b := range g.advice.Alternates {
		p := d.Alternates[i]
		if p.ID != d.Prefix.ID && p.Health.State != policy.Down && b.Source.Is4() == g.answer.First.Source.Is4() {
			g.answer.Alternate, g.alternate = e.way(p, b), p
			return
		}
	}
}

func (e *Engine) way(p *policy.Prefix, b mam.Binding) hook.Way {
	return hook.Way{Source: b.Source, Device: b.Interface, ByDevice: b.Device != "", Network: e.downs.number(p)}
}

const allDown = "all networks that are permitted are down: "

// describe names a network that is down, with the reason if there is one.
func describe(p *policy.Prefix) string {
	if p.Health.Reason == "" {
		return nameOf(p)
	}
	return nameOf(p) + ": " + p.Health.Reason
}

func nameOf(p *policy.Prefix) string {
	if p.Name != "" {
		return p.Name
	}
	return p.Interface
}

// preferences returns a scope's wants in the form that messages have.
func preferences(s *config.Scope) []wire.Preference {
	var list []wire.Preference
	for _, w := range s.Selection() {
		p := wire.Preference{Name: w.Name}
		switch w.Degree {
		case config.Require:
			p.Want = wire.WantRequire
		case config.Prefer:
			p.Want = wire.WantPrefer
		case config.Avoid:
			p.Want = wire.WantAvoid
		case config.Prohibit:
			p.Want = wire.WantProhibit
		}
		switch w.Kind {
		case config.ByInterface:
			p.Kind = wire.ByInterface
		case config.ByNetwork:
			p.Kind = wire.ByNetwork
		case config.ByCost:
			p.Kind = wire.ByCost
		}
		list = append(list, p)
	}
	return list
}
