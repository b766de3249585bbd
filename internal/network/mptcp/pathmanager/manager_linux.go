package pathmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/network/mptcp/original"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// Policy decides about subflows. It is a *mam.Manager.
type Policy interface {
	ChooseSubflows(c mam.MultipathConn, now time.Time) ([]policy.Subflow, error)
	Late(c mam.MultipathConn, now time.Time) (bool, error)
	DecisionFor(local, remote netip.AddrPort, uid uint32, now time.Time) (mam.Record, bool)
	DecisionByInode(inode uint64, uid uint32) (mam.Record, bool)
	View() *mam.View
}

// Manager is a path manager. It belongs to the network namespace in which it was
// opened.
type Manager struct {
	log      *slog.Logger
	mode     mptcp.PathManager
	restore  mptcp.PathManager // path manager that was selected before; "": leave the present one
	mem      *memory
	selector *mptcp.Selector
	conn     *mptcp.Conn
	listener *mptcp.Listener   // mode Userspace
	diag     *mptcp.Diag       // mode Userspace
	changed  chan struct{}     // one slot; filled when networks or policy have changed
	reported chan uint16       // local ports in clients' reports
	keeper   *keeper           // mode InKernel
	steerer  *steerer          // mode Userspace
	original *original.Service // on the original's kernel, in mode Userspace; else nil
}

// Open makes the kernel use the given path manager for new connections, and prepares
// for its work. In the directory state it remembers what it sets up, and finds what an
// earlier run has left that did not end properly; "" stands for no directory. The error
// wraps mptcp.ErrUnsupported if the kernel is too old. The caller must call Run.
func Open(mode mptcp.PathManager, p Policy, state string, log *slog.Logger) (*Manager, error) {
	m := &Manager{
		log: log, mode: mode, mem: openMemory(state, log), changed: make(chan struct{}, 1), reported: make(chan uint16, 64),
	}
	if err := m.open(p); err != nil {
		_ = m.close()
		return nil, err
	}
	return m, nil
}

// TakeBack undoes what an earlier run in this namespace has left that did not end
// properly, if Open remembered it in the directory state. Otherwise TakeBack does
// nothing.
func TakeBack(state string, log *slog.Logger) error {
	if there, err := filepath.Glob(filepath.Join(state, "mptcp-*.json")); err != nil || len(there) == 0 {
		return nil // the usual case; a lock file would only be litter
	}
	m := &Manager{log: log, mem: openMemory(state, log)}
	err := m.takeBack()
	return errors.Join(err, m.close())
}

func (m *Manager) takeBack() (err error) {
	if m.mem.now.empty() {
		return nil
	}
	if m.conn, err = mptcp.Dial(); err != nil {
		return err
	}
	if err := m.endKeeper(); err != nil {
		return err
	}
	s := m.mem.now.Selected
	if s == nil {
		return nil
	}
	if m.selector, err = mptcp.OpenSelector(); err != nil {
		return err
	}
	m.mode, m.restore = s.Set, s.Before // for close
	return nil
}

// endKeeper undoes what a keeper has left.
func (m *Manager) endKeeper() error {
	if m.mem.now.Endpoints == nil && m.mem.now.Limits == nil {
		return nil
	}
	k, err := newKeeper(m.conn, nil, m.mem, m.log)
	if err != nil {
		return err
	}
	return k.end()
}

func (m *Manager) open(p Policy) (err error) {
	if m.mode == mptcp.Userspace {
		m.original, err = original.Open(p, m.log)
		if err != nil && !errors.Is(err, mptcp.ErrUnsupported) {
			m.log.Warn("this kernel's questions about MPTCP subflows are not answered", "err", err)
		}
	}
	m.conn, err = mptcp.Dial()
	if errors.Is(err, mptcp.ErrUnsupported) && m.original != nil {
		return nil // that kernel needs no further setup
	}
	if err != nil {
		return err
	}
	switch m.mode {
	case mptcp.InKernel:
		if m.keeper, err = newKeeper(m.conn, p, m.mem, m.log); err != nil {
			return err
		}
	case mptcp.Userspace:
		if err := m.endKeeper(); err != nil {
			return err
		}
		if m.listener, err = mptcp.Listen(); err != nil {
			return err
		}
		if m.diag, err = mptcp.OpenDiag(); err != nil {
			return err
		}
		m.steerer = newSteerer(m.conn, p, m.diag, m.log)
	default:
		return fmt.Errorf("unknown MPTCP path manager %q", m.mode)
	}
	if err := m.choose(); err != nil {
		return err
	}
	if m.keeper != nil {
		// This comes before there are connections, because the kernel forgets
		// connections that begin while it gets its first endpoints.
		m.syncKeeper()
	}
	return nil
}

// choose makes the kernel use the path manager of the mode.
func (m *Manager) choose() (err error) {
	m.selector, err = mptcp.OpenSelector()
	if errors.Is(err, mptcp.ErrUnsupported) && m.mode == mptcp.InKernel {
		return nil // the kernel has only this one
	}
	if err != nil {
		return err
	}
	now, err := m.selector.Selected()
	if err != nil {
		return err
	}
	before := now
	if s := m.mem.now.Selected; s != nil && s.Set == now {
		before = s.Before // the last run has not restored it
	}
	if before != m.mode {
		m.mem.note(func(r *remembered) { r.Selected = &changedSelector{Before: before, Set: m.mode} })
		m.restore = before
	}
	if now != m.mode {
		if err := m.selector.Select(m.mode); err != nil {
			m.restore = ""
			return err
		}
		m.log.Info("MPTCP path manager selected", "path_manager", m.mode, "before", now)
	}
	if before == m.mode {
		m.mem.note(func(r *remembered) { r.Selected = nil })
	}
	return nil
}

