package policies

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/policy"
)

// TestREADMEs makes each policy from the example in its README, and checks that the
// README describes the policy.
func TestREADMEs(t *testing.T) {
	for _, name := range All().Names() {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(name + "/README.md")
			if err != nil {
				t.Fatal(err)
			}
			title, rest, _ := strings.Cut(string(text), "\n")
			if title != "# "+name {
				t.Errorf("title %q", title)
			}
			for _, want := range []string{"**Use it**", "## How it decides", `policy "` + name + `" {`} {
				if !strings.Contains(rest, want) {
					t.Errorf("no %q", want)
				}
			}
			_, rest, _ = strings.Cut(rest, "```hcl\n")
			example, _, _ := strings.Cut(rest, "```")
			cfg := parse(t, name, example)
			if _, err := All().New(name, cfg); err != nil {
				t.Errorf("the example is refused: %v", err)
			}
		})
	}
}

// parse reads the settings of an example as the configuration does.
func parse(t *testing.T, name, text string) policy.Config {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "README.md", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	cfg := policy.Config{Name: name}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		for _, a := range block.Body.Attributes {
			at, from := a.NameRange.Start, a.Expr.Range()
			s := policy.Setting{
				Name: a.Name, Expr: text[from.Start.Byte:from.End.Byte], Block: block.Type + ` "` + block.Labels[0] + `"`,
				File: "README.md", Line: at.Line, Column: at.Column, ExprLine: from.Start.Line, ExprColumn: from.Start.Column,
			}
			if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
				s.Value, s.Constant = strings.Trim(s.Expr, `"`), v.IsKnown()
			}
			switch {
			case block.Type == "policy":
				cfg.Settings = append(cfg.Settings, s)
			case a.Name != "default": // belongs to the configuration itself
				cfg.PrefixSettings = append(cfg.PrefixSettings, s)
			}
		}
	}
	return cfg
}
