package doc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each finding can be run by itself, stops at the first error, works in a folder that it
// removes, and says what one would expect and what was seen.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("../findings/*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("no findings: %v", err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: chmod +x", f)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []string{"#!/usr/bin/env bash\n", "\nset -euo pipefail\n", "mktemp -d", "\n# Expected: ", "\n# Seen: "} {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s lacks %q", f, strings.TrimSpace(w))
			}
		}
		if !strings.Contains(string(text), "rm -rf") {
			t.Errorf("%s leaves its folder behind", f)
		}
	}
}
