package adaptive

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// maxHosts bounds the destinations remembered per user.
const maxHosts = 256

// hostKey is a destination: a name, or an address if there is no name, and a port.
type hostKey struct {
	name string
	port uint16
}

func keyOf(r *policy.Request) hostKey {
	k := hostKey{r.Host, r.Port}
	if k.name == "" && r.Remote.IsValid() {
		k.name = r.Remote.Addr().String()
		k.port = r.Remote.Port()
	}
	return k
}

// host is what is remembered of a destination.
type host struct {
	sizes
	// windows are the windows that the latest few connections have opened, each on its
	// prefix.
	windows [4]window
}

type window struct {
	prefix policy.PrefixID
	bytes  float64
	at     time.Duration // in the link's time
}

// sizes are what is known about the sizes of transfers: the mean of those that stated
// none, and the error of those that stated one.
type sizes struct {
	mean   float64 // of transfers without a size, bytes
	count  float64 // number of those, up to memory
	factor float64 // logarithm of the true size divided by the stated one
	stated float64 // number of transfers with a stated size, up to memory
}

// memory is the number of transfers over which sizes are averaged, so that older ones
// fade.
const memory = 12

// learn takes the true size of a transfer, and the size that was stated, 0 if none was.
func (s *sizes) learn(bytes, stated float64) {
	if stated > 0 {
		s.stated = min(s.stated+1, memory)
		s.factor += (math.Log(max(bytes, 1)/stated) - s.factor) / s.stated
		return
	}
	s.count = min(s.count+1, memory)
	s.mean += (bytes - s.mean) / s.count
}

// wrong is the factor below which a stated size counts as right. Applications leave out
// headers and what a connection needs.
const wrong = 1.5

// correct returns the true size that a stated size probably means.
func (s *sizes) correct(size float64) float64 {
	if s.stated < 1 || math.Abs(s.factor) < math.Log(wrong) {
		return size
	}
	return size * math.Exp(s.factor)
}

// needOf makes the need of a request, with what is known about its destination.
func (u *lore) needOf(r *policy.Request) need {
	n := needOf(r.Intents)
	k := keyOf(r)
	h, ok := u.hosts.Get(k)
	if !ok {
		h = &host{}
		u.hosts.Put(k, h)
	}
	n.host = h
	n.stated = n.size
	switch {
	case n.sure && h.stated > 0:
		n.size = h.correct(n.size)
	case n.sure:
		n.size = u.sizes.correct(n.size)
	case n.kind:
	case h.count > 0:
		n.size = h.mean
	case u.sizes.count > 0:
		n.size = u.sizes.mean
	}
	return n
}

// opened notes how far a connection has opened its window.
func (h *host) opened(id policy.PrefixID, bytes float64, at time.Duration) {
	oldest := 0
	for i := range h.windows {
		if h.windows[i].prefix == id {
			oldest = i
			break
		}
		if h.windows[i].at < h.windows[oldest].at {
			oldest = i
		}
	}
	h.windows[oldest] = window{id, bytes, at}
}

// windowOf returns what is left of the window of idle connections. Senders halve it for
// every retransmission timeout in which nothing was sent (RFC 5681 section 4.1).
func (h *host) windowOf(id policy.PrefixID, now, rtt time.Duration) float64 {
	for i := range h.windows {
		w := &h.windows[i]
		if w.prefix != id || w.bytes == 0 {
			continue
		}
		timeouts := float64(now-w.at) / float64(rtt+200*time.Millisecond)
		return w.bytes / math.Exp2(math.Floor(max(0, timeouts)))
	}
	return 0
}
