// Package rotation goes round the candidates of successive requests, for the
// round-robin policies.
package rotation

import "github.com/socket-intents/mamma/policy"

// Rotation remembers where it is, separately for IPv4, IPv6 and requests that
// take both. The zero value starts at the first candidate.
type Rotation struct{ positions [3]position }

type position struct {
	id    policy.PrefixID // chosen last
	index int             // where that was
}

// Next returns the candidate after the one chosen last, and the others as
// alternates in the order in which their turn would come; nil if there are no
// candidates. Where the last one has gone, its successor's turn comes.
func (n *Rotation) Next(r *policy.Request) (*policy.Prefix, []*policy.Prefix) {
	list := r.Prefixes
	if len(list) == 0 {
		return nil, nil
	}
	family := list[0].Family()
	if list[len(list)-1].Family() != family { // IPv4 stands before IPv6
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
