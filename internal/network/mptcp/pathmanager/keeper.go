package pathmanager

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// endpoints is the part of the kernel that a keeper needs. It is a *mptcp.Conn.
type endpoints interface {
	Endpoints() ([]mptcp.Endpoint, error)
	AddEndpoint(mptcp.Endpoint) error
	DeleteEndpoint(id uint8) error
	SetFlags(mptcp.Endpoint) error
	Limits() (mptcp.Limits, error)
	SetLimits(mptcp.Limits) error
}

// keeper keeps the endpoints of the in-kernel path manager equal to the prefixes that
// the policy wants to be used. It is not safe for concurrent use.
type keeper struct {
	kernel endpoints
	policy Policy
	log    *slog.Logger
	mem    *memory
	told   *mam.Runner // the policy for which the log has the limits of this mode
	// own are the endpoints that the keeper has added, by address. All other endpoints
	// belong to other programs.
	own map[netip.Addr]mptcp.Endpoint
	// before are the limits that were found, raised those that were set instead. They
	// are equal if nothing was changed.
	before, raised mptcp.Limits
	// without are the networks for which the kernel has no room for an endpoint. Other
	// goroutines read it.
	without atomic.Pointer[[]policy.PrefixID]
}

// newKeeper makes a keeper that owns the endpoints in mem, if they still exist.
func newKeeper(kernel endpoints, p Policy, mem *memory, log *slog.Logger) (*keeper, error) {
	k := &keeper{kernel: kernel, policy: p, mem: mem, log: log, own: map[netip.Addr]mptcp.Endpoint{}}
	if len(mem.now.Endpoints) > 0 {
		list, err := kernel.Endpoints()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if slices.ContainsFunc(mem.now.Endpoints, func(o ownEndpoint) bool { return o.is(e) }) {
				k.own[e.Addr] = e
				log.Info("MPTCP endpoint of the last run is there", "addr", e.Addr, "id", e.ID)
			}
		}
		k.remember()
	}
	if l := mem.now.Limits; l != nil {
		now, err := kernel.Limits()
		if err != nil {
			return nil, err
		}
		if now == l.Set {
			k.before, k.raised = l.Before, l.Set
		} else {
			mem.note(func(r *remembered) { r.Limits = nil }) // another program has changed them since
		}
	}
	return k, nil
}

// remember stores which endpoints are ours, and which are about to be.
func (k *keeper) remember(more ...mptcp.Endpoint) {
	k.mem.note(func(r *remembered) {
		r.Endpoints = nil
		for _, e := range append(slices.Collect(maps.Values(k.own)), more...) {
			r.Endpoints = append(r.Endpoints, ownEndpoint{ID: e.ID, Addr: e.Addr, Flags: e.Flags, Index: e.Index})
		}
		slices.SortFunc(r.Endpoints, func(a, b ownEndpoint) int { return a.Addr.Compare(b.Addr) })
	})
}

// sync makes the endpoints those that the policy wants. After an error it still does
// everything else.
func (k *keeper) sync(now time.Time) error {
	chosen, err := k.policy.ChooseSubflows(mam.MultipathConn{}, now)
	if err != nil {
		return err
	}
	present, err := k.present()
	if err != nil {
		return err
	}
	wanted := map[netip.Addr]mptcp.Endpoint{}
	networks := map[netip.Addr]policy.PrefixID{}
	var order []netip.Addr
	view := k.policy.View()
	if r := view.Runner; r != nil && r != k.told && r.ChoosesSubflows() {
		k.told = r
		k.log.Info("the kernel opens MPTCP subflows on all connections alike: the policy cannot veto those of a single one",
			"policy", r.Name, "with_vetoes", `path_manager = "userspace"`)
	}
	for _, s := range chosen {
		e := endpoint(view, s)
		wanted[e.Addr], networks[e.Addr] = e, s.Prefix.ID
		order = append(order, e.Addr)
	}
	var errs []error
	for addr, e := range k.own {
		if w, ok := wanted[addr]; !ok || w.Index != e.Index {
			errs = append(errs, k.remove(e, present))
		}
	}
	var without []policy.PrefixID
	for _, addr := range order {
		w := wanted[addr]
		own, ours := k.own[addr]
		there, found := present[addr]
		switch {
		case ours && own.Flags != w.Flags:
			w.ID = own.ID
			if err := k.kernel.SetFlags(w); err != nil {
				errs = append(errs, err)
				continue
			}
			k.own[addr] = w
			k.remember()
		case ours:
		case found && there.Flags&mptcp.FlagImplicit == 0:
			// It belongs to another program.
		default:
			err := k.add(w)
			if errors.Is(err, mptcp.ErrFull) {
				without, err = append(without, networks[addr]), nil
			}
			errs = append(errs, err)
		}
	}
	k.tell(without)
	errs = append(errs, k.limits())
	return errors.Join(errs...)
}

