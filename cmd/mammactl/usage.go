package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/process/service"
)

// knownCommand returns an error for an unknown command, with a guess at what was meant.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return fmt.Errorf("unknown command %q%s", args[0], config.Suggest(args[0], names))
}

// strictWords makes the commands that cobra adds refuse words that they do not know, for
// which they would print help and report success.
func strictWords(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args, c.RunE = knownCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return knownCommand(found, append(rest, args...))
				}
				return nil
			}
		}
	}
}

// plainSwitches makes the help of c and its subcommands show flags that take no value
// without one.
func plainSwitches(c *cobra.Command) {
	c.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		service.PlainSwitches(set)
	}
	for _, sub := range c.Commands() {
		plainSwitches(sub)
	}
}

// narrow makes the help of c and its subcommands fit into service.HelpWidth columns.
func narrow(c *cobra.Command) {
	if !c.HasParent() { // subcommands inherit it
		c.SetUsageTemplate(strings.ReplaceAll(c.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", service.HelpWidth)))
	}
	c.Long = fill(c.Long, service.HelpWidth)
	for _, sub := range c.Commands() {
		narrow(sub)
	}
}

// fill breaks the lines of paragraphs, so that each has at most width columns. It
// leaves paragraphs with indented lines alone.
func fill(text string, width int) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, " ") || strings.HasPrefix(p, "\t") || strings.Contains(p, "\n ") || strings.Contains(p, "\n\t") {
			continue
		}
		var b strings.Builder
		column := 0
		for _, word := range strings.Fields(p) {
			n := table.Cells(word)
			switch {
			case column == 0:
			case column+1+n > width:
				b.WriteByte('\n')
				column = 0
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += n
		}
		paragraphs[i] = b.String()
	}
	return strings.Join(paragraphs, "\n\n")
}

// oneArg is for commands that take exactly one argument. what describes it, as in `a
// host, such as www.example.net:443`. more says what to do instead of giving a second
// one.
func oneArg(what, more string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s needs %s", c.Name(), what)
		case 1:
			return nil
		}
		return fmt.Errorf("%s takes one argument, but %q follows %q%s", c.Name(), args[1], args[0], more)
	}
}

// someArgs is for commands that take one or more such arguments.
func someArgs(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs %s", c.Name(), what)
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, but there is %q", c.Name(), args[0])
	}
	return nil
}
