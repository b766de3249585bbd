package scopes

import (
	"maps"
	"net/netip"
	"reflect"
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
	// maxRemoved is how many answers are kept after their destination or scope has none any
	// more. A record of the kernel may still name them.
	maxRemoved = maxAnswers
	// slice is how many destinations are asked about at a time. Records of the kernel wait
	// meanwhile.
	slice = 256
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
	// before is the answer that this one has replaced, and perhaps the one before that; nil: none.
	// A record of the kernel may still name them.
	before *given
}

// own is the answer for one destination.
type own struct {
	key hook.Key
	*given
	// stale tells that answers depend on something that has changed since the policy was asked.
	stale bool
	gone  bool // it is not in use any more
}

// answers holds what the kernel has been told to do.
type answers struct {
	last  uint64
	usual map[hook.Usual]*given
	own   *simplelru.LRU[hook.Key, *own]
	// removed are the latest of those that are not in use any more, by id.
	removed *simplelru.LRU[uint64, *given]
}

func newAnswers() answers {
	removed, _ := simplelru.NewLRU[uint64, *given](maxRemoved, nil) // fails only for sizes below 1
	list, _ := simplelru.NewLRU(maxAnswers, func(_ hook.Key, o *own) {
		o.gone = true
		removed.Add(o.id, o.given)
	})
	return answers{usual: map[hook.Usual]*given{}, own: list, removed: removed}
}

// number gives an answer that is to replace old its id. old may be nil.
func (a *answers) number(g, old *given) {
	a.last++
	g.id, g.answer.ID, g.before = a.last, a.last, old
	if old != nil && old.before != nil {
		old.before.before = nil
	}
}

// find returns the answer that the kernel has followed; nil: none, or it is not known any more.
func (a *answers) find(r *hook.Event) *given {
	if r.Answer == 0 {
		return nil
	}
	var g *given
	if r.Usual {
		g = a.usual[usualOf(r)]
	} else if o, ok := a.own.Peek(r.Key); ok {
		g = o.given
	}
	for ; g != nil; g = g.before {
		if g.id == r.Answer {
			return g
		}
	}
	g, _ = a.removed.Get(r.Answer)
	return g
}

// ofDestinations returns the answers for single destinations.
func (a *answers) ofDestinations() []*own {
	if a.own == nil {
		return nil // nothing has been loaded yet
	}
	return a.own.Values()
}

// carryAnswers retires the answers for destinations, which are of scopes of an earlier configuration.
// Before, it asks about the destinations that were used last for the scopes that have come in their
// place. So a reload changes nothing for connections there: without an answer, those to a destination
// with a route of its own would be refused in a strict scope.
func (e *Engine) carryAnswers() {
	for i := range e.retired { // those of two reloads before would fill the kernel's table
		e.dropAnswers(e.retired[i].answers)
		e.retired[i].answers = nil
	}
	old := e.answers.own.Values() // from the one that was used the longest time ago
	e.retired[0].answers = e.answers.own.Keys()
	e.answers.own.Purge()
	heirs := map[*scope]*scope{}
	for _, o := range old[max(0, len(old)-slice):] {
		heir, ok := heirs[o.scope]
		if !ok {
			heir = e.heirOf(o.scope)
			heirs[o.scope] = heir
		}
		if heir != nil {
			k := o.key
			k.Scope = heir.id
			e.askOwn(heir, k, o.advice.Record.App)
		}
	}
}

// heirOf returns the present scope that has come in the place of one of an earlier configuration;
// nil: there is none, or it gives connections other variants.
func (e *Engine) heirOf(old *scope) *scope {
	for _, s := range e.scopes {
		if s.Name == old.Name && reflect.DeepEqual(s.rules, old.rules) {
			return s
		}
	}
	return nil
}

func (e *Engine) dropAnswers(keys []hook.Key) {
	for _, k := range keys {
		_ = e.table.DropAnswer(k) // the scope is gone
	}
}

// dropScopes forgets the usual answers of scopes.
func (a *answers) dropScopes(t *hook.Table, scopes []*scope) {
	for _, s := range scopes {
		for _, u := range s.usual {
			_ = t.DropUsual(u)
			if g := a.usual[u]; g != nil {
				a.removed.Add(g.id, g)
			}
			delete(a.usual, u)
		}
		if s.rules != nil {
			_ = t.DropRules(s.id, s.rules)
		}
	}
}

