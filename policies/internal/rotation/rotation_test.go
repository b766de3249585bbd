package rotation

import (
	"testing"

	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestNext(t *testing.T) {
	a, b, c := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24"), Prefix("c", "10.0.3.2/24")
	a6, b6 := Prefix("a6", "2001:db8:1::2/64"), Prefix("b6", "2001:db8:2::2/64")
	var n Rotation
	for i, step := range []struct {
		list        []*policy.Prefix
		want, other string
	}{
		{[]*policy.Prefix{a, b, c}, "a", "b c"},
		{[]*policy.Prefix{a, b, c}, "b", "c a"},
		{[]*policy.Prefix{a6, b6}, "a6", "b6"}, // IPv6 has its own position
		{[]*policy.Prefix{a, a6}, "a", "a6"},   // and so has a list of both
		{[]*policy.Prefix{a, c}, "c", "a"},     // b is gone, so its successor is next
		{[]*policy.Prefix{a, b, c}, "a", "b c"},
		{[]*policy.Prefix{a}, "a", ""},
		{nil, "", ""},
		{[]*policy.Prefix{a, b, c}, "b", "c a"},
		{[]*policy.Prefix{a6, b6}, "b6", "a6"},
		{[]*policy.Prefix{a, a6}, "a6", "a"},
	} {
		got, others := n.Next(Request(policy.Connect, step.list...))
		if Name(got) != step.want || Names(others) != step.other {
			t.Errorf("step %d: %s, then %s; want %s, then %s", i, Name(got), Names(others), step.want, step.other)
		}
	}
}
