package earliestarrivalstatic

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
	// The configured values are the reverse of the measured ones.
	a := A(Option("min_srtt", "100"), Option("download_max_rate", "100000"))
	b := B(Option("min_srtt", "10"), Option("download_max_rate", "200000"))
	bare := Prefix("c", "10.0.3.2/24", Option("min_srtt", "5"))
	const zeros = "0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,"
	Run(t, Make(New), []Case{
		{"configured", Size(Request(open, a, b), 1000), Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "1767323045,,1000,b_fastest"},
		{"one configured, one measured", Size(Request(open, a, B()), 20000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "1767323045,,20000,b_fastest"},
		{"only the rate configured", Size(Request(open, A(Option("download_max_rate", "1000")), B()), 20000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "1767323045,,20000,b_fastest"},
		{"zero counts as not configured", Size(Request(open, A(Option("min_srtt", "0"), Option("download_max_rate", "0")), B()), 1000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonShortest}, "1767323045,,1000,a_fastest"},
		{"capacity neither configured nor measured", Size(Request(open, bare, Prefix("d", "10.0.4.2/24", Default)), 1000),
			Answer{Prefix: "d", Alternates: "c", Reason: arrival.ReasonNothing}, "1767323045,,1000,d_default"},
		{"no size", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "1767323045,,0," + zeros + "a_default"},
		{"reuse", Size(Offer(Request(choose, a, b), b), 1000), Answer{Prefix: "b", FD: 5, Alternates: "a", Reason: arrival.ReasonShortest}, "1767323045,,1000,b_fastest"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "1767323045,,1000,none"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"both families", Size(Request(open, a, B6(Option("min_srtt", "10"), Option("download_max_rate", "200000"))), 1000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "1767323045,,1000,b_fastest"},
	})
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "min_srtt=-1", "download_max_rate=fast")})
	Refused(t, err, "min_srtt", "at least 0", "download_max_rate", "must be a number")
}
