package resolve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"time"
)

// penalty is how long a silent server is asked only after the others.
const penalty = 30 * time.Second

// query asks the servers. It asks again for each alias whose addresses are missing in
// the answer.
func (r *Resolver) query(ctx context.Context, st *settings, q question) record {
	ctx, cancel := context.WithTimeout(ctx, maxLookup)
	defer cancel()
	c := chain{name: q.name, ttl: math.MaxUint32}
	for {
		rep, server, err := r.ask(ctx, st, c, q.qtype)
		if err != nil {
			return record{err: err}
		}
		c = rep.chain
		rec := record{addrs: rep.addrs, name: rep.name, server: server}
		if rep.missing != nil {
			rec.err = &Error{Server: server, NotFound: true, Err: rep.missing}
		} else if len(rep.addrs) == 0 {
			if c.steps >= maxAliases {
				return record{err: &Error{Server: server, Err: errAliases}}
			}
			continue
		}
		if rep.missing == nil || rep.remember {
			rec.expires = r.now().Add(time.Duration(rep.ttl) * time.Second)
		}
		return rec
	}
}

// ask sends one question to one server after another until one gives a usable reply.
// Silent servers are asked again, those that refuse are not.
func (r *Resolver) ask(ctx context.Context, st *settings, c chain, qtype uint16) (reply, netip.AddrPort, *Error) {
	servers := r.order(st)
	out := make([]bool, len(servers))
	fail := &Error{Err: errNoServer}
	if r.cfg.ResolvConf != "" {
		fail.Err = fmt.Errorf("%w in %s", errNoServer, r.cfg.ResolvConf)
	}
	for range st.attempts {
		for i, server := range servers {
			if out[i] {
				continue
			}
			msg, err := r.exchange(ctx, st, server, question{c.name, qtype})
			if ctx.Err() != nil {
				e := ended(ctx)
				e.Server = server
				return reply{}, server, e
			}
			if err != nil {
				fail = r.silent(st, server, err)
				out[i] = !fail.Timeout
				continue
			}
			r.answered(server)
			rep := readReply(msg, c, qtype)
			if rep.err == nil {
				return rep, server, nil
			}
			fail = &Error{Server: server, Temporary: rep.failure, Err: rep.err}
			out[i] = true
		}
	}
	return reply{}, netip.AddrPort{}, fail
}

// order returns the servers. Those that were silent lately come last.
func (r *Resolver) order(st *settings) []netip.AddrPort {
	n := len(st.servers)
	first := 0
	if st.rotate && n > 0 {
		first = int(r.turn.Add(1) % uint32(n))
	}
	now := r.now()
	good := make([]netip.AddrPort, 0, n)
	var bad []netip.AddrPort
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		server := st.servers[(first+i)%n]
		if since, ok := r.failing[server]; ok && now.Sub(since) < penalty {
			bad = append(bad, server)
		} else {
			good = append(good, server)
		}
	}
	return append(good, bad...)
}

// silent notes that a server gave no answer, and makes the error for it.
func (r *Resolver) silent(st *settings, server netip.AddrPort, err error) *Error {
	r.mu.Lock()
	// The map may still hold servers of old settings.
	if len(r.failing) >= 4*maxServers {
		clear(r.failing)
	}
	r.failing[server] = r.now()
	r.mu.Unlock()
	if isTimeout(err) {
		err = fmt.Errorf("no answer within %v: %w", st.timeout, os.ErrDeadlineExceeded)
		return &Error{Server: server, Timeout: true, Temporary: true, Err: err}
	}
	// The error around the cause repeats the server.
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return &Error{Server: server, Temporary: true, Err: err}
}

func (r *Resolver) answered(server netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failing, server)
}
