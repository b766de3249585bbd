// Package packages tests what is shipped. The packages are built as anybody would build
// them. Then they are installed, started, asked, upgraded and removed on a fresh machine
// made of namespaces, with systemd as its first process.
package packages

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// version is a version as git describes it. packageVersion is the same version in the form
// that packages have.
const (
	version        = "v7.6.5-rc.1-4-gabc1234"
	packageVersion = "7.6.5~rc.1+4.gabc1234"
)

// built is the directory into which "make packages" writes everything.
var built string

func TestMain(m *testing.M) {
	if play, ok := roles[os.Getenv(roleEnv)]; ok {
		if err := play(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(withPackages(m.Run))
}

// withPackages builds the packages, and removes them after f.
func withPackages(f func() int) int {
	var err error
	if built, err = os.MkdirTemp("", "mamma-packages"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(built) }()
	if err := makePackages(built); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return f()
}

// makePackages runs "make packages" as it is, except for the policies. One of them as a
// plugin is enough for the tests, and all would take half a minute.
func makePackages(dir string) error {
	cmd := packagesCommand("../..", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

// packagesCommand makes the command that builds the sources in a directory.
func packagesCommand(source, dir string) *exec.Cmd {
	policies := "POLICIES=sample"
	if os.Getenv("MAMMA_LONG") != "" {
		policies = "VERSION=" + version // no other
	}
	cmd := exec.Command("make", "-C", source, "packages", "BUILD="+dir, "VERSION="+version, policies)
	// Variables of a make around this test do not concern this one.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "BUILD", "DESTDIR", "PREFIX", "ARCH", "CGO_ENABLED"}, name)
	})
	return cmd
}

// file returns the one file that matches a pattern below built.
func file(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(built, pattern))
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	return names[0]
}

// output returns what a command prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...) //nolint:gosec // tools of the system, our own packages
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

// needs skips the test if programs are missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			lacking(t, "%s: %v", p, err)
		}
	}
}

// lacking skips the test because a capability is missing, or fails it if everything is
// known to be there.
func lacking(t *testing.T, capability string, args ...any) {
	t.Helper()
	required.Lacking(t, "needs "+capability, args...)
}

// The packages contain the same, except where distributions keep files in different places,
// and they have the version of the tag.
func TestContents(t *testing.T) {
	needs(t, "dpkg-deb", "rpm")
	var files [2][]string
	for l := range strings.Lines(output(t, "dpkg-deb", "--contents", file(t, "packages/mamma_*.deb"))) {
		fields := strings.Fields(l)
		if name := strings.TrimPrefix(fields[5], "."); !strings.HasSuffix(name, "/") {
			if fields[1] != "root/root" || fields[0][5] == 'w' || fields[0][8] == 'w' {
				t.Errorf("deb: others may write to %s", l)
			}
			files[0] = append(files[0], strings.Replace(name, "zsh/vendor-completions", "zsh/site-functions", 1))
		}
	}
	for l := range strings.Lines(output(t, "rpm", "-qp", "--queryformat", `[%{FILEMODES:perms} %{FILENAMES}\n]`, file(t, "packages/mamma-7*.rpm"))) {
		if fields := strings.Fields(l); fields[0][0] == '-' {
			files[1] = append(files[1], fields[1])
		}
	}
	for i := range files {
		slices.Sort(files[i])
	}
	if !slices.Equal(files[0], files[1]) {
		t.Errorf("deb and rpm differ:\n%q\n%q", files[0], files[1])
	}
	for _, want := range []string{
		"/usr/bin/mamma", "/usr/bin/mammactl", "/usr/bin/muacsocksd", "/usr/libexec/mamma/mammactl-run", "/etc/mamma/mamma.conf", "/etc/mamma/muacsocksd.conf",
		"/usr/lib/systemd/system/mamma.service", "/usr/lib/systemd/system/muacsocksd.socket", "/usr/lib/sysusers.d/mamma.conf", "/usr/share/dbus-1/system.d/org.socketintents.Mamma1.conf",
		"/usr/share/man/man1/mammactl.1", "/usr/share/man/man5/mamma.conf.5", "/usr/share/man/man7/mamma-desktop.7", "/usr/share/man/man7/mamma-policy.7",
		"/usr/share/man/man8/mamma.8", "/usr/share/man/man8/muacsocksd.8", "/usr/share/doc/mamma/copyright",
		"/usr/share/bash-completion/completions/mammactl", "/usr/share/fish/vendor_completions.d/mammactl.fish",
	} {
		if !slices.Contains(files[0], want) {
			t.Errorf("%s is in no package", want)
		}
	}
	for what, got := range map[string]string{
		"deb":          output(t, "dpkg-deb", "--field", file(t, "packages/mamma_*.deb"), "Version"),
		"rpm":          output(t, "rpm", "-qp", "--queryformat", "%{VERSION}\n", file(t, "packages/mamma-7*.rpm")),
		"deb, plugins": strings.TrimSuffix(strings.TrimPrefix(output(t, "dpkg-deb", "--field", file(t, "packages/mamma-policies_*.deb"), "Depends"), "mamma (= "), ")\n") + "\n",
		"rpm, plugins": strings.TrimPrefix(output(t, "rpm", "-qp", "--requires", file(t, "packages/mamma-policies-*.rpm")), "mamma = "),
	} {
		if got != packageVersion+"\n" {
			t.Errorf("%s: version %q, want %q", what, got, packageVersion)
		}
	}
	if got := output(t, file(t, "staging/usr/bin/mamma"), "--version"); !strings.Contains(got, version) {
		t.Errorf("mamma --version prints %q", got)
	}
}

