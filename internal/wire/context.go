package wire

import (
	"bytes"
	"slices"

	"github.com/google/uuid"
)

// AcceptID applies the rule for an incoming context id, which is the same for clients
// and daemons (section 7). stored is the id known for the connection. calls is what the
// context had stored when the id arrived. AcceptID returns the id to store, and whether
// the incoming id is acceptable. If it is not, daemons go on, as the original does, and
// clients drop the connection.
func AcceptID(stored uuid.UUID, calls Calls, incoming uuid.UUID) (uuid.UUID, bool) {
	switch {
	case incoming == uuid.Nil && calls == 0:
		return stored, true
	case stored == uuid.Nil:
		return incoming, true
	}
	return stored, stored == incoming
}

// Clone returns a copy of c that shares no memory with it.
func (c *Context) Clone() Context {
	d := *c
	d.Hint = slices.Clone(c.Hint)
	d.Result = slices.Clone(c.Result)
	d.OptionsCurrent = cloneOptions(c.OptionsCurrent)
	d.OptionsSuggested = cloneOptions(c.OptionsSuggested)
	return d
}

func cloneOptions(list []SockOpt) []SockOpt {
	list = slices.Clone(list)
	for i := range list {
		list[i].Value = bytes.Clone(list[i].Value)
	}
	return list
}
