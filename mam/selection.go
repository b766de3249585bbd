package mam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// selection is which networks a request wants for itself (RFC 9622, section 6.2). The
// policy is asked about those that it permits; those that it prefers come first in the
// answer.
type selection struct {
	rules  []wire.Preference
	strict bool // something is required or prohibited
	ranked bool // something is preferred or avoided
}

// selectionOf is what m says about networks, nil if nothing. The message's memory is
// used again, so nothing of it is kept.
func selectionOf(m *wire.Message) *selection {
	if m.Features&wire.FeatureSelection == 0 || len(m.Selection) == 0 {
		return nil
	}
	s := &selection{rules: slices.Clone(m.Selection)}
	for i := range s.rules {
		switch s.rules[i].Want {
		case 0:
		case wire.WantAvoid, wire.WantPrefer:
			s.ranked = true
		default:
			s.strict = true
		}
	}
	return s
}

// String lists the preferences, as in "require network home, avoid cost metered".
func (s *selection) String() string {
	if s == nil {
		return ""
	}
	return wire.SelectionText(s.rules)
}

// matches tells whether p is what a preference is about. The kind is known if the
// preference goes by something that a prefix has.
func matches(r *wire.Preference, p *policy.Prefix) (is, known bool) {
	switch r.Kind {
	case wire.ByInterface:
		return p.Interface == r.Name, true
	case wire.ByNetwork:
		return p.Name == r.Name && r.Name != "", true
	case wire.ByCost:
		return p.Cost.String() == r.Name, true
	}
	return false, false
}

// permits tells whether p may be used. Of several that are required of one kind, one
// will do. What is not understood permits nothing.
func (s *selection) permits(p *policy.Prefix) bool {
	var required, met [wire.ByCost + 1]bool
	for i := range s.rules {
		r := &s.rules[i]
		is, known := matches(r, p)
		switch r.Want {
		case 0, wire.WantAvoid, wire.WantPrefer:
		case wire.WantProhibit:
			if is || !known {
				return false
			}
		case wire.WantRequire:
			if !known {
				return false
			}
			required[r.Kind] = true
			met[r.Kind] = met[r.Kind] || is
		default:
			return false
		}
	}
	return required == met
}

// rank is how much p is preferred: once for each preference that speaks for it, less
// those that speak against it.
func (s *selection) rank(p *policy.Prefix) (n int) {
	for i := range s.rules {
		r := &s.rules[i]
		if is, _ := matches(r, p); is && (r.Want == wire.WantPrefer || r.Want == wire.WantAvoid) {
			n += int(r.Want)
		}
	}
	return n
}

// permitted is v with the prefixes that s permits alone, so that whatever is chosen, be
// it the default or what stands in for another, is one of them.
func (v *View) permitted(s *selection) *View {
	w := *v
	w.Prefixes = nil
	for _, p := range v.Prefixes {
		if s.permits(p) {
			w.Prefixes = append(w.Prefixes, p)
		}
	}
	w.usable, w.offered = [3][]*policy.Prefix{}, [3][]*policy.Prefix{}
	w.prepare()
	return &w
}

// look makes v what is decided on, as far as the request's selection permits.
func (rq *request) look(v *View) {
	if rq.view = v; rq.selection != nil && rq.selection.strict {
		rq.view = v.permitted(rq.selection)
	}
}

// selectSockets takes the idle sockets out of the offer whose networks are not
// permitted, or less preferred than one that a new connection could take.
func (rq *request) selectSockets() {
	s := rq.selection
	if s == nil {
		return
	}
	best := 0
	for i, p := range rq.asked.Prefixes {
		if n := s.rank(p); i == 0 || n > best {
			best = n
		}
	}
	rq.sockets = slices.DeleteFunc(rq.sockets, func(x policy.Socket) bool {
		if x.Prefix == nil {
			return s.strict || best > 0
		}
		return s.rank(x.Prefix) < best // the View has none that is not permitted
	})
	rq.asked.Sockets = rq.sockets
}

// settle makes what was decided keep to the request's selection, and notes whether it
// is a refusal.
func (rq *request) settle() {
	s, d := rq.selection, &rq.decision
	rq.selected = false
	if s != nil && !rq.resolves() {
		rq.keepTo(s)
	}
	rq.refused = d.Refuses(&rq.asked)
	if rq.refused && rq.selected {
		d.Reason = "the application permits no network that could be used"
	}
}

func (rq *request) keepTo(s *selection) {
	d, r := &rq.decision, &rq.asked
	if d.Socket == nil && !r.Bound.IsValid() {
		rq.prefer(s)
	}
	if !s.strict || rq.toItself() {
		return
	}
	if d.Only && (len(r.Prefixes) > 0 || r.Bound.IsValid()) {
		return // the policy has decided among what is permitted, and forbids the rest
	}
	rq.selected = true
	d.Only, d.Multipath = true, false
	switch {
	case d.Socket != nil:
	case r.Bound.IsValid():
		d.Prefix, d.Alternates = r.BoundPrefix, nil
	case d.Prefix == nil:
		if d.Prefix = r.DefaultPrefix(); d.Prefix == nil && len(r.Prefixes) > 0 {
			d.Prefix = r.Prefixes[0]
		}
		d.Reason = also(d.Reason, "the application permits some networks only")
	}
}

// also adds a second reason to the policy's.
func also(reason, second string) string {
	if reason == "" {
		return second
	}
	return reason + "; " + second
}

// prefer puts the preferred prefixes first. One that the policy has not named is
// added, unless the policy permits nothing but what it has named.
func (rq *request) prefer(s *selection) {
	d := &rq.decision
	if !s.ranked || d.Only && d.Prefix == nil {
		return
	}
	list := slices.Clone(d.Alternates)
	if d.Prefix != nil {
		list = slices.Insert(list, 0, d.Prefix)
	}
	best := 0 // of no suggestion
	for i, p := range list {
		if n := s.rank(p); i == 0 || n > best {
			best = n
		}
	}
	if len(list) == 0 {
		// The kernel would choose, perhaps what is to be avoided.
		for _, p := range rq.asked.Prefixes {
			best = min(best, s.rank(p))
		}
	}
	var added []*policy.Prefix
	for _, p := range rq.asked.Prefixes {
		if !d.Only && s.rank(p) > best && !slices.Contains(list, p) {
			added = append(added, p)
		}
	}
	list = append(added, list...)
	slices.SortStableFunc(list, func(p, q *policy.Prefix) int { return s.rank(q) - s.rank(p) })
	if len(list) == 0 {
		return
	}
	if list[0] != d.Prefix {
		d.Race = false // the policy meant another pair
		d.Reason = also(d.Reason, "the application prefers another network")
	}
	d.Prefix, d.Alternates = list[0], list[1:]
}

// toItself tells whether the request is about this host itself, which is reached over
// no managed network.
func (rq *request) toItself() bool {
	host := strings.ToLower(strings.TrimSuffix(rq.asked.Host, "."))
	if rq.asked.Remote.IsValid() {
		return rq.asked.Remote.Addr().Unmap().IsLoopback()
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 section 6.3
}