// usualOf says which usual answer is for connections like the one of a record.
func usualOf(r *hook.Event) hook.Usual {
	return hook.Usual{Scope: r.Scope, Protocol: r.Protocol, V6: r.Remote.Addr().Is6(), Variant: r.Variant}
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

// askAll asks about everything again. All usual answers are new when it returns. Those for
// destinations are as new as the budget permits, and renew does the rest.
func (e *Engine) askAll() {
	e.charge(e.askUsual)
	e.stale = e.answers.own.Values() // from the oldest; those used last are needed first
	for _, o := range e.stale {
		o.stale = true
	}
	e.renew()
}

// renew goes on to ask about destinations whose answers are stale, as long as the budget permits.
func (e *Engine) renew() {
	if len(e.stale) == 0 {
		return
	}
	for len(e.stale) > 0 && e.budget.may(time.Now()) {
		rest := max(0, len(e.stale)-slice)
		list := e.stale[rest:]
		e.stale = e.stale[:rest]
		e.charge(func() { e.renewSome(list) })
		e.catchUp()
	}
	if len(e.stale) == 0 {
		e.stale = nil
		e.downs.forget()
	}
}

// renewSome asks about destinations whose answers are stale, from the last one of the list.
func (e *Engine) renewSome(list []*own) {
	var changed []*own
	var decided []*given
	var keys []hook.Key
	var answers []hook.Answer
	for _, o := range slices.Backward(list) {
		if o.gone || !o.stale {
			continue
		}
		g := e.decide(o.scope, o.key, o.advice.Record.App)
		if o.stale = false; o.keeps(&g) {
			continue
		}
		kept := new(g) // only here: most answers are as before
		e.answers.number(kept, o.given)
		changed, decided = append(changed, o), append(decided, kept)
		keys, answers = append(keys, o.key), append(answers, kept.answer)
	}
	for len(keys) > 0 {
		n, err := e.table.SetAnswers(keys, answers)
		for i, o := range changed[:n] {
			o.given = decided[i]
		}
		if err != nil {
			e.problem("answer of scope "+decided[n].scope.Name, err)
			n++ // the others may be taken
		}
		keys, answers, changed, decided = keys[n:], answers[n:], changed[n:], decided[n:]
	}
}

// askUsual asks about the usual connection of each scope.
func (e *Engine) askUsual() {
	for _, s := range e.scopes {
		for _, u := range s.usual {
			e.askOne(s, u)
		}
	}
}

// refresh asks again about the usual answers that were used since the last time.
func (e *Engine) refresh() {
	for _, s := range e.scopes {
		for u := range s.used {
			e.askOne(s, u)
		}
		clear(s.used)
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
	old := e.answers.usual[u]
	if old.keeps(&g) {
		return
	}
	e.answers.number(&g, old)
	if err := e.makeRoom(func() error { return e.table.SetUsual(u, g.answer) }); err != nil {
		e.problem("answer of scope "+s.Name, err)
		return
	}
	e.answers.usual[u] = new(g) // only here: most answers are as before
}

// askOwn asks about connections to one destination.
func (e *Engine) askOwn(s *scope, k hook.Key, app policy.App) {
	e.charge(func() { e.askOwnNow(s, k, app) })
}

func (e *Engine) askOwnNow(s *scope, k hook.Key, app policy.App) {
	g := e.decide(s, k, app)
	o, known := e.answers.own.Get(k)
	if !known {
		o = &own{key: k}
	} else if o.stale = false; o.keeps(&g) {
		return
	}
	e.answers.number(&g, o.given)
	if !known && e.answers.own.Len() == maxAnswers {
		if oldest, _, ok := e.answers.own.RemoveOldest(); ok {
			_ = e.table.DropAnswer(oldest)
		}
	}
	if err := e.table.SetAnswer(k, g.answer); err != nil {
		e.problem("answer of scope "+s.Name, err)
		return
	}
	o.given = new(g)
	if !known {
		e.answers.own.Add(k, o)
	}
}

// decide decides about connections to one destination. The answer has no id yet.
func (e *Engine) decide(s *scope, k hook.Key, app policy.App) given {
	q := mam.Question{Network: policy.Network{Family: policy.FamilyOf(k.Remote.Addr())}, Remote: k.Remote, App: app}
	var from string
	learnt := e.typical(s, k)
	q.Intents, from = s.intents(k.Variant, k.Remote.Port(), learnt)
	g := e.ask(s, k.Protocol, &q)
	g.from, g.learnt = from, learnt
	return g
}

// keeps tells whether old has the same effect as g, so that the kernel can go on to follow old.
// Then old takes over what else is new. old may be nil.
func (old *given) keeps(g *given) bool {
	if old == nil || !alike(&old.answer, &g.answer) {
		return false
	}
	old.asked, old.advice, old.from, old.learnt, old.alternate = g.asked, g.advice, g.from, g.learnt, g.alternate
	return true
}

// alike tells whether two answers have the same effect.
func alike(a, b *hook.Answer) bool {
	c := *b
	c.ID = a.ID
	return *a == c
}

// ask lets the policy decide, and translates the decision into an answer for the kernel. q
// lacks what is the same for all connections of the scope by a protocol. The answer has no id yet.
func (e *Engine) ask(s *scope, p hook.Protocol, q *mam.Question) given {
	q.Kind, q.Selection = policy.Connect, s.selection
	if p == hook.UDP {
		q.Network.Transport = policy.Datagram
	}
	g := given{scope: s, asked: time.Now()}
	advice, err := e.opts.Decider.Ask(*q, g.asked)
	if err != nil {
		e.log.Debug("not decided", "scope", s.Name, "err", err)
	}
	g.advice = advice
	g.answer = hook.Answer{Kind: hook.Leave}
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
