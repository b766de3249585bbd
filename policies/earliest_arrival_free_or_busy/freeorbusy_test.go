package earliestarrivalfreeorbusy

import (
	"testing"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const open, choose = policy.SocketConnect, policy.SocketChoose

func TestChoose(t *testing.T) {
	a, b := A(), B()
	busy, between := A(Down(1250000, 700000)), A(Down(1250000, 625000))
	Run(t, Make(New), []Case{
		{"hardly used counts as idle", Size(Request(open, a, b), 49000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,49000,,0,,0,,,,79.20,,,a_lowrtt"},
		{"predicted by the plain capacity", Size(Request(open, a, b), 51000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonCapacity}, "<ts>,51000,,0,,0,,,,113.05,,,a_highbw"},
		{"more than half counts as full", Size(Request(open, busy, b), 17000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonCapacity}, "<ts>,17000,,0,,0,,,,54.35,,,a_highbw"},
		{"in between as it is", Size(Request(open, between, b), 24000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,24000,,0,,0,,,,78.40,,,a_lowrtt"},
		{"reuse", Size(Offer(Request(choose, a, b), a), 1000),
			Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,5-,1,,0,,,,20.80,,,a_lowrtt"},
		{"nothing known", Size(Request(open, Prefix("c", "10.0.3.2/24", Default)), 1000),
			Answer{Prefix: "c", Reason: arrival.ReasonNothing}, "<ts>,1000,,0,,,,0.0,0,0,c_default"},
		{"no size", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,,0,,0,,,,a_default"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,1000,,,,0.0,0,0,none"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"both families", Size(Request(open, b, A6()), 49000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,49000,,0,,0,,,,79.20,,,a_lowrtt"},
	})
}
