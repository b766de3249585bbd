package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/policy"
)

const (
	// routeRetry is the time between tries after changes to the routes have failed. It
	// can be long: the kernel mostly refuses because the networks have changed again,
	// and that is an event of its own.
	routeRetry = 5 * time.Second
	// firstPass is how long clients wait for the routes at the start. Work that takes
	// longer, such as removing what a killed daemon has left, goes on while clients are
	// served.
	firstPass = time.Second
	// lastPass bounds the removal of routes at the end. The next start removes what is
	// left.
	lastPass = 2 * time.Second
)

// kernelRoutes are the kernel's routes and rules that belong to mamma. Outside of tests
// it is a *routing.Kernel, whose methods describe it.
type kernelRoutes interface {
	Apply(context.Context, routing.Plan) (changes int, err error)
	Close()
}

// router keeps the kernel's routes as the configuration wants them.
type router struct {
	log     *slog.Logger
	kernel  kernelRoutes
	changed chan struct{} // one slot; filled when the networks or the configuration have changed
	// wanted returns the plan of what should exist now. After an error nothing should.
	wanted func() (routing.Plan, error)
	// others returns the rules of other programs that affect ours.
	others  func() []otherRule
	failing bool
	refused string      // why there is no plan, as last logged
	noted   []otherRule // as last logged
	shown   *routeState
}

// routeState is what is shown of the routes. It is safe for concurrent use.
type routeState struct {
	mu     sync.Mutex
	err    error // why they are not as they should be; nil if they are
	others []otherRule
}

func (s *routeState) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *routeState) noted(others []otherRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = others
}

// show is the state for the control socket.
func (s *routeState) show(managed bool) control.RoutingState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := control.RoutingState{Managed: managed, Others: []control.OtherRule{}}
	if s.err != nil {
		out.Error = orNil(s.err.Error())
	}
	for _, o := range s.others {
		out.Others = append(out.Others, control.OtherRule{Rule: o.network, Text: o.message})
	}
	return out
}

// otherRule is a message about a rule of another program, with the network and the rule
// that it concerns.
type otherRule struct{ message, network string }

// checkRouting returns an error for a configuration whose routes cannot be set up.
func checkRouting(cfg *config.Config) error {
	if cfg.Routing == config.RoutingManage && !routing.Capable() {
		return fmt.Errorf(`routing = "manage": %w`, routing.ErrCapability)
	}
	return nil
}

// openRouter makes the router. It returns nil if this process may not change routes; a
// nil router does nothing.
func openRouter(c *current, log *slog.Logger) (*router, error) {
	if !routing.Capable() {
		return nil, nil
	}
	k, err := routing.Open(0, log)
	if err != nil {
		return nil, err
	}
	tables := &routing.Tables{}
	return &router{
		log: log, kernel: k, changed: c.rerouted,
		wanted: func() (routing.Plan, error) { return planNow(tables, c) },
		others: func() []otherRule { return othersNow(c) }, shown: c.routed,
	}, nil
}

// othersNow returns the networks whose rules have no effect, or make rules of others
// ineffective.
func othersNow(c *current) []otherRule {
	managed, list, snapshot := c.networks()
	if !managed {
		return nil
	}
	var all []otherRule
	for _, p := range routing.Preceding(idsOf(list), snapshot) {
		all = append(all, otherRule{`routing = "manage" has no effect for a network, because a rule of another program comes before those of mamma; "mammactl doctor" says what to do`, p.String()})
	}
	for _, r := range routing.Refusals(idsOf(list), snapshot) {
		message := `a rule of another program, which refuses something, has no effect for a network, because routing = "manage" puts mamma's rules before it; "mammactl doctor" says what to do`
		if r.Leads {
			message = `a rule of another program, which leads some packets elsewhere, has no effect for a network, because routing = "manage" puts mamma's rules before it; "mammactl doctor" says what to do`
		}
		if r.Whole {
			message = `routing = "manage" leaves a network alone, because a rule of another program refuses the packets from it`
		}
		all = append(all, otherRule{message, r.String()})
	}
	return all
}

// planNow returns the plan of what should exist now. Unless routes are managed the plan
// is empty, so that carrying it out removes what a crashed daemon has left. The plan is
// made without c's lock and may be outdated at once. If so, c.rerouted has a value.
func planNow(t *routing.Tables, c *current) (routing.Plan, error) {
	managed, list, snapshot := c.networks()
	if !managed {
		return routing.Plan{}, nil
	}
	return planOf(t, list, snapshot)
}

