package hosts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The table of README.md names hosts and tests that exist, and the library has enough
// hosts.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, m := range regexp.MustCompile(`(?m)^\| .* \|$`).FindAll(b, -1) {
		names := regexp.MustCompile("`([a-z0-9-]+\\.host|Test[A-Za-z]+)`").FindAllSubmatch(m, -1)
		if len(names) > 0 {
			rows++
		}
		for _, n := range names {
			name := string(n[1])
			if bytes.HasPrefix(n[1], []byte("Test")) {
				if exec.Command("grep", "-rqE", "^func "+name+`\(`, "--include=*_test.go", "../..").Run() != nil {
					t.Errorf("there is no test %s", name)
				}
			} else if _, err := os.Stat(name); err != nil {
				t.Error(err)
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows only", rows)
	}
	const least = 60
	if files, err := filepath.Glob("*.host"); err != nil || len(files) < least {
		t.Errorf("%d hosts, want at least %d, %v", len(files), least, err)
	}
}
