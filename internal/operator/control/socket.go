package control

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// socketMode lets the daemon's user and the socket's group connect.
const socketMode = 0o660

// LookupGroup returns the id of a group, given by its name or number; nil for "". A
// number need not be in the group database.
func LookupGroup(group string) (*uint32, error) {
	if group == "" {
		return nil, nil //nolint:nilnil // no group is what was asked for
	}
	number := group
	if g, err := user.LookupGroup(group); err == nil {
		number = g.Gid
	}
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("control_group: there is no group %q on this host", group)
	}
	gid := uint32(id)
	return &gid, nil
}

// Listen creates the control socket at path, with mode 0660 and the given group; nil
// means the process's own group. Errors are those of unixsocket.Listen, or say that the
// process may not set the group: that is only for root and for members of the group.
func Listen(path string, group *uint32) (*unixsocket.Listener, error) {
	l, err := unixsocket.Listen(path, socketMode)
	if err != nil || group == nil {
		return l, err
	}
	if err := os.Lchown(l.Path(), -1, int(*group)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("give the control socket to group %d: %w", *group, err)
	}
	return l, nil
}
