package doc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every fuzz test of the module has a corpus in the repository.
func TestEveryFuzzTestHasACorpus(t *testing.T) {
	fuzz := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	found := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // what is built comes and goes
			return nil
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == ".git" || e.Name() == "build"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range fuzz.FindAllSubmatch(b, -1) {
			found++
			if inputs, err := os.ReadDir(filepath.Join(filepath.Dir(path), "testdata", "fuzz", string(m[1]))); err != nil || len(inputs) < 8 {
				t.Errorf("%s: %s has %d inputs, %v", path, m[1], len(inputs), err)
			}
		}
		return nil
	})
	if err != nil || found < 30 {
		t.Errorf("%d fuzz tests found, %v", found, err)
	}
}
