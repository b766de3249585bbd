package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// completed returns those elements of list that begin with begun, sorted and without
// doubles.
func completed(list []string, begun string) []cobra.Completion {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" || !strings.HasPrefix(s, begun) })
}

// managed returns the networks that mamma manages; none if mamma does not answer.
func (a *app) managed(cmd *cobra.Command) []control.Prefix {
	c := a.client()
	defer c.Close()
	var p control.Prefixes
	if _, err := c.Get(cmd.Context(), "/v1/prefixes", &p); err != nil {
		return nil
	}
	return p.Prefixes
}

// completeNetwork completes interfaces, names and prefixes of networks.
func (a *app) completeNetwork(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []string
	for _, p := range a.managed(cmd) {
		list = append(list, clean(p.Interface), clean(p.Prefix))
		if p.Name != nil {
			list = append(list, clean(*p.Name))
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeInterface completes interfaces, as the only argument.
func (a *app) completeInterface(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []string
	for _, p := range a.managed(cmd) {
		if len(args) == 0 {
			list = append(list, clean(p.Interface))
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeAddress completes this host's own addresses in the networks.
func (a *app) completeAddress(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []string
	for _, p := range a.managed(cmd) {
		for _, x := range p.Addresses {
			list = append(list, clean(x))
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// lookBack is the number of latest decisions in which programs and hosts are searched.
const lookBack = 1000

// recent returns the latest decisions; none if mamma does not answer.
func (a *app) recent(cmd *cobra.Command) []control.Decision {
	c := a.client()
	defer c.Close()
	var d control.Decisions
	if _, err := c.Get(cmd.Context(), "/v1/decisions?"+url.Values{"limit": {fmt.Sprint(lookBack)}}.Encode(), &d); err != nil {
		return nil
	}
	return d.Decisions
}

// completeProgram completes the names of programs that have asked mamma.
func (a *app) completeProgram(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []string
	for _, d := range a.recent(cmd) {
		if d.App.Command != nil {
			list = append(list, clean(*d.App.Command))
		}
		if d.Origin != nil && d.Origin.Command != nil {
			list = append(list, clean(*d.Origin.Command))
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeTarget completes destinations that programs have asked about.
func (a *app) completeTarget(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []string
	if len(args) == 0 {
		for _, d := range a.recent(cmd) {
			if to := destination(&d); to != unknown {
				list = append(list, to)
			}
		}
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeScope completes the names of scopes.
func (a *app) completeScope(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c := a.client()
	defer c.Close()
	var s control.Scopes
	if _, err := c.Get(cmd.Context(), "/v1/scopes", &s); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []string
	for i := range s.Scopes {
		list = append(list, clean(s.Scopes[i].Name))
	}
	return completed(list, begun), cobra.ShellCompDirectiveNoFileComp
}

// completePart completes WHICH=INTENTS: first commands, then intents.
func (a *app) completePart(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	which, text, found := strings.Cut(begun, "=")
	if !found {
		var list []cobra.Completion
		for _, name := range a.commands(begun) {
			list = append(list, name+"=")
		}
		return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	list, directive := completeIntents(cmd, args, text)
	for i := range list {
		list[i] = which + "=" + list[i]
	}
	return list, directive
}

// completeCommand completes the name of a program, and files as its arguments.
func (a *app) completeCommand(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 || strings.ContainsRune(begun, '/') {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.commands(begun), cobra.ShellCompDirectiveNoFileComp
}

// commands returns the programs in $PATH whose names begin with begun. It returns none
// for "", because that would be all of them.
func (a *app) commands(begun string) []string {
	if begun == "" {
		return nil
	}
	var list []string
	for _, dir := range filepath.SplitList(a.getenv("PATH")) {
		entries, _ := os.ReadDir(dir) // a folder that cannot be read offers nothing
		for _, e := range entries {
			if name := e.Name(); strings.HasPrefix(name, begun) && name == clean(name) && executable(filepath.Join(dir, name)) {
				list = append(list, name)
			}
		}
	}
	return completed(list, begun)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
