package doc

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sources are the files of the repository that hold text: those that git knows, or all
// where there is no git.
func sources(t *testing.T) []string {
	t.Helper()
	var names []string
	if out, err := exec.Command("git", "-C", "..", "ls-files", "-co", "--exclude-standard", "-z").Output(); err == nil {
		names = strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	} else if err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(path, "../"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !slices.Contains([]string{".go", ".md", ".txt", ".txtar", ".hcl", ".conf", ".json", ".yaml", ".yml", ".1", ".5", ".7", ".8", ""}, filepath.Ext(name))
	})
	if len(names) < 300 {
		t.Fatalf("only %d files found", len(names))
	}
	return names
}

// program are the files of the repository in Go, without tests.
func program(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(sources(t), func(name string) bool { return filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") })
}

// citation is what follows the name of a page: sections, defects, titles.
var (
	citation = regexp.MustCompile(`doc/original/([A-Za-z-]+\.md)((?:(?:,| and| to| of| in| on|[ ]|\()*(?:sections?|defects?|corrections?|[DM]?[0-9]+(?:\.[0-9]+)*\b|"[A-Z][a-z ]+"))*)`)
	number   = regexp.MustCompile(`[DM]?[0-9]+(?:\.[0-9]+)*|"[^"]*"|defects?|sections?`)
	heading  = regexp.MustCompile(`(?m)^#{2,} ([0-9.]+)?\s*(.*)$`)
	row      = regexp.MustCompile(`(?m)^\| ([DM]?[0-9]+(?:(?:,| to) [DM]?[0-9]+)*) \|`)
	newline  = regexp.MustCompile(`\n[\t ]*(?://|#)?[\t ]*`)
)

// page is what can be cited of a document.
type page struct{ sections, defects map[string]bool }

func readPage(t *testing.T, name string) *page {
	t.Helper()
	b, err := os.ReadFile("original/" + name)
	if err != nil {
		return nil
	}
	p := &page{map[string]bool{}, map[string]bool{}}
	for _, m := range heading.FindAllSubmatch(b, -1) {
		p.sections[string(m[1])], p.sections[`"`+string(m[2])+`"`] = true, true
	}
	// The table of defects is the last section.
	last := b[bytes.LastIndex(b, []byte("\n## "))+1:]
	for _, m := range row.FindAllSubmatch(last, -1) {
		cell := string(m[1])
		if from, to, ok := strings.Cut(cell, " to "); ok {
			lo, _ := strconv.Atoi(from)
			hi, _ := strconv.Atoi(to)
			for n := lo; n <= hi; n++ {
				p.defects[strconv.Itoa(n)] = true
			}
			continue
		}
		for _, one := range strings.Split(cell, ", ") {
			p.defects[one] = true
		}
	}
	return p
}

// Every page and section that a comment, a test or a text cites is there.
func TestCitationsOfTheOriginal(t *testing.T) {
	pages := map[string]*page{}
	entries, err := os.ReadDir("original")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pages[e.Name()] = readPage(t, e.Name())
	}
	cited := 0
	for _, name := range sources(t) {
		if strings.HasPrefix(name, "doc/original/") || name == "doc/original_test.go" {
			continue
		}
		b, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := newline.ReplaceAllString(string(b), " ")
		if strings.Contains(text, "spec/daemon.md") || strings.Contains(text, "spec/policies.md") {
			t.Errorf("%s cites a page outside of the repository", name)
		}
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			cited++
			p := pages[m[1]]
			if p == nil {
				t.Errorf("%s cites %s, which is not there", name, m[0])
				continue
			}
			in := p.sections
			for _, n := range number.FindAllString(m[2], -1) {
				switch {
				case strings.HasPrefix(n, "defect"):
					in = p.defects
				case strings.HasPrefix(n, "section"):
					in = p.sections
				case n[0] == 'D' || n[0] == 'M':
					if !p.defects[n] {
						t.Errorf("%s cites %q: there is no %s", name, m[0], n)
					}
				case !in[n]:
					t.Errorf("%s cites %q: there is no section %s", name, m[0], n)
				}
			}
		}
	}
	t.Logf("%d citations", cited)
	if cited < 100 {
		t.Errorf("only %d citations found", cited)
	}
}
