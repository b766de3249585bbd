package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/socket-intents/mamma/policy"
)

// asConverted gives c as it is expected back after Convert: what is silent in
// the original grammar is said in HCL, names that HCL lacks are gone, and text
// is in the normal form of Unicode that HCL uses.
func asConverted(c *Config) *Config {
	if !c.Original {
		return c
	}
	want := *c
	want.CompatAssumed = false
	want.Policy.Name = cty.NormalizeString(c.Policy.Name)
	want.Policy.Settings = writable(c.Policy.Settings)
	want.Blocks = slices.Clone(c.Blocks)
	for i := range want.Blocks {
		b := &want.Blocks[i]
		b.ResolvConf = cty.NormalizeString(b.ResolvConf)
		b.Options = writable(b.Options)
		no := false
		switch {
		case b.Enabled == nil:
			b.Enabled = &no
		case *b.Enabled:
			b.Enabled = nil
		}
	}
	return &want
}

func writable(settings []policy.Setting) []policy.Setting {
	var kept []policy.Setting
	for _, s := range settings {
		s.Value = cty.NormalizeString(s.Value)
		if hclsyntax.ValidIdentifier(s.Name) {
			kept = append(kept, s)
		}
	}
	return kept
}

func checkRoundTrip(t *testing.T, c *Config) {
	t.Helper()
	text := Convert(c)
	again, err := Parse([]byte(text), "converted")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if again.Original {
		t.Fatalf("converted file is in the original grammar:\n%s", text)
	}
	if diff := cmp.Diff(asConverted(c), again, comparer); diff != "" {
		t.Fatalf("(-want +got)\n%s\n%s", diff, text)
	}
	if next := Convert(again); next != text && !c.Original {
		t.Fatalf("converting twice differs:\n%s", cmp.Diff(text, next))
	}
}

func TestConvertRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/samples/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "reference.hcl", "minimal.hcl", "testdata/strange.conf") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, c)
		})
	}
}

// TestConvert shows a whole converted file.
func TestConvert(t *testing.T) {
	c, err := Load(t.Context(), "testdata/strange.conf")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/strange.hcl"
	got := Convert(c)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
