package policies

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/mam/policy"
	"github.com/socket-intents/mamma/policies/internal/policytest"
)

// TestScoreExamples runs the examples of policy score's README that stand for
// earliest arrival and threshold over the vectors of these.
func TestScoreExamples(t *testing.T) {
	readme, err := os.ReadFile("score/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, part := range strings.Split(string(readme), "```hcl\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		examples = append(examples, text)
	}
	if len(examples) != 3 {
		t.Fatalf("%d examples", len(examples))
	}
	data, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, name := range []string{"earliest_arrival", "threshold"} {
		cfg := parse(t, "score", examples[i+1])
		for _, raw := range file.Vectors {
			var head struct{ Group string }
			if err := json.Unmarshal(raw, &head); err != nil || head.Group != name {
				continue
			}
			var v vector
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			ran++
			list, _ := v.Inputs.build(t)
			r := v.Inputs.request(t, list)
			p, err := New("score", cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, want := p.Choose(r), newPolicy(t, name).Choose(r)
			if diff := answersDiffer(got, want); diff != "" {
				t.Errorf("%s: score answers %s", v.ID, diff)
			}
		}
	}
	if ran != 22 {
		t.Errorf("%d vectors, want 22", ran)
	}
}

func answersDiffer(got, want policy.Decision) string {
	x, y := policytest.AnswerOf(got), policytest.AnswerOf(want)
	if x.Prefix != y.Prefix || x.FD != y.FD {
		return x.Prefix + ", the compiled policy " + y.Prefix
	}
	return ""
}
