package daemon

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/policies"
)

var (
	hclBlock   = regexp.MustCompile("(?s)```hcl\n(.*?)```")
	manBlock   = regexp.MustCompile(`(?s)\n\.nf\n(.*?)\n\.fi`)
	manRequest = regexp.MustCompile(`(?m)^\..*\n?`)
	isConfig   = regexp.MustCompile(`(?m)^(policy|prefix|interface) "`)
)

// shipped returns every configuration in the repository that people are shown or get, by
// the place where it stands. Those of muacsocksd are checked elsewhere.
func shipped(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name == ".git" || name == "build" || path == "internal/config/testdata/errors" || path == "tests/hosts" {
				return fs.SkipDir
			}
			return nil
		}
		var blocks *regexp.Regexp
		switch ext := filepath.Ext(name); {
		case path == "init/managed.conf" || path == "init/scopes.conf" || strings.Contains(path, "muacsocksd") || strings.HasPrefix(path, "internal/proxy/"):
			return nil // of systemd and the proxy
		case strings.HasPrefix(name, "strange."):
			return nil // nothing to copy
		case ext == ".conf", ext == ".hcl":
		case ext == ".md":
			blocks = hclBlock
		case regexp.MustCompile(`^\.[1-8]$`).MatchString(ext):
			blocks = manBlock
		default:
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if blocks == nil {
			found[path] = string(text)
			return nil
		}
		for _, m := range blocks.FindAllStringSubmatch(string(text), -1) {
			src := m[1]
			if blocks == manBlock {
				src = manRequest.ReplaceAllString(src, "")
				src = strings.NewReplacer(`\e`, `\`, `\-`, "-", `\&`, "").Replace(src)
			}
			if blocks == hclBlock || isConfig.MatchString(src) {
				found[path+": "+firstLine(src)] = src
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// The configurations that people copy are correct. Each is checked as --check does it.
func TestShippedConfigurations(t *testing.T) {
	all := shipped(t)
	for _, want := range []string{
		"internal/config/reference.hcl", "internal/config/minimal.hcl", "init/mamma.conf", `README.md: policy "intents" {`,
		`doc/man/mamma.conf.5: policy "intents" {`, "doc/man/mamma.conf.5: " + firstLine(config.Reference), `policies/score/README.md: policy "score" {`,
	} {
		if all[want] == "" {
			t.Errorf("%s was not found", want)
		}
	}
	if diff := cmp.Diff(strings.TrimSpace(config.Reference), strings.TrimSpace(all["doc/man/mamma.conf.5: "+firstLine(config.Reference)])); diff != "" {
		t.Errorf("the manual page explains the settings in other words than reference.hcl (-reference +page)\n%s", diff)
	}
	for where, text := range all {
		t.Run(where, func(t *testing.T) {
			if strings.Contains(text, `policy "./`) { // a plugin, which is not here
				if _, err := config.Parse([]byte(text), where); err != nil {
					t.Error(err)
				}
				return
			}
			file := filepath.Join(t.TempDir(), "mamma.conf")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Check(t.Context(), file, policies.All()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A policy that chooses subflows has an effect only if something opens subflows. A file of
// the original cannot ask for that.
func TestSubflowsThatNobodyOpens(t *testing.T) {
	const told = "chooses the subflows of MPTCP connections, and this daemon opens none"
	for _, tt := range []struct {
		name, conf string
		want       []string // what the warning holds; nil: there is none
	}{
		{"original", `policy "/usr/local/lib/mam-policies/policy_mptcp_simple.so" { };`, []string{told, "mamma.conf:1", `path_manager = "kernel"`, "--convert"}},
		{"hcl", `policy "mptcp_selective" {}`, []string{told, `path_manager = "kernel"`}},
		{"managed", "policy \"mptcp_simple\" {}\nmptcp { path_manager = \"kernel\" }", nil},
		{"only for late ones", `policy "adaptive" {}`, nil},
		{"the automatic one", "auto = true", nil},
		{"another policy", `policy "sample" { };`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "mamma.conf")
			if err := os.WriteFile(file, []byte(tt.conf), 0o600); err != nil {
				t.Fatal(err)
			}
			warnings, err := Check(t.Context(), file, policies.All())
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(warnings, "\n")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("%q does not say %q", all, want)
				}
			}
			if tt.want == nil && strings.Contains(all, told) {
				t.Errorf("it says %q", all)
			}
		})
	}
}
