package plugin

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
)

// hashPrefix begins the names of the dynamic symbols that hold the linker's
// fingerprint of each package, in plugins and in programs that can open them.
// The runtime compares the same values after it has mapped the plugin
// (cmd/link/internal/ld/symtab.go and runtime/plugin.go, Go 1.26). A fingerprint
// covers what importers of a package can see: its exported declarations and the
// bodies of functions that may be inlined.
const hashPrefix = "go:link.pkghashbytes."

// fingerprint is the linker's fingerprint of a package.
type fingerprint [8]byte

// build is how a program or plugin was built.
type build struct {
	info   *debug.BuildInfo
	hashes map[string]fingerprint // by import path
}

// setting gives a build setting, "" if absent.
func (b *build) setting(key string) string {
	for _, s := range b.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// samePlugin tells whether the runtime would take the two for the same plugin. It
// opens one plugin for each import path. Plugins that are built from a list of files
// have no import path.
func (b *build) samePlugin(other *build) bool {
	return b.info.Path == other.info.Path && b.info.Path != "command-line-arguments"
}

// readSelf reads the build of the running program. The link in /proc leads to the file
// that was started, even if another file has its name now.
func readSelf() (*build, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("read the build information of this program: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	b, err := readBuild(f)
	if err == nil && len(b.hashes) == 0 {
		err = errors.New("it holds no package fingerprints")
	}
	if err != nil {
		return nil, fmt.Errorf("read the build information of this program: %w", err)
	}
	return b, nil
}

// readPlugin reads the build of a file that must be a Go plugin.
func readPlugin(f io.ReaderAt) (*build, *Error) {
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := f.ReadAt(magic, 0); err != nil && err != io.EOF {
		return nil, &Error{Kind: Missing, Reason: "cannot be read", Err: err}
	}
	if !bytes.Equal(magic, []byte(elf.ELFMAG)) {
		return nil, &Error{Kind: NotPlugin, Reason: "is not a Go plugin: it is not an ELF file"}
	}
	b, err := readBuild(f)
	if err != nil { // the modules of the original's C daemon end here
		return nil, &Error{Kind: NotPlugin, Reason: "is not a Go plugin", Err: err}
	}
	if mode := b.setting("-buildmode"); mode != "plugin" {
		return nil, &Error{Kind: NotPlugin,
			Reason: "is not a Go plugin: it was built with -buildmode=" + orUnset(mode),
			Hint:   "Build it with:  go build -trimpath -buildmode=plugin"}
	}
	return b, nil
}

// readBuild reads the build of an ELF file made by Go. The result has no hashes if the
// file has no fingerprints of packages.
func readBuild(f io.ReaderAt) (*build, error) {
	info, err := buildinfo.Read(f)
	if err != nil {
		return nil, err
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, err
	}
	b := &build{info: info, hashes: map[string]fingerprint{}}
	for _, s := range symbols {
		escaped, ok := strings.CutPrefix(s.Name, hashPrefix)
		if !ok {
			continue
		}
		name, err := url.PathUnescape(escaped) // the linker writes some bytes as %xx
		if err != nil {
			return nil, fmt.Errorf("symbol %q: %w", s.Name, err)
		}
		h, err := readFingerprint(file, s)
		if err != nil {
			return nil, fmt.Errorf("symbol %q: %w", s.Name, err)
		}
		b.hashes[name] = h
	}
	return b, nil
}

func readFingerprint(file *elf.File, s elf.Symbol) (h fingerprint, err error) {
	if s.Section == elf.SHN_UNDEF || int(s.Section) >= len(file.Sections) {
		return h, errors.New("lies in no section")
	}
	section := file.Sections[s.Section]
	if s.Size != uint64(len(h)) || s.Value < section.Addr || section.ReaderAt == nil {
		return h, errors.New("is not a fingerprint")
	}
	if _, err := section.ReadAt(h[:], int64(s.Value-section.Addr)); err != nil {
		return h, err
	}
	return h, nil
}
