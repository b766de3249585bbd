package score

import (
	"testing"

	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// FuzzExpression checks that no expression makes the policy panic, neither when it is
// parsed nor when it is evaluated.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"completion_time()", "prefix.cost == \"free\" ? 0 : 1", "or_else(intent.bitrate, -link.free_capacity % 7)",
		"known(lowest_rtt.default) && !request.tls ? min(1, 2) : pow(2, 3)", "\"${1}\"", "[for x in y: x]", "a.b[0].*.c", "1 +", "<<E\nE\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := Settings(`policy "score"`, "minimize")
		s[0].Expr = text
		p, err := New(policy.Config{Settings: s})
		if err != nil {
			return
		}
		p.Choose(Size(Request(policy.SocketConnect, A(), B(), Prefix("c", "10.0.3.2/24")), 1000))
		p.Choose(Request(policy.SocketConnect))
	})
}
