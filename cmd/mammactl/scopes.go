package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/scopes/pins"
)

func (a *app) scopesCommand() *cobra.Command {
	var detach bool
	var dir, await string
	limit := waitLimit
	cmd := a.command("scopes", "Show whose connections are placed unasked, and how", `
Shows the scopes of the configuration (mamma.conf(5), "scope"), each with its control
groups, the network that most of its connections take, and how many were placed on
one, left to the kernel's own choice, and refused. Below a scope are those of its
rules ("intents") whose connections have other intents, with the network for these.
"learnt" is the number of destinations for which the intents follow from what earlier
connections have carried.
"mammactl decisions" shows the connections themselves.

--detach ends that: programs connect as if mamma was not there, until mamma reads
its configuration again. Where no mamma runs, it ends what the last one has left
behind. Only root and the user that mamma runs as may do this. Only they and members
of the group that the setting control_group names may look at the scopes.

--wait returns when the connections of the control group that mammactl runs in are
placed by the scope, and fails if that is not so in time. A unit that begins with
"ExecStartPre=+mammactl scopes --wait backup" connects to nothing before.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			switch {
			case detach:
				return a.detachScopes(ctx, c, dir)
			case await != "":
				return a.waitForScope(ctx, await, limit)
			}
			var s control.Scopes
			raw, err := c.Get(ctx, "/v1/scopes", &s)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showScopes(&s) })
		})
	cmd.Flags().BoolVar(&detach, "detach", false, "have connections placed no more until the next reload")
	cmd.Flags().StringVar(&dir, "pin-dir", pins.Default, "`directory` in which a mamma that is gone has left what places connections, for --detach")
	cmd.Flags().StringVar(&await, "wait", "", "return when the connections of this control group are placed by the `scope`")
	cmd.Flags().Var(&durationFlag{to: &limit, min: time.Second, max: day}, "timeout", "`time` to wait with --wait")
	cmd.MarkFlagsMutuallyExclusive("wait", "detach")
	// These fail for unknown flags only.
	_ = cmd.RegisterFlagCompletionFunc("pin-dir", completeDirs)
	_ = cmd.RegisterFlagCompletionFunc("wait", a.completeScope)
	_ = cmd.RegisterFlagCompletionFunc("timeout", cobra.FixedCompletions([]cobra.Completion{"5s", "30s", "1m"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// detachScopes has the daemon detach, or does it in place of one that is gone.
func (a *app) detachScopes(ctx context.Context, c *control.Client, dir string) error {
	var s control.Scopes
	raw, err := c.Post(ctx, "/v1/scopes/detach", struct{}{}, &s)
	var absent *control.NotRunningError
	if errors.As(err, &absent) {
		found, err := pins.Detach(dir)
		switch {
		case errors.Is(err, pins.ErrInUse):
			return fmt.Errorf("%w: name its control socket with --control", err)
		case err != nil:
			return err
		case found:
			return a.say("No mamma runs. What the last one had attached for scopes is detached.\n")
		}
		return a.say("No mamma runs, and nothing is attached for scopes.\n")
	}
	if err != nil {
		return err
	}
	return a.show(raw, func() error {
		return a.say("Connections of scopes are not placed until mamma reads its configuration again.\n")
	})
}

func (a *app) showScopes(s *control.Scopes) error {
	if len(s.Scopes) == 0 {
		return a.say("The configuration has no scopes.\n")
	}
	t := a.table(
		table.Column{Head: "SCOPE", Least: 8}, table.Column{Head: "IPv4", Least: 5}, table.Column{Head: "IPv6", Rank: 2, Least: 5},
		table.Column{Head: "PLACED", Right: true}, table.Column{Head: "LEFT", Right: true, Rank: 1}, table.Column{Head: "REFUSED", Right: true, Rank: 1},
		table.Column{Head: "CONTROL GROUPS", Rank: 3, Least: 12},
	)
	for i := range s.Scopes {
		x := &s.Scopes[i]
		t.Add(table.Plain(clean(x.Name), usualNetwork(x.Usual, "IPv4"), usualNetwork(x.Usual, "IPv6"),
			fmt.Sprint(x.Placed), fmt.Sprint(x.Left), fmt.Sprint(x.Refused), groupsOf(x))...)
		if x.Learning {
			t.Add(table.Plain(fmt.Sprintf("  %d learnt", x.Learnt), "", "", "", "", "", "")...)
		}
		for j := range x.Variants {
			v := &x.Variants[j]
			t.Add(table.Plain("  "+clean(v.Source), usualNetwork(v.Usual, "IPv4"), usualNetwork(v.Usual, "IPv6"), "", "", "", "")...)
		}
	}
	if err := t.Write(a.out); err != nil {
		return err
	}
	var b strings.Builder
	switch {
	case s.Detached:
		b.WriteString("Nothing is placed, as was asked for; \"mammactl reload\" begins again.\n")
	case s.Error != nil:
		fmt.Fprintf(&b, "Not as it should be: %s\n", clean(*s.Error))
	}
	if len(s.Hooks) > 0 {
		fmt.Fprintf(&b, "Placing at %s for %d control groups below %s", clean(strings.Join(s.Hooks, ", ")), s.Groups, clean(orUnknown(s.Root)))
		if !s.Kept {
			b.WriteString("; not while mamma does not run")
		}
		b.WriteString(".\n")
	}
	if s.Measured {
		b.WriteString("The kernel reports how TCP connections there fare.\n")
	}
	if len(s.MissingHooks) > 0 {
		fmt.Fprintf(&b, "The kernel lacks %s: datagrams of sockets that are not connected are not placed.\n", clean(strings.Join(s.MissingHooks, ", ")))
	}
	if s.MPTCPError != nil {
		fmt.Fprintf(&b, "Scopes with \"mptcp\" use TCP: %s\n", clean(*s.MPTCPError))
	}
	failed := uint64(0)
	for i := range s.Scopes {
		failed += s.Scopes[i].Failed
	}
	if failed > 0 {
		fmt.Fprintf(&b, "Could not be bound to the network that was chosen: %d; \"mammactl decisions\" says why.\n", failed)
	}
	if s.Unseen > 0 {
		fmt.Fprintf(&b, "Not shown, as there were too many at once: %d.\n", s.Unseen)
	}
	return a.say("%s", b.String())
}

// usualNetwork is what most streams of a family do.
func usualNetwork(usual []control.ScopeAnswer, family string) string {
	for i := range usual {
		u := &usual[i]
		if u.Family != family || u.Transport != "stream" {
			continue
		}
		switch {
		case u.Kind == "refuse":
			return "refused"
		case u.Chosen == nil:
			return "-"
		case u.Chosen.Name != nil:
			return clean(*u.Chosen.Name)
		}
		return clean(u.Chosen.Interface)
	}
	return "-"
}

// groupsOf names a scope's control groups: the uppermost, and how many more there are.
func groupsOf(s *control.Scope) string {
	switch n := len(s.Groups); n {
	case 0:
		return "none"
	case 1:
		return clean(s.Groups[0])
	default:
		return fmt.Sprintf("%s and %d more", clean(s.Groups[0]), n-1)
	}
}

// completeDirs leaves it to the shell to complete directories.
func completeDirs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}
