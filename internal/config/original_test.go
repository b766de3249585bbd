package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

// summary writes what a Config says about policy and blocks, so that tables
// stay readable.
func summary(c *Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s%s\n", c.Policy.Name, settingsText(c.Policy.Settings))
	for _, block := range c.Blocks {
		name := block.Interface
		if block.Prefix.IsValid() {
			name = block.Prefix.String()
		}
		b.WriteString(name)
		if block.Enabled != nil {
			fmt.Fprintf(&b, " enabled=%t", *block.Enabled)
		}
		if block.Default != nil {
			fmt.Fprintf(&b, " default=%t", *block.Default)
		}
		if block.Cost != nil {
			fmt.Fprintf(&b, " cost=%v", *block.Cost)
		}
		if len(block.Nameservers) > 0 {
			fmt.Fprintf(&b, " nameserver=%v", block.Nameservers)
		}
		if block.ResolvConf != "" {
			fmt.Fprintf(&b, " resolvconf=%s", block.ResolvConf)
		}
		if block.DNSBindTo.IsValid() {
			fmt.Fprintf(&b, " dnsbindto=%v", block.DNSBindTo)
		}
		b.WriteString(settingsText(block.Options) + "\n")
	}
	return b.String()
}

func settingsText(settings []policy.Setting) string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, " [%s=%s]", s.Name, s.Value)
	}
	return b.String()
}

func warnings(c *Config) []string {
	var all []string
	for _, d := range c.Warnings {
		d.Source = ""
		all = append(all, d.String())
	}
	return all
}

