package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policies/internal/recent"
)

// maxUsers bounds the users whose reports are remembered.
const maxUsers = 64

// lore is what a user's transfers have taught about destinations, and what was risked
// with them. Programs report their transfers and may report anything. So a user's
// reports count only in decisions for the same user.
type lore struct {
	hosts   *recent.Map[hostKey, *host]
	sizes   sizes // of all hosts
	account account
}

// of returns the lore of a user.
func (p *Policy) of(uid uint32) *lore {
	u, ok := p.users.Get(uid)
	if !ok {
		u = &lore{hosts: recent.New[hostKey, *host](maxHosts)}
		p.users.Put(uid, u)
	}
	return u
}

// taught is what finished transfers over a link have taught. The one of a user also has
// what was measured since.
type taught struct {
	present time.Duration // round-trip time of the latest connections; 0: unknown
	most    float64       // rate that one connection gets, bytes per second; 0: no limit found
	error   float64       // logarithm of the factor by which transfers take longer than predicted
	erred   time.Duration // when error last changed
	last    float64       // that logarithm of the last transfer
}

// by keeps what different users' transfers have taught apart. The zero value knows no
// user.
type by struct {
	user   uint32 // the user that the link's taught belongs to
	known  bool   // user is set
	others *recent.Map[uint32, taught]
	nobody taught // taught by measurements alone; a new user begins with it
}

// as makes the reports of user uid the ones that count from now on.
func (l *link) as(uid uint32) {
	if l.by.known && l.by.user == uid {
		return
	}
	if l.by.known {
		if l.by.others == nil {
			l.by.others = recent.New[uint32, taught](maxUsers)
		}
		l.by.others.Put(l.by.user, l.taught)
		var ok bool
		if l.taught, ok = l.by.others.Get(uid); !ok {
			l.taught = l.by.nobody
		}
	}
	l.by.user, l.by.known = uid, true
}

// measured takes a round-trip time from the kernel. It counts for all users, because
// users cannot forge it.
func (l *link) measured(rtt time.Duration) {
	l.taught = l.taught.measured(rtt)
	l.by.nobody = l.by.nobody.measured(rtt)
	if l.by.others != nil {
		l.by.others.Each(func(t taught) taught { return t.measured(rtt) })
	}
}

func (t taught) measured(rtt time.Duration) taught {
	if t.present == 0 {
		t.present = rtt
	}
	t.present += (rtt - t.present) / 4
	return t
}
