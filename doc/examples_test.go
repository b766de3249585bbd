package doc

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What users copy switches nothing off that they have without mamma: a literal
// http.Transport has no proxy from the environment, no time-out for the TLS handshake
// and, with a dial function, no HTTP/2; a TLS handshake needs a time-out of its own.
func TestExamplesSwitchNothingOff(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(path)
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || name == "../tests" || name == "../internal") {
			return fs.SkipDir
		}
		public := strings.HasSuffix(name, ".md") || strings.HasSuffix(name, "example_test.go") || strings.HasSuffix(name, "/doc.go") ||
			strings.HasPrefix(name, "../examples/") && strings.HasSuffix(name, ".go")
		if d.IsDir() || !public {
			return nil
		}
		b, err := os.ReadFile(path) //nolint:gosec // the repository
		if err != nil {
			return err
		}
		seen++
		text := string(b)
		if strings.Contains(text, "http.Transport{D") || strings.Contains(text, "http.Transport{\n") {
			t.Errorf("%s makes an http.Transport that lacks what http.DefaultTransport has: Clone that", name)
		}
		if strings.Contains(text, "tls.Client(") && !strings.Contains(text, "WithTimeout(") {
			t.Errorf("%s shakes hands by TLS without a time-out", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// The page of each example that is a module tells how it is used before a version of
// mamma is published. A policy is built otherwise, which its page says.
func TestExamplesSayHowToReplace(t *testing.T) {
	mods, err := filepath.Glob("../examples/*/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, mod := range append(mods, "../otelintent/go.mod", "../quicintent/go.mod") {
		dir := filepath.Dir(mod)
		b, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		want := "go mod edit -replace github.com/socket-intents/mamma="
		if dir == filepath.Join("..", "examples", "policy") {
			want = "make MAMMA=/path/to/mamma"
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("%s does not say %q", dir, want)
		}
	}
	if len(mods) < 8 {
		t.Errorf("only %d modules", len(mods))
	}
}