// tell stores which networks have no endpoint, and logs a change.
func (k *keeper) tell(without []policy.PrefixID) {
	before := k.without.Swap(&without)
	if before != nil && slices.Equal(*before, without) || before == nil && len(without) == 0 {
		return
	}
	if len(without) == 0 {
		k.log.Info("all networks have MPTCP endpoints again")
		return
	}
	k.log.Warn("the kernel has room for no more MPTCP endpoints: connections get no subflows over some networks",
		"without", without, "most", mptcp.MaxEndpoints, "all_networks", `path_manager = "userspace"`)
}

// endpoint returns the endpoint that a chosen subflow needs.
func endpoint(v *mam.View, s policy.Subflow) mptcp.Endpoint {
	e := mptcp.Endpoint{Addr: s.Prefix.Addr(), Flags: mptcp.FlagSubflow}
	if s.Backup {
		e.Flags |= mptcp.FlagBackup
	}
	if v.Devices[s.Prefix.ID] != "" { // the source address alone does not select the interface
		e.Index = s.Prefix.Index
	}
	return e
}

// present lists the existing endpoints. It also forgets own ones that another program
// has deleted or replaced.
func (k *keeper) present() (map[netip.Addr]mptcp.Endpoint, error) {
	list, err := k.kernel.Endpoints()
	if err != nil {
		return nil, err
	}
	present := map[netip.Addr]mptcp.Endpoint{}
	for _, e := range list {
		present[e.Addr] = e
	}
	for addr, own := range k.own {
		if e, ok := present[addr]; !ok || e.ID != own.ID {
			delete(k.own, addr)
		}
	}
	k.remember()
	return present, nil
}

// add adds an endpoint and finds out its ID.
func (k *keeper) add(e mptcp.Endpoint) error {
	k.remember(e) // before its ID is known, which the kernel chooses
	if err := k.kernel.AddEndpoint(e); err != nil {
		k.remember()
		return err
	}
	list, err := k.kernel.Endpoints()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(o mptcp.Endpoint) bool { return o.Addr == e.Addr })
	if i < 0 {
		return fmt.Errorf("MPTCP endpoint %v was added but is not there", e.Addr)
	}
	e.ID = list[i].ID
	k.own[e.Addr] = e
	k.remember()
	k.log.Debug("MPTCP endpoint added", "addr", e.Addr, "id", e.ID, "flags", e.Flags)
	return nil
}

// remove deletes an endpoint of ours.
func (k *keeper) remove(e mptcp.Endpoint, present map[netip.Addr]mptcp.Endpoint) error {
	if err := k.kernel.DeleteEndpoint(e.ID); err != nil {
		return err
	}
	delete(k.own, e.Addr)
	delete(present, e.Addr)
	k.remember()
	k.log.Debug("MPTCP endpoint deleted", "addr", e.Addr, "id", e.ID)
	return nil
}

// limits raises the number of subflows, 2 by default, to what the endpoints need. It is
// lowered again only at the end.
func (k *keeper) limits() error {
	list, err := k.kernel.Endpoints()
	if err != nil {
		return err
	}
	var need uint32
	for _, e := range list {
		if e.Flags&mptcp.FlagSubflow != 0 {
			need++
		}
	}
	need = min(need, mptcp.MaxSubflows)
	l, err := k.kernel.Limits()
	if err != nil || len(k.own) == 0 || l.Subflows >= need {
		return err
	}
	if l != k.raised || k.raised == k.before {
		k.before = l
	}
	k.raised = mptcp.Limits{AddAddrs: l.AddAddrs, Subflows: need}
	k.mem.note(func(r *remembered) { r.Limits = &changedLimits{Before: k.before, Set: k.raised} })
	return k.kernel.SetLimits(k.raised)
}

// end undoes what was set up.
func (k *keeper) end() error {
	present, err := k.present()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range k.own {
		errs = append(errs, k.remove(e, present))
	}
	if k.raised != k.before {
		// If another program has changed the limits since, they are left alone.
		if l, err := k.kernel.Limits(); err == nil && l == k.raised {
			err = k.kernel.SetLimits(k.before)
			errs = append(errs, err)
			if err != nil {
				return errors.Join(errs...)
			}
		}
		k.mem.note(func(r *remembered) { r.Limits = nil })
	}
	return errors.Join(errs...)
}
