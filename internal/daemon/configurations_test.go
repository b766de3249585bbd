package daemon

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/policies"
)

var hclBlock = regexp.MustCompile("(?s)```hcl\n(.*?)```")

// Every configuration shown in a README is read, and its policy made: what
// people copy works.
func TestConfigurationsInREADMEs(t *testing.T) {
	files, err := filepath.Glob("../../policies/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples := hclBlock.FindAllSubmatch(text, -1)
		if len(examples) == 0 {
			t.Errorf("%s shows no configuration", file)
		}
		for _, m := range examples {
			cfg, err := config.Parse(m[1], file)
			if err != nil {
				t.Error(err)
				continue
			}
			if cfg.Policy.Name == "" {
				continue
			}
			c, err := (&loader{known: policies.All()}).constructor(cfg)
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := makePolicy(cfg, c.make, nil); err != nil {
				t.Error(err)
			}
		}
	}
}