// close undoes what Open did.
func (m *Manager) close() error {
	var errs []error
	if m.keeper != nil {
		errs = append(errs, m.keeper.end())
	}
	if m.restore != "" {
		now, err := m.selector.Selected()
		if err == nil && now == m.mode { // another program's later choice is kept
			err = m.selector.Select(m.restore)
		}
		errs = append(errs, err)
		if err == nil {
			m.mem.note(func(r *remembered) { r.Selected = nil })
		}
	}
	if m.selector != nil {
		errs = append(errs, m.selector.Close())
	}
	if m.original != nil {
		errs = append(errs, m.original.Close())
	}
	if m.conn != nil {
		errs = append(errs, m.conn.Close())
	}
	if m.listener != nil {
		errs = append(errs, m.listener.Close())
	}
	if m.diag != nil {
		errs = append(errs, m.diag.Close())
	}
	errs = append(errs, m.mem.close())
	return errors.Join(errs...)
}

// PerConnection tells whether the policy is asked about each connection, and not once
// about all of them. Only then its vetoes hold for single connections.
func (m *Manager) PerConnection() bool { return m.mode == mptcp.Userspace }

// Without lists the networks for which the kernel has no room for an endpoint. It is
// safe for concurrent use.
func (m *Manager) Without() []policy.PrefixID {
	if m.keeper == nil {
		return nil
	}
	if list := m.keeper.without.Load(); list != nil {
		return *list
	}
	return nil
}

// Changed tells the Manager that the networks, the policy or the policy's configuration
// have changed. It does not block and is safe for concurrent use.
func (m *Manager) Changed() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Reported tells the Manager that a client has reported the outcome of a decision. It
// does not block and is safe for concurrent use. Reports in a burst may be dropped,
// which does no harm, because connections are matched by addresses too.
func (m *Manager) Reported(rec mam.Record) {
	if rec.Outcome == nil || rec.Outcome.LocalPort == 0 {
		return
	}
	select {
	case m.reported <- rec.Outcome.LocalPort:
	default:
	}
}

// Run does the work until ctx ends. Then it undoes what it has set up, and returns nil.
// Subflows that it has opened remain. Run may be called once.
func (m *Manager) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, m.close()) }()
	if m.mode == mptcp.InKernel {
		return m.runKeeper(ctx)
	}
	if m.original != nil {
		done := make(chan struct{})
		defer func() { <-done }()
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(done)
			if err := m.original.Run(ctx); err != nil {
				m.log.Warn("this kernel's questions about MPTCP subflows are not answered any more", "err", err)
			}
		}()
	}
	if m.steerer == nil {
		return m.runOriginal(ctx)
	}
	return m.runSteerer(ctx)
}

// runOriginal does the remaining work if only the original's family exists.
func (m *Manager) runOriginal(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
			m.original.Changed(time.Now())
		case <-m.reported: // ignored: that kernel names connections by their inode
		}
	}
}

// retry is the wait after the kernel refused something for a reason that may pass.
const retry = 5 * time.Second

func (m *Manager) runKeeper(ctx context.Context) error {
	timer := time.NewTimer(0) // fires at once
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
		case <-m.reported:
			continue
		case <-timer.C:
		}
		if !m.syncKeeper() {
			timer.Reset(retry)
		}
	}
}

// syncKeeper tells whether everything is as it should be.
func (m *Manager) syncKeeper() bool {
	err := m.keeper.sync(time.Now())
	if err != nil {
		m.log.Warn("MPTCP endpoints are not as they should be", "err", err)
	}
	return err == nil
}

func (m *Manager) runSteerer(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Events that come faster than they are handled wait in the socket. If its buffer
	// is full, they are lost, and then all connections are read again.
	events, overrun, ended := make(chan mptcp.Event), make(chan struct{}, 1), make(chan error, 1)
	overrun <- struct{}{} // makes the first reading
	go func() {
		ended <- m.listener.Run(ctx, func(e mptcp.Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		}, func() {
			select {
			case overrun <- struct{}{}:
			default:
			}
		})
	}()
	due := newAlarm()
	defer due.stop()
	watching := time.NewTimer(time.Hour)
	defer watching.Stop()
	var watched bool // watching runs
	for {
		if !watched && m.steerer.watches() {
			watched = true
			watching.Reset(watchEvery)
		}
		again := time.Duration(0)
		select {
		case <-watching.C:
			watched = false
			again = m.steerer.watch(time.Now())
		case err := <-ended:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-overrun:
			list, err := m.diag.Connections()
			if err != nil {
				m.log.Warn("MPTCP connections cannot be listed", "err", err)
				continue
			}
			again = m.steerer.adopt(list, time.Now())
		case e := <-events:
			m.log.Debug("MPTCP "+e.Type.String(), "token", e.Token, "local", e.Local, "remote", e.Remote, "local_id", e.LocalID, "errno", e.Error)
			again = m.steerer.handle(e, time.Now())
		case <-m.changed:
			again = m.steerer.changed(time.Now())
			if m.original != nil {
				m.original.Changed(time.Now())
			}
		case port := <-m.reported:
			again = m.steerer.reported(port, time.Now())
		case <-due.C:
			due.fired()
			again = m.steerer.syncAll(time.Now())
		}
		due.set(again)
	}
}
