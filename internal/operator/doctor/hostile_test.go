package doctor

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
)

// everything makes facts in which each check finds something, about interfaces with the
// given name.
func everything(name string) []Facts {
	named := func(change func(*Facts)) Facts {
		f := healthy()
		change(&f)
		for i := range f.Prefixes {
			f.Prefixes[i].ID.Interface = name
		}
		for i := range f.Refused {
			f.Refused[i].ID.Interface = name
		}
		for i := range f.Led {
			f.Led[i].ID.Interface = name
		}
		return f
	}
	return []Facts{
		named(func(f *Facts) { f.Prefixes[0].Link = false }),
		named(func(f *Facts) {
			f.Prefixes[0].Default, f.Prefixes[1].Egress, f.Prefixes[1].ReversePath = false, "wlan9", 1
		}),
		named(func(f *Facts) {
			f.Prefixes[0].GatewayState, f.Prefixes[1].GatewayState = GatewayUnreachable, GatewayFiltered
		}),
		named(func(f *Facts) {
			f.Prefixes[0].GatewayState, f.Prefixes[0].GatewayError = GatewaySilent, name
			f.Prefixes[0].Servers[0].Error = name
		}),
		named(func(f *Facts) {
			f.Others = append(f.Others, f.Prefixes[0].ID)
			f.Others[0].Interface = "1" + name
			f.Unmatched = []Block{{Name: name, At: name, Off: name}}
			f.Run = &Run{Error: name, Unmoved: name}
		}),
		named(func(f *Facts) {
			f.Refused, f.Led = []Prefix{wifi()}, []Led{{Prefix: lte(), Into: name}, {Prefix: lte(), Into: name, Other: true}}
			f.Refused[0].Refused = name
			f.Splits = []Split{{Domain: name, Interface: name}}
			f.Marks, f.Markers = []Diversion{{Rule: name, Prefixes: []string{name}}}, []string{name}
			f.Users = []Diversion{{Rule: name, Users: "1-2", Prefixes: []string{name}}}
		}),
		named(func(f *Facts) {
			f.ManageRouting, f.MayRoute, f.DeviceError, f.MPTCP = true, false, name, Off
			f.Prefixes[0].Managed, f.Prefixes[0].Undone = true, []Foreign{{Priority: 9, Words: "from all iif " + display.ShellQuote(name) + " prohibit"}}
			f.Prefixes[1].Egress, f.Prefixes[1].Foreign = name, Foreign{Priority: 9, Words: "from all iif " + display.ShellQuote(name) + " lookup 77"}
			f.Prefixes[0].Undone[0].Before = []string{"from all iif " + display.ShellQuote(name) + " lookup 77"}
		}),
		named(func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Egress = true, name
			f.Prefixes[1].Foreign = Foreign{Priority: 9, Words: "from all iif " + display.ShellQuote(name) + " lookup 77"}
			f.Prefixes[1].Past = f.Prefixes[1].Foreign
		}),
		named(func(f *Facts) {
			f.Prefixes[0].Default, f.Prefixes[0].Barrier = false, Foreign{Priority: 9, Words: "from all iif " + display.ShellQuote(name) + " prohibit"}
		}),
		named(func(f *Facts) {
			f.Scopes = &Scopes{Known: true, Attached: true, Error: name, Missing: []string{name}, Unkept: true, Unmatched: []string{name}, Failed: map[string]uint64{name: 1}}
			f.Resets, f.NeverProbes, f.MayRoute = []Block{{Name: name, At: name}}, true, false
		}),
		named(func(f *Facts) { f.Prefixes[1].Turn = []string{"1" + name, name} }),
		named(func(f *Facts) { f.Prefixes = nil }),
	}
}

// The tests with names cover each check, including checks that are added later.
func TestEverythingIsFound(t *testing.T) {
	files, err := filepath.Glob("examine*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, b...)
	}
	found := map[string]bool{}
	for _, f := range everything("wlan0") {
		for _, x := range Examine(f).Findings {
			found[x.Check] = true
		}
	}
	checks := regexp.MustCompile(`Check: "([^"]+)"`).FindAllSubmatch(source, -1)
	for _, c := range checks {
		if !found[string(c[1])] {
			t.Errorf("nothing is found by %s", c[1])
		}
	}
	if len(checks) < len(found) {
		t.Errorf("%d checks for %d sorts of findings", len(checks), len(found))
	}
}

