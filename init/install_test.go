package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The script that packages and "make install" end with makes the user, tells
// systemd, and says what is next where something is.
func TestPostinstall(t *testing.T) {
	const next = "To start it now and at each boot:\n  systemctl enable --now mamma.socket mamma-control.socket mamma.service muacsocksd.socket\n"
	for _, tt := range []struct {
		name    string
		args    []string
		systemd bool
		calls   string // of programs
		says    string
	}{
		{"deb", []string{"configure", ""}, true, "systemd-sysusers mamma.conf\nsystemctl daemon-reload\nsystemctl try-restart mamma.service muacsocksd.service\n", next},
		{"deb upgraded", []string{"configure", "0.9.0"}, true, "systemd-sysusers mamma.conf\nsystemctl daemon-reload\nsystemctl try-restart mamma.service muacsocksd.service\n", ""},
		{"rpm", []string{"1"}, true, "systemd-sysusers mamma.conf\nsystemctl daemon-reload\nsystemctl try-restart mamma.service muacsocksd.service\n", next},
		{"rpm upgraded", []string{"2"}, false, "systemd-sysusers mamma.conf\n", ""},
		{"make", []string{"install", "/opt/lib/sysusers.d/mamma.conf"}, true,
			"systemd-sysusers /opt/lib/sysusers.d/mamma.conf\nsystemctl daemon-reload\nsystemctl try-restart mamma.service muacsocksd.service\n", next},
		{"make without systemd", []string{"install", "/opt/lib/sysusers.d/mamma.conf"}, false, "systemd-sysusers /opt/lib/sysusers.d/mamma.conf\n", "To start it: mamma /etc/mamma/mamma.conf"},
	} {
		dir := t.TempDir()
		calls := filepath.Join(dir, "calls")
		for _, name := range []string{"systemd-sysusers", "systemctl"} {
			script := "#!/bin/sh\necho " + name + " \"$@\" >> " + calls + "\n"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		running := dir
		if !tt.systemd {
			running = filepath.Join(dir, "none")
		}
		cmd := exec.Command("/bin/sh", append([]string{"package/postinstall.sh"}, tt.args...)...)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "MAMMA_SYSTEMD=" + running}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.name, err, out)
		}
		got, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.calls, string(got)); diff != "" {
			t.Errorf("%s: called (-want +got)\n%s", tt.name, diff)
		}
		if tt.says == "" && len(out) > 0 || !strings.Contains(string(out), tt.says) {
			t.Errorf("%s: says %q, want %q", tt.name, out, tt.says)
		}
	}
}

// "make install" ends with that script where it installs into this host, and where
// something is laid out for another it does not.
func TestMakeInstall(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{nil, true},
		{[]string{"PREFIX=/opt"}, true},
		{[]string{"DESTDIR=/nowhere"}, false},
	} {
		got := output(t, "..", nil, "make", append([]string{"-n", "install", "CGO_ENABLED=0"}, tt.args...)...)
		if strings.Contains(got, "postinstall.sh install /") != tt.want {
			t.Errorf("make install %q: runs the script %t, want %t", tt.args, !tt.want, tt.want)
		}
	}
}

// Versions of builds without a tag sort by time, those of packages too, and below
// any tag.
func TestVersionsSort(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts make for each version")
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), makefile, 0o644); err != nil {
		t.Fatal(err)
	}
	git := func(date string, args ...string) {
		env := []string{"GIT_COMMITTER_DATE=" + date, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME=" + dir}
		output(t, dir, env, "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.net"}, args...)...)
	}
	version := func() (program, pack string) {
		out := output(t, dir, []string{"TZ=America/New_York"}, "make", "-s", "--eval", "versions: ; @echo $(VERSION) $(PACKAGE_VERSION)", "versions")
		program, pack, _ = strings.Cut(strings.TrimSpace(out), " ")
		return program, pack
	}
	git("", "init", "-q")
	git("", "add", "Makefile")
	var programs, packs []string
	note := func() {
		program, pack := version()
		programs, packs = append(programs, program), append(packs, pack)
	}
	for _, date := range []string{"2026-01-09T23:00:00Z", "2026-01-10T01:00:00+02:00", "2026-02-01T00:00:00Z"} {
		git(date, "commit", "-q", "--allow-empty", "-m", date)
		note()
	}
	git("", "tag", "v0.1.0-rc.1")
	note()
	git("2026-02-02T00:00:00Z", "commit", "-q", "--allow-empty", "-m", "later")
	note()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), append(makefile, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	note()
	for i, prefix := range []string{
		"v0.0.0-20260109230000-", "v0.0.0-20260109230000-", "v0.0.0-20260201000000-", "v0.1.0-rc.1", "v0.1.0-rc.1-1-g", "v0.1.0-rc.1-1-g",
	} {
		if !strings.HasPrefix(programs[i], prefix) {
			t.Errorf("version %d is %s, want %s…", i, programs[i], prefix)
		}
	}
	if !strings.HasSuffix(programs[5], "-dirty") {
		t.Errorf("with a change, the version is %s", programs[5])
	}
	for _, p := range packs {
		if strings.Contains(p, "-") {
			t.Errorf("%s is not a version of an rpm", p)
		}
	}
	before := map[string]func(a, b string) bool{
		"dpkg": func(a, b string) bool { return exec.Command("dpkg", "--compare-versions", a, "lt", b).Run() == nil },
		"rpm": func(a, b string) bool {
			out, err := exec.Command("rpm", "--eval", "%{lua: print(rpm.vercmp('"+a+"', '"+b+"'))}").Output()
			return err == nil && strings.TrimSpace(string(out)) == "-1"
		},
	}
	compared := 0
	for tool, less := range before {
		if _, err := exec.LookPath(tool); err != nil {
			continue
		}
		compared++
		for i := 2; i < len(packs); i++ { // the first two are of one moment
			if !less(packs[i-1], packs[i]) {
				t.Errorf("for %s, %s does not come before %s", tool, packs[i-1], packs[i])
			}
		}
	}
	if compared == 0 {
		t.Skip("needs dpkg or rpm to compare versions")
	}
}

// What "make help" prints fits into a terminal of the usual width.
func TestMakeHelp(t *testing.T) {
	out := output(t, "..", nil, "make", "-s", "help")
	for _, target := range []string{"  make check ", "  make demo ", "  make packages "} {
		if !strings.Contains(out, "\n"+target) {
			t.Errorf("%q is missing in\n%s", target, out)
		}
	}
	for l := range strings.Lines(out) {
		if l = strings.TrimSuffix(l, "\n"); len(l) > 80 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
}

// output runs a program in dir without what a make around this test was told.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		switch key, _, _ := strings.Cut(v, "="); key {
		case "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "VERSION", "DESTDIR", "PREFIX", "BUILD", "PACKAGE_VERSION":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}
