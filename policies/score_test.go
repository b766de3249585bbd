package policies

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// scoreExamples returns the examples in policy score's README that replace other
// policies, by the names of these.
func scoreExamples(t *testing.T) map[string]policy.Config {
	t.Helper()
	readme, err := os.ReadFile("score/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []policy.Config
	for _, part := range strings.Split(string(readme), "```hcl\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		examples = append(examples, parse(t, "score", text))
	}
	if len(examples) != 4 {
		t.Fatalf("%d examples", len(examples))
	}
	return map[string]policy.Config{"earliest_arrival": examples[1], "threshold": examples[2]}
}

// sameChoice compares the prefix and the socket that two policies choose.
func sameChoice(t interface{ Fatalf(string, ...any) }, r *policy.Request, score, compiled policy.Policy) {
	got, want := policytest.AnswerOf(score.Choose(r)), policytest.AnswerOf(compiled.Choose(r))
	if got.Prefix != want.Prefix || got.FD != want.FD {
		t.Fatalf("score answers %+v, the compiled policy %+v", got, want)
	}
}

// The examples choose as the policies that they replace, on the vectors of these.
func TestScoreExamplesOnVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	examples := scoreExamples(t)
	ran := 0
	for _, raw := range file.Vectors {
		var head struct{ ID, Group string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		cfg, ok := examples[head.Group]
		if !ok {
			continue
		}
		var v vector
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		ran++
		t.Run(v.ID, func(t *testing.T) {
			list, _ := v.Inputs.build(t)
			p, err := All().New("score", cfg)
			if err != nil {
				t.Fatal(err)
			}
			sameChoice(t, v.Inputs.request(t, list), p, newPolicy(t, v.Group))
		})
	}
	if ran != 22 {
		t.Errorf("%d vectors, want 22", ran)
	}
}

// The examples choose as the policies that they replace, on random requests for TCP. Sizes are
// not negative and exact as a float64; for others the policies differ, as the README
// says.
func TestScoreExamplesOnRandomRequests(t *testing.T) {
	for name, cfg := range scoreExamples(t) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				score, err := All().New("score", cfg)
				if err != nil {
					t.Fatal(err)
				}
				compiled, err := All().New(name, policy.Config{})
				if err != nil {
					t.Fatal(err)
				}
				r := drawRequest(t, drawHost(t))
				r.Network.Transport = policy.Stream // streams of datagrams are placed otherwise
				for _, p := range r.Prefixes {
					// Products of unrealistic figures overflow, and the two policies
					// treat infinity differently.
					maps.DeleteFunc(p.Options, func(_ string, o policy.Option) bool { return o.Number > 1e15 })
				}
				if rapid.Bool().Draw(t, "sized") {
					r.Intents = r.Intents.WithFileSize(rapid.Int64Range(0, 1<<53).Draw(t, "size"))
				} else {
					r.Intents = r.Intents.Without(intent.OptFileSize)
				}
				sameChoice(t, r, score, compiled)
			})
		})
	}
}
