package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand writes the manual pages, for packagers. The pages are made from the text
// of --help, so that both say the same.
func manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages to DIR", Hidden: true, Args: oneArg("the directory to write them to", ""),
		RunE: func(_ *cobra.Command, args []string) error {
			root.InitDefaultHelpFlag()
			for _, c := range withPages(root) {
				path := filepath.Join(args[0], pageName(c)+".1")
				if err := os.WriteFile(path, []byte(manPage(c)), 0o644); err != nil { //nolint:gosec // manual pages are for everybody
					return runError{fmt.Errorf("write manual page: %w", err)}
				}
			}
			return nil
		},
	}
}

// withPages returns the command and its subcommands, without those that cobra adds.
func withPages(c *cobra.Command) []*cobra.Command {
	pages := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			pages = append(pages, withPages(sub)...)
		}
	}
	return pages
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage returns the manual page of one command in man macros (man(7)). It has no
// date, so that the same sources always give the same page.
func manPage(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" mamma \"User Commands\"\n", strings.ToUpper(pageName(c)))
	section := func(name string) { fmt.Fprintf(&b, ".SH %s\n", name) }
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(pageName(c)), roff(c.Short))
	section("SYNOPSIS")
	fmt.Fprintf(&b, ".B %s\n", roff(strings.TrimSuffix(c.UseLine(), " [flags]")))
	if c.HasSubCommands() {
		b.WriteString("COMMAND [options]\n")
	}
	section("DESCRIPTION")
	text := c.Long
	if text == "" {
		text = c.Short + ".\n\n" + exitCodesHelp
	}
	paragraphs(&b, text)
	if c.HasSubCommands() {
		section("COMMANDS")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.Name()), roff(sub.Short))
			}
		}
	}
	section("OPTIONS")
	c.InitDefaultHelpFlag()
	flags := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(&b, ".BR \\-%s \", \"", f.Shorthand)
		} else {
			b.WriteString(".BR ")
		}
		fmt.Fprintf(&b, "\\-\\-%s", roff(f.Name))
		name, usage := pflag.UnquoteUsage(f)
		if name != "" {
			fmt.Fprintf(&b, " \" %s\"", roff(name))
		}
		fmt.Fprintf(&b, "\n%s\n", roff(strings.ReplaceAll(usage, "`", "")))
	}
	c.LocalFlags().VisitAll(flags)
	c.InheritedFlags().VisitAll(flags)
	if c.HasExample() {
		section("EXAMPLES")
		b.WriteString(".nf\n")
		for l := range strings.Lines(c.Example) {
			b.WriteString(roff(strings.TrimPrefix(strings.TrimRight(l, "\n"), "  ")) + "\n")
		}
		b.WriteString(".fi\n")
	}
	section("STATUS")
	b.WriteString("Stable from version 0.9.0 on: the commands, their flags and exit status, and what \\-\\-json prints. The text for people may change.\n")
	section("LICENCE")
	b.WriteString("BSD 3\\-Clause: the file LICENSE of the sources, and of\n.IR PREFIX/share/doc/mamma .\n")
	section("SEE ALSO")
	if c.HasParent() {
		b.WriteString(".BR mammactl (1),\n")
	}
	b.WriteString(".BR mamma (8)\n")
	return b.String()
}

func paragraphs(b *strings.Builder, text string) {
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		for l := range strings.Lines(p) {
			b.WriteString(roff(strings.TrimRight(l, "\n")) + "\n")
		}
	}
}

// roff makes text that the formatter takes as it is.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