// A user who may name an interface can neither put a command into the text that people
// paste, nor send an escape sequence to their terminals.
func TestNamesAreNoCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a shell for each command")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell: ", err)
	}
	// The programs that the commands call do nothing here.
	const harmless = "ip() { :; }; sysctl() { :; }; ping() { :; }; iptables() { :; }; dig() { :; }; nft() { :; }\n"
	for _, name := range []string{"a;:>made", "$(:>made)", "`:>made`", "a'b;:>made;'", "a|:>made", "a\";:>made\"", "a&&:>made\x1b[2J", "\u202e;:>made"} {
		fixes := 0
		for _, f := range everything(name) {
			r := Examine(f)
			var out bytes.Buffer
			if err := r.Write(&out, 0); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
				t.Errorf("%q: the report is not text: %q", name, &out)
			}
			for _, x := range r.Findings {
				for _, fix := range x.Fix {
					fixes++
					dir := t.TempDir()
					c := exec.Command(sh, "-c", harmless+fix)
					c.Dir, c.Env = dir, []string{"PATH=" + filepath.Join(dir, "none")}
					_ = c.Run() // settings are not commands, and fail
					if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
						t.Errorf("the name %q is a command in %q", name, fix)
					}
				}
			}
		}
		if fixes < 14 {
			t.Errorf("%q: %d commands only", name, fixes)
		}
	}
}

// When mamma reads a proposed setting, the name in it is the interface's own.
func TestSettingsAreReadAsTheyAreMeant(t *testing.T) {
	for _, name := range []string{"wlan0", "eth0.7", "a;b", `a"b\c`, "${x}", "%{x}", "caf\u00e9", "\U0001f600"} {
		cfg, err := config.Parse([]byte("interface "+setting(name)+" {\n  enabled = false\n}\n"), "policy.conf")
		if err != nil || len(cfg.Blocks) != 1 || cfg.Blocks[0].Interface != name {
			t.Errorf("%q as %s: %+v, %v", name, setting(name), cfg, err)
		}
	}
}

// The setting that switches off one of two equal networks is about that interface only,
// even if its name looks like a pattern.
func TestSettingForOneInterface(t *testing.T) {
	for _, name := range []string{"usb1", "usb[1]", "usb*", `a\b`} {
		f := healthy()
		f.Others = append(f.Others, f.Prefixes[0].ID)
		f.Others[0].Interface = name
		found := false
		for _, x := range Examine(f).Findings {
			if x.Check != "duplicate" {
				continue
			}
			found = true
			cfg, err := config.Parse([]byte(strings.Replace(x.Fix[1], "{ enabled = false }", "{\n  enabled = false\n}\n", 1)), "policy.conf")
			if err != nil {
				t.Fatalf("%s: %v", x.Fix[1], err)
			}
			if s := cfg.Settings(name, f.Others[0].Prefix); !s.Named || s.Enabled {
				t.Errorf("%q: %s is not about it: %+v", name, x.Fix[1], s)
			}
			if s := cfg.Settings("usbX", f.Others[0].Prefix); s.Named {
				t.Errorf("%q: %s is about others, too", name, x.Fix[1])
			}
		}
		if !found {
			t.Errorf("%q: nothing found", name)
		}
	}
}

// If echo or sysctl.d(5) would read a name differently, the doctor only sets the parameter,
// and proposes nothing that lasts.
func TestNamesThatDoNotLast(t *testing.T) {
	for _, name := range []string{`a\nb`, "a*b", "a=b", "a?b", "a b", "[a]"} {
		if set, last := sysctl(filterKey(name), "2"); last != "" || !strings.Contains(set, "sysctl -w ") {
			t.Errorf("%q: %q, %q", name, set, last)
		}
	}
	for _, name := range []string{"wlan0", "eth0.100", "br-lan", "usb0:1", "a@b"} {
		if _, last := sysctl(filterKey(name), "2"); last != "echo "+filterKey(name)+"=2 >> /etc/sysctl.d/90-mamma.conf" {
			t.Errorf("%q: %q", name, last)
		}
	}
}
