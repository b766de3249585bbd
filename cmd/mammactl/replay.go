package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/terminal"
	"github.com/socket-intents/mamma/internal/operator/replay"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// replayCommand works on files only, and asks no daemon.
func (a *app) replayCommand() *cobra.Command {
	c := &replay.Command{Policies: policies.All()}
	cmd := &cobra.Command{
		Use: "replay FILE... [--policy NAME] [--config FILE]", Short: "Put recorded decisions to another policy", Long: strings.TrimSpace(`
Puts the requests that mamma has recorded to another policy, or to the same policy
with other settings. Each request comes with the measurements of its time. Replay
shows how often the policies differ, and for each difference both choices, both
reasons and the predicted times. mamma need not run. It records with
decisions { record = "FILE" } in its configuration.

The policy is one that is compiled in, or a plugin: a path, or a name that is looked
for in the policy_path of --config, or else where mamma looks. It must be built as
for mamma, and only root and you may be able to write to it. --config names a configuration file with its
settings. If that file has blocks for the recorded networks, their options, cost and
default replace the recorded ones. Several recordings are read one after the other;
"-" is the standard input.

The measurements were made under the recorded choices. How the networks would have
fared under the other choices is not known. A policy that counts starts from
nothing, as after a restart. With --json there is a line for each decision, then
one for the summary.`) + "\n\n" + exitCodesHelp,
		Example: `  mammactl replay /var/log/mamma/decisions.jsonl --policy earliest_arrival
  mammactl replay decisions.jsonl --policy build/ports.so
  mammactl replay decisions.jsonl --config new.conf --json |
    jq 'select(.decision.same == false)'`,
		Args: someArgs(`a file of decisions, which mamma writes with decisions { record = "FILE" }`), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.Policy == "" && c.Config == "" {
				return usageError{errors.New("replay needs --policy or --config")}
			}
			c.Files, c.JSON, c.In, c.Out, c.Err, c.Width = args, a.json, a.in, a.out, a.err, a.columns()
			// Results that are printed one by one already show the progress.
			if _, tty := terminal.Of(a.out); !tty || !a.json && c.Differences >= 0 {
				c.Begin = func(far func() replay.Progress) (end func()) {
					s := a.status(func(time.Duration) string { return "replaying: " + replayed(far()) })
					c.Err = s
					return s.Stop
				}
			}
			if err := c.Run(cmd.Context()); err != nil {
				return runError{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&c.Policy, "policy", "", "name of the policy, or path of a plugin")
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicy(c.Policies, plugin.Directories())) // fails only for unknown flags
	cmd.Flags().StringVar(&c.Config, "config", "", "configuration file with its settings")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 1, "seed of the policy's random choices")
	cmd.Flags().IntVarP(&c.Differences, "differences", "n", 20, "how many decisions that differ to list; -1: all")
	return cmd
}

// replayed says how far a replay has come.
func replayed(p replay.Progress) string {
	text := plural(int(p.Decisions), "decision")
	if p.Size > 0 {
		text = fmt.Sprintf("%.0f %%, %s", 100*float64(min(p.Read, p.Size))/float64(p.Size), text)
	}
	return text
}

// completePolicy completes the names of policies, including those of plugins in dirs,
// and the paths of plugins.
func completePolicy(known policy.Catalogue, dirs []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if strings.ContainsRune(begun, '/') || strings.HasPrefix(begun, ".") {
			return []cobra.Completion{"so"}, cobra.ShellCompDirectiveFilterFileExt
		}
		names := known.Names()
		for _, n := range plugin.Names(dirs) {
			if _, compiled := known.Find(n); !compiled {
				names = append(names, n)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
