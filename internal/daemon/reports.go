package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/health"
	"github.com/socket-intents/mamma/internal/userid"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// slowRTT is the round-trip time from which a prefix is slow by nature. A connect that
// takes longer than the attempt delay (RFC 8305 section 8) then proves nothing.
const slowRTT = 200 * time.Millisecond

// connects returns what a report says about prefixes. Clients report each failed
// attempt and the one that won. A failure alone may be the fault of the destination. A
// failure while another prefix succeeded counts against the prefix. Users whom the
// kernel does not tell apart are left out, because one of them must not speak for the
// others.
func connects(rec *mam.Record) []health.Connect {
	o := rec.Outcome
	if o == nil || rec.Decision.Prefix == nil || rec.Reused || rec.Bound.IsValid() || !userid.Known(rec.App.UID) {
		return nil
	}
	candidates := append([]*policy.Prefix{rec.Decision.Prefix}, rec.Decision.Alternates...)
	remote := rec.Host
	if rec.Remote.IsValid() {
		remote = rec.Remote.Addr().String()
	}
	about := func(p *policy.Prefix) health.Connect {
		return health.Connect{Prefix: p.ID, UID: rec.App.UID, Remote: remote}
	}
	n := int(o.Candidate)
	if n >= len(candidates) || n < -1 {
		return nil
	}
	if o.Errno != 0 {
		c := health.Connect{}
		if n >= 0 {
			c = about(candidates[n])
		}
		switch unix.Errno(o.Errno) {
		case unix.ECONNREFUSED, unix.ECONNRESET: // the destination has answered, so the network works
			c.OK = true
		case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// If there were alternates, the report about the winner says more.
			if len(candidates) > 1 {
				return nil
			}
		default:
			return nil
		}
		if n < 0 {
			return nil
		}
		return []health.Connect{c}
	}
	lost := candidates // a plain dial is tried last
	var out []health.Connect
	if n >= 0 {
		lost = candidates[:n]
		c := about(candidates[n])
		c.OK = true
		out = append(out, c)
	}
	for _, p := range lost {
		if p.Stats.SRTTMin > slowRTT {
			continue
		}
		c := about(p)
		c.Elsewhere = true
		out = append(out, c)
	}
	return out
}
