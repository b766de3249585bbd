package pathmanager

import (
	"errors"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Snapshot is the state of MPTCP on this host at one moment, for people.
type Snapshot struct {
	Time time.Time
	// Selected is the path manager for new connections; "" if the kernel has no choice.
	Selected    mptcp.PathManager
	Connections []ConnectionState
	// Endpoints and Limits belong to the in-kernel path manager.
	Endpoints []mptcp.Endpoint
	Limits    mptcp.Limits
	Counters  mptcp.Counters
}

// ConnectionState is a connection with what the daemon knows about it.
type ConnectionState struct {
	mptcp.Connection
	// Decision is the decision that led to the connection, nil if unknown.
	Decision *mam.Record
	// Prefixes are the prefixes of the Subflows at the same index; zero for a subflow
	// on no managed prefix.
	Prefixes []policy.PrefixID
}

// Observer takes Snapshots of the network namespace in which it was opened, whichever
// program manages paths there. It is safe for concurrent use.
type Observer struct {
	policy   Policy
	conn     *mptcp.Conn
	diag     *mptcp.Diag
	counters *mptcp.CounterReader
	selector *mptcp.Selector // nil: the kernel has a single path manager
}

// OpenObserver opens an Observer. The error wraps mptcp.ErrUnsupported if the
// kernel has no MPTCP.
func OpenObserver(p Policy) (*Observer, error) {
	o := &Observer{policy: p}
	err := o.open()
	if err != nil {
		_ = o.Close()
		return nil, err
	}
	return o, nil
}

func (o *Observer) open() (err error) {
	if o.conn, err = mptcp.Dial(); err != nil {
		return err
	}
	if o.diag, err = mptcp.OpenDiag(); err != nil {
		return err
	}
	if o.counters, err = mptcp.OpenCounters(); err != nil {
		return err
	}
	if o.selector, err = mptcp.OpenSelector(); errors.Is(err, mptcp.ErrUnsupported) {
		return nil
	}
	return err
}

// Close closes the Observer.
func (o *Observer) Close() error {
	var errs []error
	if o.conn != nil {
		errs = append(errs, o.conn.Close())
	}
	if o.diag != nil {
		errs = append(errs, o.diag.Close())
	}
	if o.counters != nil {
		errs = append(errs, o.counters.Close())
	}
	if o.selector != nil {
		errs = append(errs, o.selector.Close())
	}
	return errors.Join(errs...)
}

// Snapshot reads everything again. It walks all TCP connections of the host, so it is
// for people and not for loops. Recent kernels show endpoints only with CAP_NET_ADMIN;
// without it they are left out.
func (o *Observer) Snapshot(now time.Time) (Snapshot, error) {
	s := Snapshot{Time: now}
	list, err := o.diag.Connections()
	if err != nil {
		return s, err
	}
	view := o.policy.View()
	for _, c := range list {
		state := ConnectionState{Connection: c}
		for _, f := range c.Subflows {
			state.Prefixes = append(state.Prefixes, prefixOf(view, f.Local.Addr().Unmap()))
		}
		if uid, ok := c.Owner(); ok {
			if rec, ok := o.policy.DecisionFor(c.Local, c.Remote, uid, now); ok {
				state.Decision = &rec
			}
		}
		s.Connections = append(s.Connections, state)
	}
	s.Endpoints, _ = o.conn.Endpoints()
	s.Limits, _ = o.conn.Limits()
	if o.selector != nil {
		s.Selected, _ = o.selector.Selected()
	}
	s.Counters, err = o.counters.Read()
	return s, err
}

func prefixOf(v *mam.View, a netip.Addr) policy.PrefixID {
	for _, p := range v.Prefixes {
		for _, own := range p.Addrs {
			if own == a {
				return p.ID
			}
		}
	}
	return policy.PrefixID{}
}
