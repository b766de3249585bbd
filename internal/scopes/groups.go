package scopes

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/scopes/hook"
)

// classify tells the kernel to which class each control group belongs with the present
// scopes.
func (e *Engine) classify() {
	old := e.classes
	e.classes = map[string]*class{}
	gone := e.groups
	e.full = map[string]uint64{}
	e.groups, e.where = map[uint64]*class{}, map[string]uint64{}
	e.tree.believed = e.believed
	e.tree.dropGone(e.forget)
	if err := e.tree.look("/", e.group, e.forget); err != nil {
		e.problem("control groups", err)
	}
	for id := range gone {
		if e.groups[id] == nil {
			e.dropGroup(id)
		}
	}
	for _, c := range old {
		e.retired[0].classes = append(e.retired[0].classes, c)
	}
}

// retired is what connections do not belong to any more. The kernel's programs look up group,
// member and answer one after the other, and may be interrupted in between. So what they may
// have found a moment ago stays for a while. Otherwise a connection would belong to another
// scope or to none at the moment of a reload.
type retired struct {
	classes []*class
	scopes  []*scope
	answers []hook.Key // for destinations
}

// sweep removes what has been retired for a second at least. It is called each second.
func (e *Engine) sweep() {
	old := e.retired[1]
	e.retired[0], e.retired[1] = retired{}, e.retired[0]
	for _, c := range old.classes {
		e.dropClass(c)
	}
	e.answers.dropScopes(e.table, old.scopes)
	e.dropAnswers(old.answers)
}

// makeRoom calls put, and once more if there is room only after what is retired is removed.
func (e *Engine) makeRoom(put func() error) error {
	err := put()
	if !errors.Is(err, hook.ErrFull) {
		return err
	}
	e.sweep()
	e.sweep()
	return put()
}

// group tells the kernel of one control group.
func (e *Engine) group(path string, id uint64) {
	p, err := e.tree.place(path)
	if err != nil {
		return // it is gone
	}
	c, err := e.class(p)
	if err == nil {
		err = e.setGroup(id, c)
	}
	_, before := e.full[path]
	delete(e.full, path)
	switch {
	case errors.Is(err, hook.ErrFull):
		// The kernel treats a group that it does not know like the group above.
		if e.full[path] = id; before {
			return
		}
		e.problem("control group "+path+", which is treated like the one above it", err)
		return
	case err != nil:
		e.problem("control group "+path, err)
		return
	}
	e.groups[id], e.where[path] = c, id
}

// again tells the kernel of groups that were refused for lack of room, if others have
// made room since. A user who makes and removes groups all the time does not keep it
// busy.
func (e *Engine) again() {
	begin := time.Now()
	if !e.tree.freed || begin.Before(e.nextAgain) {
		return
	}
	for _, path := range slices.Sorted(maps.Keys(e.full)) {
		id := e.full[path]
		if e.group(path, id); e.full[path] == id {
			break // there is no room for the others, either
		}
	}
	err := e.tree.again(e.group, e.forget)
	if err != nil {
		e.problem("control groups", err)
	}
	if len(e.full) == 0 && !e.tree.isShort() && (errors.Is(e.err, hook.ErrFull) || errors.Is(e.err, errGiven)) {
		e.err = nil
	}
	e.nextAgain = time.Now().Add(20 * time.Since(begin)) // at most a twentieth of a processor
}

// setGroup tells the kernel of a group.
func (e *Engine) setGroup(id uint64, c *class) error {
	if s := c.whole(); s != nil {
		return e.table.SetWholeGroup(id, s.id, s.manner(), s.rules)
	}
	return e.table.SetGroup(id, c.id, c.forms)
}

// class finds the class of a group. It tells the kernel about a class that is new.
func (e *Engine) class(p *place) (*class, error) {
	members, key := classOf(e.scopes, p, uint32(os.Geteuid()))
	if e.own != "" && p.path(len(p.names)) == e.own {
		members, key = nil, ""
	}
	if c := e.classes[key]; c != nil {
		return c, nil
	}
	e.lastID++
	c := &class{id: e.lastID}
	for _, m := range members {
		m.Class = c.id
		id, how := uint32(0), hook.Manner(0)
		var rules *hook.Rules
		if m.scope != nil {
			id, how, rules = m.scope.id, m.scope.manner(), m.scope.rules
		}
		if err := e.makeRoom(func() error { return e.table.SetMember(m.Member, id, how, rules) }); err != nil {
			e.dropClass(c)
			return nil, err
		}
		c.members, c.forms = append(c.members, m), c.forms|m.Form()
	}
	e.classes[key] = c
	return c, nil
}

func (e *Engine) dropClass(c *class) {
	for _, m := range c.members {
		if err := e.table.DropMember(m.Member); err != nil {
			e.log.Debug("a member stays", "err", err)
		}
	}
}

// forget is for a group that is gone, or is treated like the one above it from now on.
func (e *Engine) forget(path string, id uint64) {
	delete(e.where, path)
	delete(e.full, path)
	e.dropGroup(id)
}

func (e *Engine) dropGroup(id uint64) {
	if err := e.table.DropGroup(id); err != nil {
		e.log.Debug("a control group stays", "err", err)
	}
	delete(e.groups, id)
}

// groupChanged follows a change of the tree of control groups.
func (e *Engine) groupChanged(ev inotifyEvent) {
	if ev == (inotifyEvent{}) { // some were lost
		e.classify()
		return
	}
	dir, ok := e.tree.dirs[ev.watch]
	if !ok {
		return
	}
	at := dir
	if ev.name != "" {
		at = join(dir, ev.name)
	}
	switch {
	case ev.mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 && ev.mask&unix.IN_ISDIR != 0:
		if n := e.tree.groups[at]; n != nil && e.tree.is(at, n.id) {
			return // one before it is gone, and what is known is already about the one that is there now
		}
		e.tree.drop(at, e.forget)
	case ev.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 && ev.mask&unix.IN_ISDIR != 0,
		// The owner of a directory decides whose word counts for the names in it. A group
		// that is not watched itself is seen in the one above.
		ev.mask&unix.IN_ATTRIB != 0 && e.tree.changed(at):
		err := e.tree.look(at, e.group, e.forget)
		switch {
		case err == nil, gone(err):
		case errors.Is(err, errGiven):
			e.log.Debug("a control group is not looked at", "cgroup", at, "err", err)
		default:
			e.problem("control group "+at, err)
		}
	}
}

// believed tells whether a user's names of control groups may count in some scope.
func (e *Engine) believed(uid uint32) bool {
	return ours(uid) || slices.ContainsFunc(e.scopes, func(s *scope) bool {
		return len(s.Units)+len(s.Slices)+len(s.Groups) > 0 && slices.Contains(s.users, uid)
	})
}
