package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/intent"
)

// completeIntents completes intents such as category=query,filesize=64KiB: the names
// that are not stated yet, and the words for the last one.
func completeIntents(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before, last := "", begun
	if i := strings.LastIndexByte(begun, ','); i >= 0 {
		before, last = begun[:i+1], begun[i+1:]
	}
	name, _, stated := strings.Cut(last, "=")
	var list []cobra.Completion
	for _, o := range intent.Options() {
		switch {
		case stated && o.String() == name:
			for _, word := range o.Words() {
				list = append(list, before+name+"="+word)
			}
		case !stated && !strings.Contains(","+before, ","+o.String()+"="):
			list = append(list, before+o.String()+"=")
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
