package control

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/mam"
)

// peer is the process at the other end of a connection, as the kernel knew it when the
// connection was made.
type peer struct {
	unixsocket.Cred
	groups []uint32 // supplementary
}

// peerOf asks the kernel for the peer. Without credentials there is no service. On an
// old kernel the supplementary groups are missing, and only the primary group counts.
func peerOf(c *net.UnixConn) (peer, error) {
	cred, err := unixsocket.PeerCred(c)
	if err != nil {
		return peer{}, err
	}
	groups, err := unixsocket.PeerGroups(c)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return peer{}, err
	}
	return peer{cred, groups}, nil
}

// guard decides who may do more than look at the networks.
type guard struct {
	owner uint32  // the user that the daemon runs as
	group *uint32 // Options.Group
}

// nobody is the id of the user and of the group that own nothing. It never has rights,
// even if the daemon itself runs as nobody.
const nobody = 65534

// someone tells whether a user id stands for one user, who can have rights. In a user
// namespace, the kernel shows one id for all users that have none there.
func someone(uid uint32) bool { return uid != nobody && userid.Known(uid) }

func (g guard) rights(p peer) Rights {
	var r Rights
	r.Change = p.UID == 0 || p.UID == g.owner && someone(p.UID)
	r.ReadAll = r.Change || g.group != nil && *g.group != nobody && userid.KnownGroup(*g.group) && (p.GID == *g.group || slices.Contains(p.groups, *g.group))
	return r
}

// sees tells whether p may see the decision rec. In a record without a process id the
// user is unknown, too.
func (g guard) sees(p peer, rec *mam.Record) bool {
	return g.rights(p).ReadAll || rec.App.PID != 0 && p.is(rec.App.UID)
}

// is tells whether a user id is that of p.
func (p peer) is(uid uint32) bool { return p.UID == uid && someone(uid) }

type peerKey struct{}

// withPeer stores the peer in the context of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, peerKey{}, c.peer)
	}
	return ctx
}

// peerFrom returns the peer of a request, or nobody if none is stored.
func peerFrom(ctx context.Context) peer {
	if p, ok := ctx.Value(peerKey{}).(peer); ok {
		return p
	}
	return peer{Cred: unixsocket.Cred{UID: nobody, GID: nobody}}
}
