package scopes

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/process/cgroup"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/scopes/pins"
)

// pinsOf returns the directory for links, or "" if links are not to be kept.
func pinsOf(p config.Placing) string {
	switch p.Pins {
	case "":
		return pins.Default
	case config.Off:
		return ""
	}
	return p.Pins
}

// rootOf returns the control group below which scopes are looked for.
func rootOf(p config.Placing) (string, error) {
	if p.Root != "" {
		return p.Root, nil
	}
	return cgroup.Mount()
}

// open loads the kernel's part, and begins to watch the control groups.
func (e *Engine) open() (err error) {
	root, err := rootOf(e.placing)
	if err != nil {
		return err
	}
	if e.table, err = e.loadOrReset(); err != nil {
		return err
	}
	if err := e.downs.use(e.table); err != nil {
		_ = e.close(false)
		return err
	}
	e.answers, e.retired = newAnswers(), [2]retired{}
	e.aside = map[netip.Prefix]bool{}
	e.classes, e.groups, e.where, e.full = map[string]*class{}, map[uint64]*class{}, map[string]uint64{}, map[string]uint64{}
	e.events, e.stop = make(chan hook.Event, backlog), make(chan struct{})
	if e.tree, err = openTree(root); err != nil {
		_ = e.close(false)
		return err
	}
	if e.own = ""; !e.table.KnowsProcess() {
		e.own = cgroup.Own()
	}
	tree, table, events, stop := e.tree, e.table, e.events, e.stop
	e.wait.Go(func() { tree.run(stop) })
	e.wait.Go(func() { e.read(table, events, stop) })
	return nil
}

// loadOrReset returns a table without entries.
func (e *Engine) loadOrReset() (*hook.Table, error) {
	if e.spare == nil {
		return e.load()
	}
	t := e.spare
	if err := t.Reset(); err != nil {
		return nil, err
	}
	e.spare = nil
	return t, nil
}

// giveUp gives up rights that only loading needs.
func (e *Engine) giveUp() {
	if e.opts.Shed == nil || e.shed {
		return
	}
	if err := e.opts.Shed(e.table); err != nil {
		e.log.Debug("rights that only loading needs are kept", "err", err)
		return
	}
	e.shed = true
	e.log.Debug("rights that only loading needs are given up")
}

// attach makes the kernel run the programs, which follow the maps.
func (e *Engine) attach() error {
	if err := e.table.Hold(hold); err != nil {
		return err
	}
	a, err := e.table.Attach(e.tree.root, pinsOf(e.placing), e.placing.Measure)
	if errors.Is(err, pins.ErrUnusable) && !errors.Is(err, pins.ErrInUse) {
		e.log.Warn("connections of scopes are not placed while mamma does not run", "err", err)
		a, err = e.table.Attach(e.tree.root, "", e.placing.Measure)
	}
	if err != nil {
		return err
	}
	e.attachment = a
	e.useMultipath()
	e.log.Info("placing connections of scopes", "scopes", len(e.scopes), "hooks", a.Hooks(), "cgroup", e.tree.root, "kept", a.Kept(), "measured", a.Measures())
	if err := e.table.Unmeasured(); err != nil && e.placing.Measure {
		e.log.Warn("the kernel does not report by itself how connections fare, so its list of them is read", "err", err)
	}
	e.giveUp()
	if a.Measures() {
		e.measured.set(e.table)
	}
	if missing := e.table.Missing(); len(missing) > 0 {
		e.log.Warn("this kernel lacks hooks: datagrams of sockets that are not connected are not placed", "hooks", missing)
	}
	return nil
}

// close detaches the programs, or leaves them to the next run if keep is set.
func (e *Engine) close(keep bool) error {
	var err error
	if e.attachment != nil {
		if keep && e.attachment.Kept() {
			e.attachment.Close()
		} else {
			err = e.attachment.Detach()
		}
		e.attachment = nil
	}
	if e.stop != nil {
		close(e.stop)
		e.stop = nil
	}
	if e.tree != nil {
		e.tree.close()
	}
	if e.table != nil {
		_ = e.downs.use(nil)
		e.measured.set(nil)
		e.table.Stop()
	}
	e.wait.Wait()
	switch {
	case e.table == nil:
	case e.shed:
		e.spare = e.table
	default:
		e.table.Close()
	}
	e.tree, e.table, e.events = nil, nil, nil
	return err
}

// end is the end of Run: it closes everything and answers those who still wait.
func (e *Engine) end() {
	e.held()
	if err := e.close(e.placing.Keep); err != nil {
		e.log.Warn("what places connections of scopes stays attached", "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = false
	for _, d := range e.detach {
		d <- nil
	}
	for _, a := range e.asked {
		a <- State{}
	}
	e.detach, e.asked = nil, nil
}

// followHost tells the kernel's programs what the host's operator has changed.
func (e *Engine) followHost() {
	if e.table == nil {
		return
	}
	if err := e.table.Follow(); err != nil {
		e.problem("settings of the host", err)
	}
}

// useMultipath makes the kernel make sockets of Multipath TCP, if some scope wants that.
func (e *Engine) useMultipath() {
	if e.single = nil; !slices.ContainsFunc(e.scopes, func(s *scope) bool { return s.MPTCP }) {
		e.attachment.DetachMultipath()
		return
	}
	err := e.table.LoadMultipath()
	if err == nil {
		err = e.attachment.AttachMultipath(e.table)
	}
	if err != nil && e.shed {
		err = fmt.Errorf("mamma has given up the rights for it, so it has to be started anew: %w", err)
	}
	if err != nil {
		e.attachment.DetachMultipath()
		e.log.Warn("scopes with mptcp = true use TCP, because the kernel cannot make sockets of Multipath TCP for them", "err", err)
	}
	e.single = err
}
