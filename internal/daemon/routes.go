package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/policy"
)

const (
	// routeRetry is how long to wait after changes to the routes failed. Mostly
	// the kernel refuses because the networks have changed again, which is an event.
	routeRetry = 5 * time.Second
	// firstPass is how long clients wait for the routes at the start. What takes
	// longer, such as removing what a killed daemon has left, goes on beside them.
	firstPass = time.Second
	// lastPass bounds the removal at the end. What is left then, the next start
	// removes.
	lastPass = 2 * time.Second
)

// kernelRoutes are the kernel's routes and rules as far as they are ours: a
// *routing.Kernel, described there.
type kernelRoutes interface {
	Apply(context.Context, routing.Plan) (changes int, err error)
	Close()
}

// router keeps the kernel's routes as the configuration wants them.
type router struct {
	log     *slog.Logger
	kernel  kernelRoutes
	changed chan struct{} // one slot: the networks or the configuration
	// wanted is what should be there now; nothing if it is an error.
	wanted func() (routing.Plan, error)
	// others are what rules of others have to do with ours.
	others  func() []otherRule
	failing bool
	refused string      // why there is no plan, as logged last
	noted   []otherRule // as logged last
}

// otherRule is something to say about a rule of somebody else, and the network and rule that it is
// about.
type otherRule struct{ message, network string }

// checkRouting refuses a configuration that cannot be carried out.
func checkRouting(cfg *config.Config) error {
	if cfg.Routing == config.RoutingManage && !routing.Capable() {
		return fmt.Errorf(`routing = "manage": %w`, routing.ErrCapability)
	}
	return nil
}

// openRouter makes the router; nil, which does nothing, where this process may not
// change routes.
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
		others: func() []otherRule { return othersNow(c) },
	}, nil
}

// othersNow are the networks whose rules do not hold, or make others not hold.
func othersNow(c *current) []otherRule {
	managed, list, snapshot := c.networks()
	if !managed {
		return nil
	}
	var all []otherRule
	for _, p := range routing.Preceding(idsOf(list), snapshot) {
		all = append(all, otherRule{`routing = "manage" does not hold for a network, as a rule of somebody else comes before those of mamma; "mammactl doctor" says what to do`, p.String()})
	}
	for _, r := range routing.Refusals(idsOf(list), snapshot) {
		message := `routing = "manage" undoes a rule of somebody else that refuses something, as that comes behind the way to everywhere which is replaced; "mammactl doctor" says what to do`
		if r.Leads {
			message = `routing = "manage" undoes a rule of somebody else that leads some packets elsewhere, as that comes behind the way to everywhere which is replaced; "mammactl doctor" says what to do`
		}
		if r.Whole {
			message = `routing = "manage" leaves a network alone, as a rule of somebody else refuses what is sent from it`
		}
		all = append(all, otherRule{message, r.String()})
	}
	return all
}

// planNow is what should be there now: nothing unless routes are to be managed, by
// which what a crash left behind is removed as well. The plan is made without the
// lock of c and may be outdated at once; then there is a value in c.rerouted.
func planNow(t *routing.Tables, c *current) (routing.Plan, error) {
	managed, list, snapshot := c.networks()
	if !managed {
		return routing.Plan{}, nil
	}
	return planOf(t, list, snapshot)
}

// giveUp closes a router that has changed nothing yet.
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

// plan is what is wanted. Where that cannot be had, nothing is: rules of a state
// that is over would mislead, and without any a socket that needs it is bound to
// its device.
func (r *router) plan() routing.Plan {
	p, err := r.wanted()
	switch {
	case err == nil:
		r.refused = ""
	case err.Error() != r.refused:
		r.refused = err.Error()
		r.log.Warn(`routing = "manage" is not carried out`, "err", err)
	}
	r.noteOthers()
	return p
}

// noteOthers logs what rules of others have to do with ours, each thing once. The owner of
// such a rule may mean it, so it is left alone.
func (r *router) noteOthers() {
	now := r.others()
	for _, o := range now {
		if !slices.Contains(r.noted, o) {
			r.log.Warn(o.message, "network", o.network)
		}
	}
	r.noted = now
}

// apply carries out a plan and tells whether all of it succeeded. Of failures
// in a row the first is logged.
func (r *router) apply(ctx context.Context, plan routing.Plan) bool {
	_, err := r.kernel.Apply(ctx, plan)
	r.note(ctx, err)
	return err == nil
}

// note logs how a pass ended, unless it was ended.
func (r *router) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil && !r.failing {
		r.log.Warn("routes not as they should be; trying again", "err", err)
	}
	r.failing = err != nil
}

// begin carries out what is wanted as far as it can be done before the first
// client asks.
func (r *router) begin(ctx context.Context) {
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstPass)
	defer cancel()
	r.apply(ctx, r.plan())
}

// routePass is a plan that is being carried out.
type routePass struct {
	plan   routing.Plan
	cancel context.CancelFunc
	done   chan struct{} // closed at its end
	err    error         // valid then
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

// giveUp ends the pass before its time and waits for that.
func (p *routePass) giveUp() {
	p.cancel()
	<-p.done
}

// run carries out what is wanted after each change until ctx ends, and then
// removes everything. A plan that is outdated is given up at once; one that is
// still wanted is carried out to its end, and looked at once more then. That
// the kernel tells of each change we make does not begin anything anew so.
func (r *router) run(ctx context.Context) error {
	if r == nil {
		return nil
	}
	defer r.kernel.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	p := &routePass{} // nothing is under way while done is nil
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

// end removes everything.
func (r *router) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastPass)
	defer cancel()
	r.failing = false
	if !r.apply(ctx, routing.Plan{}) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.log.Warn("routes and rules are left behind, as their removal takes too long; the next start removes them")
	}
	return nil
}
