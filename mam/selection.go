package mam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// selection says which networks an application permits and prefers for its connection
// (RFC 9622, section 6.2). The policy is offered only the permitted ones. The preferred
// ones come first in the answer.
type selection struct {
	rules  []wire.Preference
	strict bool // something is required or prohibited, so networks are excluded
	ranked bool // something is preferred or avoided, so networks are ranked
}

// selectionOf returns the selection in m, nil if there is none. It copies everything,
// since the message's memory is reused.
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

// matches tells whether preference r is about p. The result known is false if this
// daemon does not know what r goes by.
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

// permits tells whether p may be used. If several requirements of one kind exist, p
// must meet one of them. A preference that is not understood permits nothing.
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

// rank counts the preferences for p, less those against p.
func (s *selection) rank(p *policy.Prefix) (n int) {
	for i := range s.rules {
		r := &s.rules[i]
		if is, _ := matches(r, p); is && (r.Want == wire.WantPrefer || r.Want == wire.WantAvoid) {
			n += int(r.Want)
		}
	}
	return n
}

// permitted returns v with only those prefixes that s permits. As the others are not in
// it, none of them can become the default or a stand-in.
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

// look makes v the View of the request, narrowed to what the request's selection
// permits.
func (rq *request) look(v *View) {
	if rq.view = v; rq.selection != nil && rq.selection.strict {
		rq.view = v.permitted(rq.selection)
	}
}

// selectSockets removes idle sockets from the offer in two cases: their network is not
// permitted, or a new connection could use a network that the application likes better.
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
		return s.rank(x.Prefix) < best // the View holds only permitted prefixes
	})
	rq.asked.Sockets = rq.sockets
}

// settle adapts the decision to the request's selection, and notes whether the decision
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
		return // the policy has chosen among permitted networks and forbids all others
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

// also appends a second reason to the policy's.
func also(reason, second string) string {
	if reason == "" {
		return second
	}
	return reason + "; " + second
}

// prefer moves the preferred prefixes to the front. It also adds preferred prefixes
// that the policy has not named, unless the policy forbids all but those that it has
// named.
func (rq *request) prefer(s *selection) {
	d := &rq.decision
	if !s.ranked || d.Only && d.Prefix == nil {
		return
	}
	list := slices.Clone(d.Alternates)
	if d.Prefix != nil {
		list = slices.Insert(list, 0, d.Prefix)
	}
	best := 0 // the highest rank among the suggestions
	for i, p := range list {
		if n := s.rank(p); i == 0 || n > best {
			best = n
		}
	}
	if len(list) == 0 {
		// Without a suggestion the kernel chooses. It may choose the prefix with the
		// lowest rank, so any better one is worth adding.
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
		d.Race = false // the policy chose another pair to race
		d.Reason = also(d.Reason, "the application prefers another network")
	}
	d.Prefix, d.Alternates = list[0], list[1:]
}

// toItself tells whether the destination is this host itself, by a loopback address or
// name. No network leads there, so none can be required or prohibited.
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
