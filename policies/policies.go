// Package policies is the list of the policies that are compiled into the
// daemon. Each is a package of its own below; nothing registers itself.
package policies

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/policies/adaptive"
	earliestarrival "github.com/socket-intents/mamma/policies/earliest_arrival"
	earliestarrivalcountconns "github.com/socket-intents/mamma/policies/earliest_arrival_countconns"
	earliestarrivalfreeorbusy "github.com/socket-intents/mamma/policies/earliest_arrival_free_or_busy"
	earliestarrivalprobabilities "github.com/socket-intents/mamma/policies/earliest_arrival_probabilities"
	earliestarrivalstatic "github.com/socket-intents/mamma/policies/earliest_arrival_static"
	"github.com/socket-intents/mamma/policies/filesize"
	"github.com/socket-intents/mamma/policies/intents"
	mptcpdefaultflow "github.com/socket-intents/mamma/policies/mptcp_default_flow"
	mptcpfilesize "github.com/socket-intents/mamma/policies/mptcp_filesize"
	mptcpselective "github.com/socket-intents/mamma/policies/mptcp_selective"
	mptcpsimple "github.com/socket-intents/mamma/policies/mptcp_simple"
	rrnaive "github.com/socket-intents/mamma/policies/rr_naive"
	rrpipelining "github.com/socket-intents/mamma/policies/rr_pipelining"
	"github.com/socket-intents/mamma/policies/sample"
	"github.com/socket-intents/mamma/policies/score"
	"github.com/socket-intents/mamma/policies/threshold"
	"github.com/socket-intents/mamma/policies/video"
	"github.com/socket-intents/mamma/policy"
)

// builtin is one compiled-in policy.
type builtin struct {
	name   string
	module string // file name of the original's module, without ".so"; "": it has none
	make   func(policy.Config) (policy.Policy, error)
}

// list returns all policies, sorted by name.
func list() []builtin {
	return []builtin{
		{"adaptive", "", adaptive.New},
		{"earliest_arrival", "policy_earliest_arrival", earliestarrival.New},
		{"earliest_arrival_countconns", "policy_earliest_arrival_countconns", earliestarrivalcountconns.New},
		{"earliest_arrival_free_or_busy", "policy_earliest_arrival_free-or-busy", earliestarrivalfreeorbusy.New},
		{"earliest_arrival_probabilities", "policy_earliest_arrival_probabilities", earliestarrivalprobabilities.New},
		{"earliest_arrival_static", "policy_earliest_arrival_static", earliestarrivalstatic.New},
		{"filesize", "policy_filesize", filesize.New},
		{"intents", "policy_intents", intents.New},
		{"mptcp_default_flow", "policy_mptcp_default_flow", mptcpdefaultflow.New},
		{"mptcp_filesize", "policy_mptcp_filesize", mptcpfilesize.New},
		{"mptcp_selective", "policy_mptcp_selective", mptcpselective.New},
		{"mptcp_simple", "policy_mptcp_simple", mptcpsimple.New},
		{"rr_naive", "policy_rr_naive", rrnaive.New},
		{"rr_pipelining", "policy_rr_pipelining", rrpipelining.New},
		{"sample", "policy_sample", sample.New},
		{"score", "", score.New},
		{"threshold", "threshold_policy", threshold.New},
		{"video", "policy_video", video.New},
	}
}

// New makes the policy of the given name from its configuration. It is an error
// if there is none, or if it refuses the configuration.
func New(name string, cfg policy.Config) (policy.Policy, error) {
	for _, b := range list() {
		if b.name == name {
			return b.make(cfg)
		}
	}
	return nil, fmt.Errorf("unknown policy %q; known: %s", name, strings.Join(Names(), ", "))
}

// Names returns the names of all policies, sorted.
func Names() []string {
	var names []string
	for _, b := range list() {
		names = append(names, b.name)
	}
	return names
}

// Builtin returns the name of the policy that a configuration means by name,
// and whether there is one: a name of Names, or a module name of the original,
// with or without directory and ".so", so that its configuration files run
// unchanged ("/usr/local/lib/mam-policies/threshold_policy.so" is "threshold").
func Builtin(name string) (string, bool) {
	if slices.Contains(Names(), name) {
		return name, true
	}
	module := strings.TrimSuffix(path.Base(name), ".so")
	for _, b := range list() {
		if b.module != "" && b.module == module {
			return b.name, true
		}
	}
	return "", false
}
