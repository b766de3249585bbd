package pathmanager

import (
	"errors"
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Snapshot is what is known of MPTCP on this host at one moment, for people.
type Snapshot struct {
	Time time.Time
	// Selected is the path manager that new connections get; "" if there is no
	// choice.
	Selected    mptcp.PathManager
	Connections []ConnectionState
	// Endpoints and Limits are those of the in-kernel path manager.
	Endpoints []mptcp.Endpoint
	Limits    mptcp.Limits
	Counters  mptcp.Counters
}

// ConnectionState is a connection with what is known of it here.
type ConnectionState struct {
	mptcp.Connection
	// Decision is what it was opened by, nil if that is not known.
	Decision *mam.Record
	// Prefixes are those that the Subflows, at the same index, run on; zero
	// where none is managed.
	Prefixes []policy.PrefixID
}

// Observer takes Snapshots of the network namespace that it was opened in,
// whatever manages paths there. It is safe for concurrent use.
type Observer struct {
	policy   Policy
	conn     *mptcp.Conn
	diag     *mptcp.Diag
	counters *mptcp.CounterReader
	selector *mptcp.Selector // nil: the kernel has one path manager only
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

// Snapshot reads everything anew. It walks all TCP connections of the host:
// it is for people, not for loops. Endpoints need CAP_NET_ADMIN on recent kernels; where they
// may not be read they are left out.
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
