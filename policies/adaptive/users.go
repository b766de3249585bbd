package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policies/internal/recent"
)

// maxUsers bounds the users whose reports are remembered.
const maxUsers = 64

// lore is what a user's transfers taught of destinations, and what was risked with
// them. Programs report their transfers, and may report anything: what one user
// reports counts for the decisions of that user only.
type lore struct {
	hosts   *recent.Map[hostKey, *host]
	sizes   sizes // of all hosts
	account account
}

// of gives a user's.
func (p *Policy) of(uid uint32) *lore {
	u, ok := p.users.Get(uid)
	if !ok {
		u = &lore{hosts: recent.New[hostKey, *host](maxHosts)}
		p.users.Put(uid, u)
	}
	return u
}

// taught is what transfers over a link taught that ended. Of one user's it holds too
// what was measured since.
type taught struct {
	present time.Duration // round-trip time of the last connections; 0: unknown
	most    float64       // rate that one connection gets, bytes per second; 0: no limit found
	error   float64       // logarithm of how much longer transfers take than predicted
	erred   time.Duration // when that was last seen
}

// by keeps apart what users' transfers taught. The zero value knows no user.
type by struct {
	user   uint32 // whose the link's taught is
	known  bool   // there is one
	others *recent.Map[uint32, taught]
	nobody taught // by measurements alone, which a new user begins with
}

// as makes what a user's transfers taught count from now on.
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

// measured takes a round-trip time from the kernel, which counts for all users.
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
