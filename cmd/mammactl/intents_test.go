package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestCompleteIntents(t *testing.T) {
	for begun, want := range map[string]string{
		"":                         "category= filesize= duration= bitrate= burstiness= timeliness= resilience=",
		"category=":                "category=query category=bulktransfer category=controltraffic category=keepalives category=stream",
		"category=query,":          "category=query,filesize= category=query,duration= category=query,bitrate= category=query,burstiness= category=query,timeliness= category=query,resilience=",
		"filesize=1K,resilience=t": "filesize=1K,resilience=sensitive filesize=1K,resilience=tolerant filesize=1K,resilience=resilient",
		"filesize=":                "",
		"colour=":                  "",
	} {
		list, directive := completeIntents(nil, nil, begun)
		if got := strings.Join(list, " "); got != want || directive&cobra.ShellCompDirectiveNoFileComp == 0 {
			t.Errorf("%q: %s (%v), want %s", begun, got, directive, want)
		}
	}
}