// No program uses a newer C library than the packages ask for.
func TestLibrary(t *testing.T) {
	needs(t, "dpkg-deb", "dpkg")
	depends := output(t, "dpkg-deb", "--field", file(t, "packages/mamma_*.deb"), "Depends")
	asked := strings.TrimSuffix(strings.TrimPrefix(depends, "libc6 (>= "), ")\n")
	names, err := filepath.Glob(filepath.Join(built, "staging/usr/bin/*"))
	helpers, err2 := filepath.Glob(filepath.Join(built, "staging/usr/libexec/mamma/*"))
	if names = append(names, helpers...); errors.Join(err, err2) != nil || len(names) != 4 {
		t.Fatalf("programs %q, %v, %v", names, err, err2)
	}
	for _, name := range names {
		f, err := elf.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := f.ImportedSymbols()
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			if v, ok := strings.CutPrefix(s.Version, "GLIBC_"); ok && exec.Command("dpkg", "--compare-versions", v, "gt", asked).Run() == nil { //nolint:gosec // version numbers
				t.Errorf("%s: %s is of %s, the package asks for %s", name, s.Name, v, asked)
			}
		}
	}
}

// Each program comes with a list of the modules from which it was built. It is the list
// that Go has put into the program.
func TestBillsOfMaterials(t *testing.T) {
	for _, program := range []string{"bin/mamma", "bin/mammactl", "bin/muacsocksd", "libexec/mamma/mammactl-run"} {
		info, err := buildinfo.ReadFile(filepath.Join(built, "staging/usr", program))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, d := range info.Deps {
			want = append(want, d.Path+" "+d.Version)
		}
		program = filepath.Base(program)
		text, err := os.ReadFile(file(t, "packages/"+program+"_*.cdx.json")) //nolint:gosec // ours
		if err != nil {
			t.Fatal(err)
		}
		var bom struct {
			BOMFormat string
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version, PURL string }
		}
		if err := json.Unmarshal(text, &bom); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range bom.Components {
			if c.PURL == "" {
				t.Errorf("%s: %s has no package URL", program, c.Name)
			}
			if c.Name != "std" { // which is not a module
				got = append(got, c.Name+" "+c.Version)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Version != version || len(want) < 10 || !slices.Equal(got, want) {
			t.Errorf("%s: %s of %+v lists\n%q, want\n%q", program, bom.BOMFormat, bom.Metadata.Component, got, want)
		}
		if strings.Contains(string(text), built) {
			t.Errorf("%s: its bill of materials says where it was built", program)
		}
	}
}

// A second build of the same sources, elsewhere, makes the same packages.
func TestReproducible(t *testing.T) {
	if os.Getenv("MAMMA_LONG") == "" {
		t.Skip("needs MAMMA_LONG=1 (make check-long): builds everything again")
	}
	// The sources and the results are in other directories, and the user is another one: a
	// user of a user namespace, who may read what this one may.
	source := filepath.Join(t.TempDir(), "elsewhere", "sources")
	if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil { //nolint:gosec // as sources are
		t.Fatal(err)
	}
	output(t, "cp", "-a", "../..", source)
	again := t.TempDir()
	cmd := packagesCommand(source, again)
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"USER", "LOGNAME", "HOME"}, name)
	}), "USER=builder", "LOGNAME=builder", "HOME="+t.TempDir(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	for _, v := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // which are below the old HOME
		cmd.Env = append(cmd.Env, v+"="+strings.TrimSpace(output(t, "go", "env", v)))
	}
	const builder = 1234
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: builder, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: builder, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		lacking(t, "user namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(built, "packages/*"))
	if err != nil || len(names) != 4+3 { // packages, and the programs' bills of materials
		t.Fatalf("packages %q, %v", names, err)
	}
	for _, name := range names {
		one, err := os.ReadFile(name) //nolint:gosec // ours
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(again, "packages", filepath.Base(name))) //nolint:gosec // ours
		if err != nil {
			t.Fatal(err)
		}
		if string(one) != string(other) {
			t.Errorf("%s is another one", filepath.Base(name))
		}
	}
}
