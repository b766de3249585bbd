// Package rotation walks through the candidates of successive requests, for the
// round-robin policies.
package rotation

import "github.com/socket-intents/mamma/policy"

// Rotation remembers its position, separately for IPv4, for IPv6 and for requests that
// take both. The zero value starts at the first candidate.
type Rotation struct{ positions [3]position }

type position struct {
	id    policy.PrefixID // the prefix chosen last
	index int             // its index at that time
}

// Next returns the candidate after the one chosen last, and the other candidates as
// alternates, in the order in which they would be next. It returns nil if there are no
// candidates. If the one chosen last has gone, the candidate that followed it is next.
func (n *Rotation) Next(r *policy.Request) (*policy.Prefix, []*policy.Prefix) {
	list := r.Prefixes
	if len(list) == 0 {
		return nil, nil
	}
	family := list[0].Family()
	if list[len(list)-1].Family() != family { // IPv4 comes before IPv6
		family = policy.Unspecified
	}
	at := &n.positions[family]
	next := at.index % len(list)
	for i, p := range list {
		if p.ID == at.id {
			next = (i + 1) % len(list)
			break
		}
	}
	*at = position{list[next].ID, next}
	if len(list) == 1 {
		return list[next], nil
	}
	others := make([]*policy.Prefix, 0, len(list)-1)
	others = append(others, list[next+1:]...)
	return list[next], append(others, list[:next]...)
}
