package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/network/mptcp/pathmanager"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// openPathManager opens the MPTCP path manager that the configuration wants,
// nil for none.
func (d *Daemon) openPathManager(cfg *config.Config) (*pathmanager.Manager, error) {
	mode := mptcp.InKernel
	switch cfg.MPTCP.PathManager {
	case config.PathManagerOff:
		if err := pathmanager.TakeBack(StateDir(cfg.StateDirectory), d.log); err != nil {
			d.log.Warn("what the last run has set up for MPTCP stays in the kernel", "err", err)
		}
		return nil, nil
	case config.PathManagerUserspace:
		mode = mptcp.Userspace
	}
	m, err := pathmanager.Open(mode, d.manager, StateDir(cfg.StateDirectory), d.log)
	if err == nil {
		d.paths.Store(m)
	}
	return m, err
}

// pathInput is what MPTCP paths depend on of one prefix.
type pathInput struct {
	id     policy.PrefixID
	addr   netip.Addr
	state  policy.HealthState
	cost   policy.Cost
	device string
}

// repathLocked has the path manager look again if v, which was just published,
// differs in what matters to it from the View before.
func (d *Daemon) repathLocked(v *mam.View) {
	paths := d.paths.Load()
	if paths == nil {
		return
	}
	inputs := make([]pathInput, len(v.Prefixes))
	for i, p := range v.Prefixes {
		inputs[i] = pathInput{p.ID, p.Addr(), p.Health.State, p.Cost, v.Devices[p.ID]}
	}
	if v.Runner != d.pathRunner || !slices.Equal(inputs, d.pathInputs) {
		d.pathRunner, d.pathInputs = v.Runner, inputs
		paths.Changed()
	}
}

// reconfigured has the path manager ask a policy again that took a
// configuration string.
func (d *Daemon) reconfigured() {
	if paths := d.paths.Load(); paths != nil {
		paths.Changed()
	}
}

// noMultipath tells whether sockets for MPTCP are refused. It takes some
// microseconds.
func noMultipath() bool {
	on, err := mptcp.Enabled()
	return errors.Is(err, mptcp.ErrUnsupported) || err == nil && !on
}

// mptcpCounters reads the counters of the host.
func mptcpCounters() (mptcp.Counters, error) {
	r, err := mptcp.OpenCounters()
	if err != nil {
		return mptcp.Counters{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	return r.Read()
}

// multipath tells what is known of the host's MPTCP connections.
func (d *Daemon) multipath() (control.Multipath, error) {
	o, err := pathmanager.OpenObserver(d.manager)
	if err != nil {
		return control.Multipath{}, err
	}
	defer o.Close() //nolint:errcheck // only read
	s, err := o.Snapshot(time.Now())
	if err != nil {
		return control.Multipath{}, err
	}
	m := encodeMultipath(&s)
	if paths := d.paths.Load(); paths != nil {
		m.Managed, m.PerConnection = true, paths.PerConnection()
	}
	return m, nil
}

func encodeMultipath(s *pathmanager.Snapshot) control.Multipath {
	m := control.Multipath{
		PathManager: orNil(string(s.Selected)), Connections: []control.MultipathConn{}, Endpoints: []control.MultipathEndpoint{},
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

// plain shows an address without the form that IPv6 sockets have for IPv4.
func plain(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
