package plugin

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// toolchain builds plugins and the loader program for tests, several at a time.
type toolchain struct {
	dir string // where the results go
	env []string
	wg  sync.WaitGroup
}

// newToolchain skips the test if plugins cannot be built.
func newToolchain(t *testing.T) *toolchain {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: builds programs and plugins for up to half a minute")
	}
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Skipf("missing capability: the go command: %v", err)
	}
	if name := strings.Fields(string(cc)); len(name) == 0 {
		t.Skip("missing capability: a C compiler, which cgo and so plugins need")
	} else if _, err := exec.LookPath(name[0]); err != nil {
		t.Skipf("missing capability: a C compiler, which cgo and so plugins need: %v", err)
	}
	// The person who runs the test may have other settings; these are the daemon's.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"GOFLAGS", "GOWORK", "GOAMD64", "GOEXPERIMENT", "MAKEFLAGS", "MFLAGS"}, name)
	})
	return &toolchain{
		dir: trustedDir(t),
		env: append(env, "CGO_ENABLED=1", "GOFLAGS=-buildvcs=false"),
	}
}

// file returns the path that a build with this name as its -o argument writes.
func (c *toolchain) file(name string) string { return filepath.Join(c.dir, name) }

// start runs a command in dir in the background. Words like "KEY=value" at the
// beginning set the environment. wait waits for all commands.
func (c *toolchain) start(t *testing.T, dir string, words ...string) {
	env := slices.Clone(c.env)
	for len(words) > 0 && strings.Contains(words[0], "=") {
		env, words = append(env, words[0]), words[1:]
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(words, " "), err, out)
		}
	})
}

func (c *toolchain) wait(t *testing.T) {
	t.Helper()
	c.wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// root is the root of the source tree.
const root = "../.."

// copyTree copies folders and files of the source tree to a new one. In all files it
// replaces each old string by the new string after it.
func copyTree(t *testing.T, to string, names []string, oldNew ...string) {
	t.Helper()
	for _, name := range names {
		from := filepath.Join(root, name)
		err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(to, filepath.Dir(rel)), 0o755); err != nil {
				return err
			}
			text = []byte(strings.NewReplacer(oldNew...).Replace(string(text)))
			return os.WriteFile(filepath.Join(to, rel), text, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadSelf(t *testing.T) {
	// A program without cgo cannot open plugins, and holds no fingerprints.
	b, err := readSelf()
	if supported && (err != nil || b.hashes["github.com/socket-intents/mamma/policy"] == fingerprint{}) {
		t.Errorf("readSelf: got %v, %v; want the fingerprint of policy", b, err)
	}
	if !supported && err == nil {
		t.Errorf("readSelf: got %d fingerprints in a static program", len(b.hashes))
	}
}

// FuzzReadPlugin shows that no file makes the reader panic, and that no other file is
// taken for a plugin.
func FuzzReadPlugin(f *testing.F) {
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
		Shoff: 64, Shentsize: 64, Shnum: 1,
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, header); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(append(b.Bytes(), make([]byte, 64)...))
	f.Add([]byte("\x7fELF"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, fail := readPlugin(bytes.NewReader(data))
		if fail == nil && b.setting("-buildmode") != "plugin" {
			t.Errorf("taken for a plugin: %v", b.info)
		}
		if fail != nil && (fail.Kind != NotPlugin || fail.Reason == "") {
			t.Errorf("got error %#v", fail)
		}
	})
}
