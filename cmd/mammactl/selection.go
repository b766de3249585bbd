package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// selection is the set of preferences for networks that flags give.
type selection []control.Preference

// The kinds of a preference, each with the words before its name.
var preferenceKinds = []string{"interface", "network", "cost"}

// selectionFlags adds a flag for each degree of preference (RFC 9622, section 6.2).
func (a *app) selectionFlags(cmd *cobra.Command, to *selection) {
	for _, w := range []struct{ want, what string }{
		{"require", "the connection may take this network only"}, {"prefer", "this network comes before others"},
		{"avoid", "this network comes after others"}, {"prohibit", "the connection may not take this network"},
	} {
		cmd.Flags().Var(&preferenceFlag{to, w.want}, w.want, w.what+": interface=NAME, network=NAME or cost=WORD")
		_ = cmd.RegisterFlagCompletionFunc(w.want, a.completePreference) // fails only for unknown flags
	}
}

// preferenceFlag adds preferences of one degree to a selection.
type preferenceFlag struct {
	to   *selection
	want string
}

// String is what the flag's default is shown as: none.
func (f *preferenceFlag) String() string { return "" }

// Type is the placeholder of the value in the help text.
func (f *preferenceFlag) Type() string { return "KIND=NAME" }

// Set implements pflag.Value.
func (f *preferenceFlag) Set(text string) error {
	kind, name, ok := strings.Cut(text, "=")
	switch {
	case !ok, !slices.Contains(preferenceKinds, kind):
		return fmt.Errorf("must be interface=NAME, network=NAME or cost=WORD, not %q", text)
	case name == "":
		return errors.New("the name is missing")
	case kind == "cost" && !slices.Contains(costWords, name):
		return fmt.Errorf("a cost is one of %s, not %q", strings.Join(costWords, ", "), name)
	}
	*f.to = append(*f.to, control.Preference{Want: f.want, Kind: kind, Name: name})
	return nil
}

var costWords = []string{"free", "metered", "expensive"}

// completePreference completes kinds, and the names of the networks that mamma manages.
func (a *app) completePreference(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := make([]cobra.Completion, 0, len(costWords))
	for _, w := range costWords {
		list = append(list, "cost="+w)
	}
	for _, x := range a.managed(cmd) { // if mamma does not answer, only costs can be completed
		list = append(list, "interface="+clean(x.Interface))
		if x.Name != nil {
			list = append(list, "network="+clean(*x.Name))
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}
