package client

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// spareLife is the age up to which a late decision is used. A decision describes one
// moment, and later networks may have changed.
const spareLife = 500 * time.Millisecond

// spareKey is the part of a question that its answer depends on.
type spareKey struct {
	typ, family   int32
	host, service string
	bound         netip.AddrPort
	intents       intent.Set
	origin        wire.Origin
	selection     SelectionProperties
}

// spare is an answer that came after its dial had gone plain. It serves the next dial
// of the same kind, and only one: a decision is for one connection.
type spare struct {
	answer   *wire.Message
	features wire.Features
	came     time.Time
}

func (t *target) spareKey(origin *wire.Origin) *spareKey {
	k := &spareKey{typ: t.typ, family: t.family, host: t.host, service: t.context().Service, bound: t.bound, intents: t.intents, selection: t.selection}
	if origin != nil {
		k.origin = *origin
	}
	return k
}

// keepSpareLocked keeps a late answer. The spares need no bound of their own, because
// the late answers within spareLife are bounded.
func (d *Daemon) keepSpareLocked(k spareKey, s spare) {
	for old := range d.spares {
		if s.came.Sub(d.spares[old].came) > spareLife {
			delete(d.spares, old)
		}
	}
	if d.spares == nil {
		d.spares = map[spareKey]spare{}
	}
	d.spares[k] = s
}

// takeSpare returns a fresh late answer to a question of the same kind, if there is
// one.
func (d *Daemon) takeSpare(k *spareKey, now time.Time) (spare, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.spares) == 0 {
		return spare{}, false
	}
	s, ok := d.spares[*k]
	delete(d.spares, *k)
	return s, ok && now.Sub(s.came) <= spareLife
}
