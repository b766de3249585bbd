package mptcpsimple

import (
	"testing"

	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const (
	connect = policy.Connect
	open    = policy.SocketConnect
	choose  = policy.SocketChoose
)

func TestChoose(t *testing.T) {
	a, b, bare := A(), B(), Prefix("c", "10.0.3.2/24", Default)
	multipath := Offer(Request(choose, a, b), b, a)
	multipath.Sockets[0].Multipath = true
	foreign := Offer(Request(choose, a), Prefix("z", "192.0.2.1/24"))
	foreign.Sockets[0].Prefix = nil
	Run(t, Make(New), []Case{
		{"lowest RTT", Request(connect, bare, b, a), Answer{Prefix: "a", Alternates: "b c", Multipath: true, Reason: reasonLowRTT}, "a,lowlatency"},
		{"lowest RTT, open", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonLowRTT}, "<ts>,,,,,,,,,,,,a,lowsrtt"},
		{"lowest RTT, choose", Request(choose, b, a), Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonLowRTT}, "<ts>,,0,,0,,,,,,,,a,lowsrtt"},
		{"no RTT", Request(connect, bare), Answer{Prefix: "c", Multipath: true, Reason: reasonNoRTT}, "c,default"},
		{"no RTT, open", Request(open, bare), Answer{Prefix: "c", Multipath: true, Reason: reasonNoRTT}, "<ts>,,,,,,,,,,,,c,default"},
		{"no RTT, no default", Request(choose, Prefix("d", "10.0.4.2/24")), Answer{Multipath: true, Reason: shape.ReasonNoDefault}, "<ts>,,0,,,,,,,,"},
		{"no prefix", Request(connect), Answer{Multipath: true, Reason: shape.ReasonNoDefault}, ""},
		{"plain idle socket", Offer(Request(choose, a, b), b), Answer{Prefix: "b", FD: 5, Alternates: "a", Reason: shape.ReasonFirstSocket}, "<ts>,,0,5-,1,,,,,,,,b,reuse"},
		{"MPTCP idle socket", multipath, Answer{Prefix: "b", FD: 5, Alternates: "a", Multipath: true, Reason: shape.ReasonFirstSocket}, "<ts>,6-,1,5-,1,,,,,,,,b,reuse"},
		{"idle socket of no prefix", foreign, Answer{FD: 5, Reason: shape.ReasonFirstSocket}, "<ts>,,0,,,,,,,,5,reuse"},
		{"bound", Bind(Request(open, a, b), b), Answer{Multipath: true, Reason: shape.ReasonBound}, "<ts>,,,,,,,,,,,,"},
		{"bound, connect", Bind(Request(connect, a, b), b), Answer{Multipath: true, Reason: shape.ReasonBound}, ""},
		{"IPv6", Request(choose, B6(), A6()), Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonLowRTT}, "<ts>,,0,,0,,,,,,,,a,lowsrtt"},
		{"both families", Request(open, b, A6()), Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonLowRTT}, "<ts>,,,,,,,,,,,,a,lowsrtt"},
	})
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{Settings: Settings(`policy "mptcp_simple"`, "foo=1"), PrefixSettings: nil})
	Refused(t, err, `unknown setting "foo"`)
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "srtt_minimum_recent=soon")})
	Refused(t, err, "must be a number")
}