// giveUp closes a router that has not changed anything.
func (r *router) giveUp() {
	if r != nil {
		r.kernel.Close()
	}
}

func planOf(t *routing.Tables, list []managed, snapshot *netmon.Snapshot) (routing.Plan, error) {
	return t.Plan(idsOf(list), snapshot)
}

func idsOf(list []managed) []policy.PrefixID {
	ids := make([]policy.PrefixID, len(list))
	for i := range list {
		ids[i] = list[i].prefix.ID
	}
	return ids
}

// plan returns the wanted plan, or an empty one if there is an error. Old rules would
// mislead traffic; without rules, sockets that need it are bound to their device.
func (r *router) plan() routing.Plan {
	p, err := r.wanted()
	switch {
	case err == nil:
		r.refused = ""
	case err.Error() != r.refused:
		r.refused = err.Error()
		r.shown.failed(err)
		r.log.Warn(`routing = "manage" is not carried out`, "err", err)
	}
	r.noteOthers()
	return p
}

// noteOthers logs how rules of other programs affect ours, each message once. It
// changes nothing, because the owner of such a rule may mean it.
func (r *router) noteOthers() {
	now := r.others()
	for _, o := range now {
		if !slices.Contains(r.noted, o) {
			r.log.Warn(o.message, "network", o.network)
		}
	}
	r.noted = now
	r.shown.noted(now)
}

// apply carries out a plan, and tells whether all of it succeeded. It logs the first of
// several failures in a row.
func (r *router) apply(ctx context.Context, plan routing.Plan) bool {
	_, err := r.kernel.Apply(ctx, plan)
	r.note(ctx, err)
	return err == nil
}

// note logs the result of a pass, unless the pass was cancelled.
func (r *router) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if r.refused == "" {
		r.shown.failed(err)
	}
	if err != nil && !r.failing {
		r.log.Warn("routes not as they should be; trying again", "err", err)
	}
	r.failing = err != nil
}

// begin carries out the plan at the start. It returns after a bounded time, so that
// clients need not wait long.
func (r *router) begin(ctx context.Context) {
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstPass)
	defer cancel()
	r.apply(ctx, r.plan())
}

// routePass is the carrying out of one plan.
type routePass struct {
	plan   routing.Plan
	cancel context.CancelFunc
	done   chan struct{} // closed when the pass has ended
	err    error         // valid after done is closed
}

func (r *router) start(ctx context.Context, plan routing.Plan) *routePass {
	ctx, cancel := context.WithCancel(ctx)
	p := &routePass{plan: plan, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_, p.err = r.kernel.Apply(ctx, plan)
	}()
	return p
}

// giveUp cancels the pass and waits for its end.
func (p *routePass) giveUp() {
	p.cancel()
	<-p.done
}

// run carries out the wanted plan after each change until ctx ends, and then removes
// everything. It cancels a pass whose plan is outdated. A pass whose plan is still
// wanted runs to its end, and the wanted plan is looked at once more after that. The
// kernel's events about our own changes therefore do not restart a pass.
func (r *router) run(ctx context.Context) error {
	if r == nil {
		return nil
	}
	defer r.kernel.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	p := &routePass{} // done == nil means that no pass is running
	again := false
	for {
		select {
		case <-ctx.Done():
			if p.done != nil {
				p.giveUp()
			}
			return r.end()
		case <-r.changed:
		case <-timer.C:
		case <-p.done:
			p.cancel()
			r.note(ctx, p.err)
			timer.Reset(longWait)
			if p.err != nil {
				timer.Reset(routeRetry)
			}
			p = &routePass{}
			if !again {
				continue
			}
		}
		plan := r.plan()
		if p.done != nil {
			if again = plan.Equal(p.plan); again {
				continue
			}
			p.giveUp()
		}
		again = false
		p = r.start(ctx, plan)
	}
}

// end removes all of mamma's routes and rules.
func (r *router) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastPass)
	defer cancel()
	r.failing = false
	if !r.apply(ctx, routing.Plan{}) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.log.Warn("routes and rules are left behind, as their removal takes too long; the next start removes them")
	}
	return nil
}
