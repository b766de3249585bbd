// Package doc tests that the pages about the whole project name what exists.
package doc

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policies"
)

// The folders that MAPPING.md sends its readers to are there, and all policies
// are in it.
func TestMapping(t *testing.T) {
	b, err := os.ReadFile("../MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for l := range strings.Lines(text) {
		cells := strings.Split(l, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`((?:client|mam|internal|cmd|tests|examples|policies)/[a-z_/]*)`").FindAllStringSubmatch(cells[len(cells)-2], -1) {
			if _, err := os.Stat("../" + m[1]); err != nil {
				t.Errorf("%s names what is not there: %v", strings.TrimSpace(l), err)
			}
		}
	}
	for _, name := range policies.Names() {
		short := "`…" + strings.TrimPrefix(name, "earliest_arrival") + "`"
		if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, short) {
			t.Errorf("policy %s is missing", name)
		}
	}
}