// TestSamples loads the original's sample files as doc/original/daemon.md 12.4 restates
// them.
func TestSamples(t *testing.T) {
	const loc = "/usr/local/lib/mam-policies/"
	want := map[string]string{
		"policy_sample.conf": "policy " + loc + "policy_sample.so [logfile=samplepolicy.log]\n" +
			"192.168.102.11/32 enabled=true default=true resolvconf=/etc/resolv.conf dnsbindto=192.168.102.11\n" +
			"141.23.169.209/32 enabled=true nameserver=[130.149.220.253:53]\n",
		"threshold_policy.conf": "policy " + loc + "threshold_policy.so [logfile=threshold.log]\n" +
			"10.0.2.2/32 enabled=true default=true\n10.0.1.2/32 enabled=true\n",
		"policy_earliest_arrival.conf": "policy policy_earliest_arrival.so [logfile=ea.log]\n" +
			"10.0.2.2/32 enabled=true default=true nameserver=[10.0.2.1:53]\n10.0.1.2/32 enabled=true nameserver=[10.0.1.1:53]\n",
		"policy_category.conf": "policy policy_intents.so\n" +
			"192.168.102.11/32 enabled=true [category=query]\n141.23.169.209/32 enabled=true [category=bulktransfer]\n" +
			"2001:db8:c801:1:20c:29ff:fe52:1/128 enabled=true [minfilesize=1] [maxfilesize=2]\n" +
			"2001:db8:c801:2:20c:29ff:fe52:2/128 enabled=true [maxfilesize=1231322323]\n",
		"policy_rr_naive.conf": "policy " + loc + "policy_rr_naive.so\n" +
			"192.168.102.11/32 enabled=true\n141.23.169.209/32 enabled=true [foo=bar]\n2001:bf0:c801:1::/128 enabled=true\n",
		"tests_policy_sample.conf": "policy policy_sample.so [foo=bar]\n",
		"policy_video.conf": "policy policy_video.so [logfile=video.log] [be_pessimist=1]\n" +
			"10.0.1.0/32 enabled=true default=true\n10.0.2.0/32 enabled=true\n",
		"readme.conf": "policy " + loc + "policy_sample.so [logfile=samplepolicy.log]\n" +
			"192.168.102.11/32 enabled=true default=true\n",
	}
	files, err := filepath.Glob("testdata/samples/*.conf")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, want %d (%v)", len(files), len(want), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			if !c.Original || !c.PolicyConfig().Lenient {
				t.Error("not taken for the original grammar")
			}
			if diff := cmp.Diff(want[filepath.Base(file)], summary(c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOriginalGrammar(t *testing.T) {
	const p = `policy "p"; prefix 10.0.0.1/24 {`
	for _, tt := range []struct {
		name, src, want string
		warnings        []string
	}{
		{"policy without block", `policy "p"; prefix 10.0.0.1/24 {};`, "policy p\n10.0.0.1/32\n", nil},
		{"both forms of set", p + `set a 1; set b = 2;};`, "policy p\n10.0.0.1/32 [a=1] [b=2]\n", nil},
		{"integer", p + `set a 007;};`, "policy p\n10.0.0.1/32 [a=7]\n", nil},
		{"largest integer", p + `set a 2147483647;};`, "policy p\n10.0.0.1/32 [a=2147483647]\n", nil},
		{"doubles", p + `set a 3.5; set b .5; set c 3.;};`, "policy p\n10.0.0.1/32 [a=3.500000] [b=0.500000] [c=3.000000]\n", nil},
		{"name and double without blank", p + `set a.5;};`, "policy p\n10.0.0.1/32 [a=0.500000]\n", nil},
		{"string over lines, escape kept", p + `set a "x\"y` + "\n" + `z";};`, "policy p\n10.0.0.1/32 [a=x\\\"y\nz]\n", nil},
		{"keywords as names in quotes", p + `set "set" = "policy";};`, "policy p\n10.0.0.1/32 [set=policy]\n", nil},
		{"keywords are case sensitive", p + `set Set = Policy;};`, "policy p\n10.0.0.1/32 [Set=Policy]\n", nil},
		{"repeated key", p + `set a 1; set b 2; set a 3;};`, "policy p\n10.0.0.1/32 [b=2] [a=3]\n", nil},
		{"default with any value", p + `set default 0;};`, "policy p\n10.0.0.1/32 default=true\n", nil},
		{"default as a string", p + `set "default" "no";};`, "policy p\n10.0.0.1/32 default=true\n", nil},
		{"last enabled counts", p + `enabled 1; enabled 0;};`, "policy p\n10.0.0.1/32 enabled=false\n", nil},
		{"enabled with any number", p + `enabled 17;};`, "policy p\n10.0.0.1/32 enabled=true\n", nil},
		{"empty statements in prefix", p + `;;enabled 1;;};`, "policy p\n10.0.0.1/32 enabled=true\n", nil},
		{
			"name servers", p + `nameserver 10.0.0.2; nameserver 2001:db8::1; nameserver "10.0.0.3:5353"; nameserver "[::1]:53";};`,
			"policy p\n10.0.0.1/32 nameserver=[10.0.0.2:53 [2001:db8::1]:53 10.0.0.3:5353 [::1]:53]\n", nil,
		},
		{"comment without newline", p + `};# end`, "policy p\n10.0.0.1/32\n", nil},
		{"carriage returns", "policy \"p\";\r\nprefix 10.0.0.1/24\r\n{\r\n};\r\n", "policy p\n10.0.0.1/32\n", nil},
		{"IPv6 with dotted end", `policy "p"; prefix ::ffff:10.0.0.1/96 {};`, "policy p\n::ffff:10.0.0.1/128\n", nil},
		{"IPv6 with gap at the end", `policy "p"; prefix fe80::/64 {};`, "policy p\nfe80::/128\n", nil},
		{"no blanks", `policy"p"{set"a"1;};prefix 10.0.0.1/24{enabled 1;};`, "policy p [a=1]\n10.0.0.1/32 enabled=true\n", nil},
		{
			"last policy counts, settings of all", `policy "a" { set x 1; set y 1; }; policy "b" { set y 2; }; prefix 10.0.0.1/24 {};`,
			"policy b [x=1] [y=2]\n10.0.0.1/32\n", nil,
		},
		{
			"second block replaces all but enabled", p + `enabled 1; set a 1; nameserver 10.0.0.2;}; prefix 10.0.0.1/16 { set b 2; };`,
			"policy p\n10.0.0.1/32 enabled=true [b=2]\n",
			[]string{"f:1,83-91: prefix 10.0.0.1/16 replaces what prefix 10.0.0.1/24 in line 1 says, but for enabled: in this grammar lengths are ignored, and the addresses are the same"},
		},
		{
			"iface", `policy "p"; iface eth0 {}; iface "wlan 0" {}; prefix 10.0.0.1/24 {};`, "policy p\n10.0.0.1/32\n",
			[]string{
				"f:1,13-18: iface `eth0` has no effect, as in the original; interface blocks of the HCL form have",
				`f:1,28-33: iface "wlan 0" has no effect, as in the original; interface blocks of the HCL form have`,
			},
		},
		{"strange length", `policy "p"; prefix 10.0.0.1/64 {};`, "policy p\n10.0.0.1/32\n", []string{"f:1,29-31: 64 is not a length of a prefix (it is ignored)"}},

		// These are the rows of doc/original/daemon.md 12.5 that this package accepts.
		// The other rows are errors, in testdata/errors.
		{
			"no semicolon before a block", `policy "p" { set a 1; } prefix 10.0.0.1/24 { enabled 1; };`, "policy p [a=1]\n10.0.0.1/32 enabled=true\n",
			[]string{"f:1,25-31: a semicolon is missing after the block before `prefix`"},
		},
		{
			"no semicolon at the end", p + `}`, "policy p\n10.0.0.1/32\n",
			[]string{"f:1,34: a semicolon is missing after the block before the end of the file"},
		},
		{
			"empty statements elsewhere", `policy "p" {;};; prefix 10.0.0.1/24 {};`, "policy p\n10.0.0.1/32\n",
			[]string{"f:1,13: a semicolon without a statement", "f:1,16: a semicolon without a block"},
		},
		{
			"empty file", "", "policy \n",
			[]string{"f: no policy is named: every request will be answered without a suggestion", "f: no network is named: nothing will be managed"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse([]byte(tt.src), "f")
			if err != nil {
				t.Fatal(err)
			}
			if !c.Original && tt.src != "" {
				t.Error("taken for HCL")
			}
			if diff := cmp.Diff(tt.want, summary(c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, warnings(c)); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
		})
	}
}

// Programs of the original look at one path only: a file in its grammar is served
// there. The grammar has no words for the other paths, so settings in the policy
// block name them, which must not reach the policy.
func TestOriginalPaths(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      Config // of the fields below
		policy    string
		warnings  []string
	}{
		{"nothing said", `policy "p";`, Config{CompatSocket: OriginalSocket, CompatAssumed: true}, "", nil},
		{"another socket", `policy "p" { set compat_socket = "/run/muacc"; set x 1; };`, Config{CompatSocket: "/run/muacc"}, " [x=1]", nil},
		{"the usual one", `policy "p" { set compat_socket "/tmp/muacc"; };`, Config{CompatSocket: OriginalSocket}, "", nil},
		{"no socket", `policy "p" { set compat_socket = off; };`, Config{}, "", nil},
		{
			"all paths", `policy "p" { set compat_socket = "off"; set compat_fifo = "/tmp/mam_config_fifo"; }; policy "q" { set log_prefixes = "p.log"; set log_interfaces = "i.log"; };`,
			Config{CompatFIFO: "/tmp/mam_config_fifo", Logs: Logs{Prefixes: "p.log", Interfaces: "i.log"}}, "", nil,
		},
		{"the last one counts", `policy "p" { set compat_fifo = "a"; set compat_fifo = off; };`, Config{CompatSocket: OriginalSocket, CompatAssumed: true}, "", nil},
		{
			"settings of the HCL form", `policy "p" { set socket = "/run/s"; set log = 1; }; prefix 10.0.0.1/24 { set cost = "metered"; set compat_fifo = "/f"; };`,
			Config{CompatSocket: OriginalSocket, CompatAssumed: true}, " [socket=/run/s] [log=1]", []string{
				`f:1,18-24: socket in policy "p" has no effect but on a policy that reads it; it is a setting of the HCL form, see mamma --convert`,
				`f:1,41-44: log in policy "p" has no effect but on a policy that reads it; it is a setting of the HCL form, see mamma --convert`,
				`f:1,78-82: cost in prefix 10.0.0.1/24 has no effect but on a policy that reads it; it is a setting of the HCL form, see mamma --convert`,
				`f:1,100-111: compat_fifo in prefix 10.0.0.1/24 has no effect but on a policy that reads it; it belongs into the policy block`,
			},
		},
		{
			"mistyped", `policy "p" { set compat_scoket = "x"; set LOG_prefixs = "y"; set logfile = "z"; set log = off; }; prefix 10.0.0.1/24 { set compat_fif = "/f"; set capacity 1; };`,
			Config{CompatSocket: OriginalSocket, CompatAssumed: true}, " [compat_scoket=x] [LOG_prefixs=y] [logfile=z] [log=off]", []string{
				`f:1,18-31: compat_scoket in policy "p" has no effect but on a policy that reads it; did you mean "compat_socket"?`,
				`f:1,43-54: LOG_prefixs in policy "p" has no effect but on a policy that reads it; did you mean "log_prefixes"?`,
				`f:1,85-88: log in policy "p" has no effect but on a policy that reads it; it is a setting of the HCL form, see mamma --convert`,
				`f:1,124-134: compat_fif in prefix 10.0.0.1/24 has no effect but on a policy that reads it; did you mean "compat_fifo"?`,
			},
		},
		{
			"switches", `policy "p" { set log_prefixes = 1; set log_interfaces = yes; set compat_fifo = "/run/1"; };`,
			Config{CompatSocket: OriginalSocket, CompatAssumed: true, CompatFIFO: "/run/1", Logs: Logs{Prefixes: "1", Interfaces: "yes"}}, "", []string{
				`f:1,33: log_prefixes in policy "p" is a path, or off: with this one the file is called "1"`,
				`f:1,57-60: log_interfaces in policy "p" is a path, or off: with this one the file is called "yes"`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse([]byte(tt.src), "f")
			if err != nil {
				t.Fatal(err)
			}
			got := Config{CompatSocket: c.CompatSocket, CompatAssumed: c.CompatAssumed, CompatFIFO: c.CompatFIFO, Logs: c.Logs}
			if diff := cmp.Diff(tt.want, got, comparer); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := settingsText(c.PolicyConfig().Settings); got != tt.policy {
				t.Errorf("the policy gets%s, want%s", got, tt.policy)
			}
			var warned []string
			for _, w := range warnings(c) {
				if !strings.Contains(w, "no network is named") {
					warned = append(warned, w)
				}
			}
			if diff := cmp.Diff(tt.warnings, warned); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
		})
	}
	for src, want := range map[string]string{
		`policy "p" { set compat_socket = "muacc"; };`: `f:1,34-41: compat_socket in policy "p" must be an absolute path, not "muacc"`,
		`policy "p" { set log_prefixes = ""; };`:       `f:1,33-35: log_prefixes in policy "p" must be a path`,
	} {
		if _, err := Parse([]byte(src), "f"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}

// A block that is cut off leaves nothing behind for the next parse (doc/original/daemon.md
// 17, D33, D8).
func TestOriginalKeepsNothing(t *testing.T) {
	if _, err := Parse([]byte(`policy "p"; prefix 10.0.0.1/24 { enabled 1; nameserver 10.0.0.2;`), "f"); err == nil {
		t.Fatal("no error")
	}
	c := mustParse(t, `prefix 10.0.0.1/24 { };`)
	if got, want := summary(c), "policy \n10.0.0.1/32\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOriginalPositions(t *testing.T) {
	c := mustParse(t, "policy \"p\" {\n\tset name = word;\n};\nprefix 10.0.0.1/24 { set a\n\"b\"; };\n")
	want := []policy.Setting{{
		Name: "name", Value: "word", Expr: "word", Constant: true, Block: `policy "p"`,
		File: "test.conf", Line: 2, Column: 6, ExprLine: 2, ExprColumn: 13,
	}}
	if diff := cmp.Diff(want, c.Policy.Settings); diff != "" {
		t.Errorf("policy (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(Pos{Line: 1, Column: 8, EndColumn: 11}, c.Policy.Pos); diff != "" {
		t.Errorf("name (-want +got)\n%s", diff)
	}
	want = []policy.Setting{{
		Name: "a", Value: "b", Expr: `"b"`, Constant: true, Block: "prefix 10.0.0.1/24",
		File: "test.conf", Line: 4, Column: 26, ExprLine: 5, ExprColumn: 1,
	}}
	if diff := cmp.Diff(want, c.PolicyConfig().PrefixSettings); diff != "" {
		t.Errorf("prefix (-want +got)\n%s", diff)
	}
	if got, want := c.Blocks[0].Prefix, netip.MustParsePrefix("10.0.0.1/32"); got != want {
		t.Errorf("prefix %v, want %v", got, want)
	}
}

func TestIsOriginal(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      bool
	}{
		{"empty", "", false},
		{"comment", "# policy \"x\"; ;\n", false},
		{"policy, empty block", "policy \"x\" {\n}\n", false},
		{"policy, semicolon", `policy "x";`, true},
		{"policy, set", `policy "x" { set a b }`, true},
		{"policy, set with quotes", `policy "x" { set "a" = 1 }`, true},
		{"policy with an attribute named set", "policy \"x\" {\n  set = 1\n}\n", false},
		{"policy with a semicolon too many", `policy "x" { a = 1; }`, false},
		{"policy name without quotes", "policy x {\n set a 1;\n};", true},
		{"prefix", `prefix 10.0.0.1/24 {};`, true},
		{"prefix whose quotes were forgotten", `prefix 10.0.0.1/24 {}`, false},
		{"prefix without address", `prefix { enabled 1 }`, true},
		{"prefix in HCL", `prefix "10.0.0.1/24" {}`, false},
		{"attribute named prefix", "policy \"x\" {\n  prefix = 1\n  nameserver = 2\n}\n", false},
		{"statement", `policy "x" { enabled 1 }`, true},
		{"iface", `iface eth0 {}`, true},
		{"interface", `interface "eth0" {}`, false},
		{"attribute", `auto = true`, false},
		{"block", `log {}`, false},
		{"HCL comment", "// policy;\n", false},
		{"HCL long comment", "/* policy; */", false},
		{"no names", "policy {}\nprefix {}\n", false},
		{"policy as a setting", "policy = \"threshold\"\n", false},
		{"one HCL construct", "prefix 10.0.0.0/8 {\n  enabled = true\n}\n", false},
		{"HCL with a semicolon", "auto = true;\n", false},
		{"policy, semicolon, HCL", "policy \"x\" { };\nauto = true\n", false},
		{"policy, semicolon, block of HCL", "policy \"x\" { };\ninterface \"eth0\" { };\n", false},
		{"policy, semicolon, options", "policy \"x\" { };\nprefix \"10.0.0.0/8\" {\n  options {\n  };\n};\n", false},
		{"semicolons everywhere", "policy \"x\" { };\nprefix \"10.0.0.0/8\" { default = true; };\n", false},
		{"HCL after statements of the original", "policy \"x\" { set a 1; };\nprefix 10.0.0.1/24 { enabled 1; };\nprefix \"10.0.0.0/8\" {\n  default = true\n}\n", false},
		{"original with a set forgotten", "policy \"x\" { set a 1; b = 2; };\n", true},
		{"original with a typing error", "plicy \"x\" { };\nprefix 10.0.0.1/24 { enabled 1; };\n", true},
		{"name: value", "prefix \"10.0.0.0/8\" {\n  enabled: true\n}\n", false},
		{"semicolons in strings", "policy \"a;b\" {\n  c = \";\"\n}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := isOriginal([]byte(tt.src)); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(t.Context(), dir); err == nil {
		t.Error("a directory was read")
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), large); err == nil || err.Error() != large+": larger than 262144 bytes" {
		t.Errorf("large file: %v", err)
	}
}
