package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/process/service"
)

// knownCommand refuses what is no command, with what was probably meant.
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

// flagError adds to the error of an unknown flag which one was probably meant.
func flagError(c *cobra.Command, err error) error {
	unknown := (*pflag.NotExistError)(nil)
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return fmt.Errorf("%w%s", err, config.Suggest("--"+unknown.GetSpecifiedName(), names))
}

// plainSwitches has the flags that take no value shown without one, in the help
// of c and the commands below it.
func plainSwitches(c *cobra.Command) {
	c.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		service.PlainSwitches(set)
	}
	for _, sub := range c.Commands() {
		plainSwitches(sub)
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, but there is %q", c.CommandPath(), args[0])
	}
	return nil
}
