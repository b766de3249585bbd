package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// network is what mammactl networks tells of one, for scripts: what decisions depend on,
// without measurements.
type network struct {
	Interface       string         `json:"interface"`
	Prefix          string         `json:"prefix"`
	Name            *string        `json:"name"` // null: it has no name
	Family          string         `json:"family"`
	Addresses       []string       `json:"addresses"`
	Default         bool           `json:"default"`
	Health          string         `json:"health"` // up, suspect or down
	Reason          *string        `json:"reason"` // why Health is what it is
	Cost            string         `json:"cost"`   // free, metered or expensive
	CostSource      *string        `json:"cost_source"`
	Resolvers       []string       `json:"resolvers"`
	ResolversSource *string        `json:"resolvers_source"`
	Facts           []control.Fact `json:"facts"`
}

// networks is a line of mammactl networks --json.
type networks struct {
	Now      time.Time `json:"now"`
	Networks []network `json:"networks"` // in the order of the prefix list
}

func networksOf(p *control.Prefixes) networks {
	out := networks{Now: p.Now, Networks: []network{}}
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		out.Networks = append(out.Networks, network{
			Interface: x.Interface, Prefix: x.Prefix, Name: x.Name, Family: x.Family, Addresses: x.Addresses, Default: x.Default,
			Health: x.Health.State, Reason: x.Health.Reason, Cost: x.Cost, CostSource: x.CostSource,
			Resolvers: x.Resolvers, ResolversSource: x.ResolversSource, Facts: x.Facts,
		})
	}
	return out
}

func (a *app) networksCommand() *cobra.Command {
	var follow bool
	cmd := a.command("networks [-f]", "Show the networks in brief, and follow their changes", `
Shows what decisions depend on of each network: whether it works, what it costs, and
who says so. --follow goes on with each change, until it is interrupted, also while
mamma starts anew. --json prints an object on one line, and with --follow one more
for each change, with all networks as they are then: "networks" has "interface",
"prefix", "name", "family", "addresses", "default", "health" (up, suspect or down),
"reason", "cost" (free, metered or expensive), "cost_source", "resolvers",
"resolvers_source" and "facts". Measurements are in mammactl prefixes.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			last, err := a.tellNetworks(ctx, c, nil)
			if err != nil || !follow {
				return err
			}
			return a.followNetworks(ctx, c, last)
		})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each change")
	cmd.Example = `  mammactl networks
  mammactl networks -f --json | jq '.networks[].cost'`
	return cmd
}

// followNetworks tells of each change after last.
func (a *app) followNetworks(ctx context.Context, c *control.Client, last *networks) error {
	a.endless = true
	f, err := newFollower(ctx, c, 0)
	if err != nil {
		return err
	}
	look := func() (err error) {
		last, err = a.tellNetworks(ctx, c, last)
		return err
	}
	f.wanted = control.Filter{NoDecisions: true}
	f.each = func(_ []byte, e *control.Event) error {
		switch e.Type {
		case control.EventPrefix, control.EventReload:
			return look()
		}
		return nil
	}
	f.say = func(text string) {
		a.tell(text)
		_ = look() // it may end again; then there is more to say
	}
	return f.run(ctx)
}

// tellNetworks shows the networks if they are others than last, and returns them.
func (a *app) tellNetworks(ctx context.Context, c *control.Client, last *networks) (*networks, error) {
	var p control.Prefixes
	if _, err := c.Get(ctx, "/v1/prefixes", &p); err != nil {
		return last, err
	}
	now := networksOf(&p)
	switch {
	case last != nil && same(last.Networks, now.Networks):
		return last, nil
	case a.json:
		line, err := json.Marshal(now)
		if err != nil {
			return last, err
		}
		return &now, a.rawEvent(line)
	case last != nil:
		return &now, a.printf("\n%s\n%s", a.date(now.Now), a.brief(&now))
	}
	return &now, a.printf("%s", a.brief(&now))
}

// same tells whether two lists of networks are equal, apart from facts that change all
// the time.
func same(x, y []network) bool {
	steady := func(list []network) []network {
		out := make([]network, len(list))
		copy(out, list)
		for i := range out {
			var kept []control.Fact
			for _, f := range out[i].Facts {
				if f.Name != "signal" && f.Name != "bit rate" {
					kept = append(kept, f)
				}
			}
			out[i].Facts = kept
		}
		return out
	}
	return reflect.DeepEqual(steady(x), steady(y))
}

// brief is the table of mammactl networks.
func (a *app) brief(n *networks) string {
	if len(n.Networks) == 0 {
		return fold("mamma manages no network.\n", a.columns())
	}
	t := a.table(
		table.Column{Head: "NETWORK"}, table.Column{Head: "INTERFACE", Least: 9}, table.Column{Head: "HEALTH", Rank: 1},
		table.Column{Head: "COST", Rank: 2, Least: 10}, table.Column{Head: "WHY", Rank: 3, Least: 10},
	)
	for i := range n.Networks {
		x := &n.Networks[i]
		name := x.Prefix
		if x.Name != nil {
			name = *x.Name + " " + name
		}
		if x.Default {
			name += " *"
		}
		cells := table.Plain(clean(name), clean(x.Interface), "", costOf(&control.Prefix{Cost: x.Cost, CostSource: x.CostSource}), orUnknown(x.Reason))
		cells[2] = a.health(x.Health)
		t.Add(cells...)
	}
	var b strings.Builder
	_ = t.Write(&b) // a Builder takes everything
	return b.String()
}

func (a *app) forgetCommand() *cobra.Command {
	cmd := a.command("forget [INTERFACE]", "Forget what was measured of networks", `
Has mamma forget what it has measured: round-trip times and rates, those of the
present and those that it keeps, over restarts, of each access point, gateway or
operator for when it comes back. With each of these go the round-trip times of the
destinations that were measured there. mammactl prefixes shows what each interface
is attached to now. With INTERFACE only what was measured there. Only root and the user
that mamma runs as may do this.`,
		atMostOne, func(ctx context.Context, c *control.Client, args []string) error {
			var question control.Forgetting
			if len(args) > 0 {
				question.Interface = args[0]
			}
			var f control.Forgotten
			raw, err := c.Post(ctx, "/v1/forget", question, &f)
			if err != nil {
				return err
			}
			return a.show(raw, func() error {
				return a.say("forgotten: the figures of now, and those kept of %s\n", plural(f.Attachments, "attachment"))
			})
		})
	cmd.ValidArgsFunction = a.completeInterface
	return cmd
}

// atMostOne permits an argument.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one interface at most, but there is %q", cmd.Name(), args[1])
	}
	return nil
}
