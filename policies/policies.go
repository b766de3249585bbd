// Package policies lists the policies that are compiled into the daemon. Each is a
// package of its own below this one. The list is written out: no policy registers
// itself.
package policies

import (
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

// All returns all policies.
func All() policy.Catalogue {
	return policy.Catalogue{
		{Name: "adaptive", New: adaptive.New},
		{Name: "earliest_arrival", Module: "policy_earliest_arrival", Title: "earliest arrival", New: earliestarrival.New},
		{Name: "earliest_arrival_countconns", Module: "policy_earliest_arrival_countconns", Title: "earliest arrival", New: earliestarrivalcountconns.New},
		{Name: "earliest_arrival_free_or_busy", Module: "policy_earliest_arrival_free-or-busy", Title: "earliest arrival", New: earliestarrivalfreeorbusy.New},
		{Name: "earliest_arrival_probabilities", Module: "policy_earliest_arrival_probabilities", Title: "earliest arrival", New: earliestarrivalprobabilities.New},
		{Name: "earliest_arrival_static", Module: "policy_earliest_arrival_static", Title: "earliest arrival (static)", New: earliestarrivalstatic.New},
		{Name: "filesize", Module: "policy_filesize", New: filesize.New},
		{Name: "intents", Module: "policy_intents", New: intents.New},
		{Name: "mptcp_default_flow", Module: "policy_mptcp_default_flow", Title: "default_flow", New: mptcpdefaultflow.New},
		{Name: "mptcp_filesize", Module: "policy_mptcp_filesize", Title: "filesize", New: mptcpfilesize.New},
		{Name: "mptcp_selective", Module: "policy_mptcp_selective", New: mptcpselective.New},
		{Name: "mptcp_simple", Module: "policy_mptcp_simple", New: mptcpsimple.New},
		{Name: "rr_naive", Module: "policy_rr_naive", Title: "naive round robin", New: rrnaive.New},
		{Name: "rr_pipelining", Module: "policy_rr_pipelining", Title: "pipelining round robin", New: rrpipelining.New},
		{Name: "sample", Module: "policy_sample", New: sample.New},
		{Name: "score", New: score.New},
		{Name: "threshold", Module: "threshold_policy", Title: "earliest arrival", New: threshold.New},
		{Name: "video", Module: "policy_video", New: video.New},
	}
}
