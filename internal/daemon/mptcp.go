package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/network/mptcp/pathmanager"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// paths keeps the MPTCP path manager informed about published Views. Calls of published
// must not overlap, nor must those of look. The other methods are safe for concurrent use.
type paths struct {
	log     *slog.Logger
	manager atomic.Pointer[pathmanager.Manager] // nil: MPTCP paths are not managed
	refused atomic.Bool                         // the kernel refuses sockets for MPTCP
	looked  time.Time                           // when look read that

	// The state that the path manager has last been told.
	runner *mam.Runner
	inputs []pathInput
}

// pathInput is the part of a prefix that MPTCP paths depend on.
type pathInput struct {
	id     policy.PrefixID
	addr   netip.Addr
	state  policy.HealthState
	cost   policy.Cost
	device string
}

// open opens the path manager, if the configuration asks for one. Then run must be
// called.
func (p *paths) open(cfg *config.Config, decide pathmanager.Policy) error {
	mode, state := mptcp.InKernel, StateDir(cfg.StateDirectory)
	switch cfg.MPTCP.PathManager {
	case config.PathManagerOff:
		if err := pathmanager.TakeBack(state, p.log); err != nil {
			p.log.Warn("what the last run has set up for MPTCP stays in the kernel", "err", err)
		}
		return nil
	case config.PathManagerUserspace:
		mode = mptcp.Userspace
	}
	m, err := pathmanager.Open(mode, decide, state, p.log)
	if err != nil {
		return err
	}
	p.manager.Store(m)
	return nil
}

// run manages paths until ctx ends, and then undoes what was set up.
func (p *paths) run(ctx context.Context) error {
	if m := p.manager.Load(); m != nil {
		return m.Run(ctx)
	}
	return nil
}

// published tells the path manager to look again if v, which was just published,
// differs from the View before in a way that matters to paths. Calls must not overlap.
func (p *paths) published(v *mam.View) {
	m := p.manager.Load()
	if m == nil {
		return
	}
	inputs := make([]pathInput, len(v.Prefixes))
	for i, x := range v.Prefixes {
		inputs[i] = pathInput{x.ID, x.Addr(), x.Health.State, x.Cost, v.Devices[x.ID]}
	}
	if v.Runner != p.runner || !slices.Equal(inputs, p.inputs) {
		p.runner, p.inputs = v.Runner, inputs
		m.Changed()
	}
}

// reconfigured makes the path manager ask the policy again, after the policy took a
// configuration string.
func (p *paths) reconfigured() {
	if m := p.manager.Load(); m != nil {
		m.Changed()
	}
}

// reported passes a client's report to the path manager.
func (p *paths) reported(rec mam.Record) {
	if m := p.manager.Load(); m != nil {
		m.Reported(rec)
	}
}

// lookEvery is the least time between two readings of net.mptcp.enabled.
const lookEvery = time.Second

// look finds out whether the kernel now refuses sockets for MPTCP. An administrator may
// switch MPTCP off at any time, and no event tells. look reads a file, which takes a tenth
// of the daemon's time if each measurement does so, and therefore it does so once a second.
// Calls must not overlap.
func (p *paths) look(now time.Time) {
	if now.Sub(p.looked) < lookEvery {
		return
	}
	p.looked = now
	on, err := mptcp.Enabled()
	p.refused.Store(errors.Is(err, mptcp.ErrUnsupported) || err == nil && !on)
}

// multipath returns what is known about the host's MPTCP connections.
func (p *paths) multipath(decide pathmanager.Policy) (control.Multipath, error) {
	o, err := pathmanager.OpenObserver(decide)
	if err != nil {
		return control.Multipath{}, err
	}
	defer o.Close() //nolint:errcheck // only read
	s, err := o.Snapshot(time.Now())
	if err != nil {
		return control.Multipath{}, err
	}
	m := encodeMultipath(&s)
	if manager := p.manager.Load(); manager != nil {
		m.Managed, m.PerConnection = true, manager.PerConnection()
		for _, id := range manager.Without() {
			m.Without = append(m.Without, control.PrefixRef{Prefix: id.Prefix.String(), Interface: id.Interface})
		}
	}
	return m, nil
}

// mptcpCounters reads the host's MPTCP counters.
func mptcpCounters() (mptcp.Counters, error) {
	r, err := mptcp.OpenCounters()
	if err != nil {
		return mptcp.Counters{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	return r.Read()
}

func encodeMultipath(s *pathmanager.Snapshot) control.Multipath {
	m := control.Multipath{
		PathManager: orNil(string(s.Selected)), Connections: []control.MultipathConn{}, Endpoints: []control.MultipathEndpoint{}, Without: []control.PrefixRef{},
		Counters: control.MultipathCounters{
			Opened: s.Counters.Opened, Accepted: s.Counters.Accepted, NoPeer: s.Counters.NoPeer, Fallbacks: s.Counters.Fallbacks,
			JoinsSent: s.Counters.JoinsSent, JoinsReceived: s.Counters.JoinsReceived,
		},
	}
	for _, c := range s.Connections {
		out := control.MultipathConn{
			Token: c.Token.String(), Local: plain(c.Local), Remote: plain(c.Remote), UID: c.UID, Fallback: c.Fallback, Server: c.Server,
			Sent: c.Sent, Received: c.Received, Subflows: []control.MultipathSubflow{},
		}
		if c.Decision != nil {
			out.Decision, out.Host = &c.Decision.Seq, orNil(c.Decision.Host)
		}
		for i, f := range c.Subflows {
			sub := control.MultipathSubflow{
				Local: plain(f.Local), Remote: plain(f.Remote), First: f.First, Backup: f.Backup, Established: f.Established,
				Sent: f.Sent, Received: f.Received,
			}
			if id := c.Prefixes[i]; id.Interface != "" {
				sub.Prefix, sub.Interface = orNil(id.Prefix.String()), &id.Interface
			}
			if f.RTT > 0 {
				ms := float64(f.RTT) / 1000
				sub.RTTMS = &ms
			}
			out.Subflows = append(out.Subflows, sub)
		}
		m.Connections = append(m.Connections, out)
	}
	for _, e := range s.Endpoints {
		m.Endpoints = append(m.Endpoints, control.MultipathEndpoint{ID: int(e.ID), Addr: e.Addr.String(), Flags: strings.Fields(e.Flags.String())})
	}
	return m
}

// plain formats an address. An IPv4-mapped address is shown as an IPv4 address.
func plain(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
