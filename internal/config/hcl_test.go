package config

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// comparer compares what configurations say, not where they say it.
var comparer = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.IgnoreFields(Config{}, "File", "Original", "Warnings"),
	cmpopts.IgnoreTypes(Pos{}),
	cmpopts.IgnoreFields(Block{}, "Written"),
	cmpopts.IgnoreFields(policy.Setting{}, "Block", "File", "Line", "Column", "ExprLine", "ExprColumn"),
	cmpopts.EquateComparable(intent.Set{}, netip.Addr{}, netip.AddrPort{}, netip.Prefix{}),
	cmpopts.EquateEmpty(),
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Expr" },
		cmp.Comparer(func(a, b string) bool { return true })),
}

// TestHCLSettings has a row for each setting and block.
func TestHCLSettings(t *testing.T) {
	yes, no, metered := true, false, policy.Metered
	budget, reset := Bytes(1_500_000_000), 31
	block := func(b Block) func(*Config) { return func(c *Config) { c.Blocks = []Block{b} } }
	network := netip.MustParsePrefix("192.0.2.0/24")
	for _, tt := range []struct {
		src  string
		want func(*Config)
	}{
		{``, func(*Config) {}},
		{`auto = true`, func(c *Config) { c.Auto, c.AvoidMetered, c.Policy.Name = true, true, DefaultPolicy }},
		{`auto = false`, func(*Config) {}},
		{`socket = "/a"`, func(c *Config) { c.Socket = "/a" }},
		{`control_socket = "/a"`, func(c *Config) { c.ControlSocket = "/a" }},
		{`control_group = "4"`, func(c *Config) { c.ControlGroup = "4" }},
		{`compat_socket = "/tmp/muacc"`, func(c *Config) { c.CompatSocket = "/tmp/muacc" }},
		{`compat_fifo = "/tmp/fifo"`, func(c *Config) { c.CompatFIFO = "/tmp/fifo" }},
		{`policy_path = "/a"`, func(c *Config) { c.PolicyPath = []string{"/a"} }},
		{`policy_path = ["/a", "b"]`, func(c *Config) { c.PolicyPath = []string{"/a", "b"} }},
		{`bind_device = "auto"`, func(c *Config) { c.BindDevice = BindAuto }},
		{`bind_device = "always"`, func(c *Config) { c.BindDevice = BindAlways }},
		{`bind_device = "never"`, func(c *Config) { c.BindDevice = BindNever }},
		{`routing = "leave"`, func(*Config) {}},
		{`routing = "manage"`, func(c *Config) { c.Routing = RoutingManage }},
		{`far_away = ["9.9.9.9", "2620:fe::fe"]`, func(c *Config) {
			c.FarAway = []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")}
		}},
		{`state_dir = "/a"`, func(c *Config) { c.StateDirectory = "/a" }},
		{`avoid_metered = true`, func(c *Config) { c.AvoidMetered = true }},
		{"avoid_metered = false\nauto = true", func(c *Config) { c.Auto, c.Policy.Name = true, DefaultPolicy }},
		{`system_bus = "auto"`, func(*Config) {}},
		{`system_bus = "off"`, func(c *Config) { c.SystemBus = Off }},
		{"compat_socket = \"off\"\ncompat_fifo = \"off\"\nlogs {\n  prefixes = \"off\"\n  interfaces = \"off\"\n}", func(*Config) {}},
		{`system_bus = "/run/bus"`, func(c *Config) { c.SystemBus = "/run/bus" }},
		{"probe {\n  when = \"always\"\n  target = \"dns\"\n  interval = \"2s\"\n}", func(c *Config) {
			c.Probe = Probe{When: ProbeAlways, Interval: 2 * time.Second}
		}},
		{"probe {\n  when = \"never\"\n}", func(c *Config) { c.Probe.When = ProbeNever }},
		{"probe {\n  target = \"tcp://[2001:db8::1]:443\"\n}", func(c *Config) {
			c.Probe.Target.TCP = netip.MustParseAddrPort("[2001:db8::1]:443")
		}},
		{"probe {\n  target = \"http://portal.example.net/204\"\n}", func(c *Config) {
			c.Probe.Target.HTTP = "http://portal.example.net/204"
		}},
		{"prefix \"192.0.2.0/24\" {\n  budget = \"1.5GB\"\n  budget_reset = 31\n  link_dns = false\n}", block(Block{
			Prefix: network, Budget: &budget, BudgetReset: &reset, LinkDNS: &no,
		})},
		{"interface \"wlan0\" {\n  on_down = \"reset\"\n}", func(c *Config) {
			down := OnDownReset
			c.Blocks = []Block{{Interface: "wlan0", Written: "wlan0", OnDown: &down}}
		}},
		{"log {\n  level = \"debug\"\n  format = \"json\"\n}", func(c *Config) { c.Log = Log{slog.LevelDebug, LogJSON} }},
		{"log {}", func(*Config) {}},
		{"sampling {\n  interval = \"1.5s\"\n}", func(c *Config) { c.Sampling.Interval = 1500 * time.Millisecond }},
		{"sampling {\n  interval = 5\n}", func(c *Config) { c.Sampling.Interval = 5 * time.Second }},
		{"sampling {\n  interval = 0.5\n}", func(c *Config) { c.Sampling.Interval = 500 * time.Millisecond }},
		{"sampling {\n  interval = \"5 s\"\n}", func(c *Config) { c.Sampling.Interval = 5 * time.Second }},
		{"prefix \"192.0.2.0/24\" {\n  budget = 1500000000\n}", block(Block{Prefix: network, Budget: &budget})},
		{"prefix \"192.0.2.0/24\" {\n  budget = 1.5e9\n}", block(Block{Prefix: network, Budget: &budget})},
		{"logs {\n  prefixes = \"p\"\n  interfaces = \"i\"\n}", func(c *Config) { c.Logs = Logs{"p", "i"} }},
		{"metrics {\n  listen = \"[::1]:9477\"\n}", func(c *Config) { c.Metrics.Listen = netip.MustParseAddrPort("[::1]:9477") }},
		{"decisions {\n  keep = 0\n}", func(c *Config) { c.Decisions.Keep = 0 }},
		{"decisions {\n  record     = \"d.jsonl\"\n  record_max = \"1.5 MB\"\n}", func(c *Config) { c.Decisions.Record, c.Decisions.RecordMax = "d.jsonl", 1.5e6 }},
		{"mptcp {\n  path_manager = \"userspace\"\n}", func(c *Config) { c.MPTCP.PathManager = PathManagerUserspace }},
		{"scopes {\n  cgroup_root = \"/sys/fs/cgroup/x\"\n  pin_dir = \"off\"\n  keep = true\n  measure = false\n}", func(c *Config) { c.Placing = Placing{"/sys/fs/cgroup/x", Off, true, false} }},
		{"scope \"rest\" {}", func(c *Config) { c.Scopes = []Scope{{Name: "rest"}} }},
		{"scope \"a\" {\n  unit = \"a.service\"\n  slice = [\"user.slice\", \"x*.slice\"]\n  cgroup = \"/a/b*\"\n  user = [\"root\", 1000]\n  command = \"curl\"\n  intents = \"category=query\"\n  avoid_metered = true\n}", func(c *Config) {
			c.Scopes = []Scope{{
				Name: "a", Units: []string{"a.service"}, Slices: []string{"user.slice", "x*.slice"}, Groups: []string{"/a/b*"},
				Users: []string{"root", "1000"}, Commands: []string{"curl"}, Intents: intent.Set{}.WithCategory(intent.CategoryQuery), AvoidMetered: true,
			}}
		}},
		{"scope \"a\" {\n  prohibit = \"cost=expensive\"\n  prefer = [\"interface=wlan0\", \"network=home\"]\n  require = \"network=home\"\n  avoid = \"interface=wwan0\"\n}", func(c *Config) {
			c.Scopes = []Scope{{Name: "a", Wants: []Want{
				{Require, ByNetwork, "home"}, {Prefer, ByInterface, "wlan0"}, {Prefer, ByNetwork, "home"}, {Avoid, ByInterface, "wwan0"}, {Prohibit, ByCost, "expensive"},
			}}}
		}},
		{"scope \"a\" {\n  intents = \"category=query\"\n  port_intents = true\n  intents \"mail\" {\n    set = \"category=bulktransfer\"\n    port = [25, \"8000-8999\"]\n    destination = [\"192.0.2.7/24\", \"2001:db8::1\"]\n    command = \"rsync\"\n  }\n  intents \"all\" {\n    set = \"burstiness=bulk\"\n  }\n}", func(c *Config) {
			c.Scopes = []Scope{{
				Name: "a", Intents: intent.Set{}.WithCategory(intent.CategoryQuery), PortIntents: true, Rules: []Rule{
					{
						Name: "mail", Set: intent.Set{}.WithCategory(intent.CategoryBulkTransfer), Ports: []PortRange{{25, 25}, {8000, 8999}},
						Destinations: []netip.Prefix{network, netip.MustParsePrefix("2001:db8::1/128")}, Commands: []string{"rsync"},
					},
					{Name: "all", Set: intent.Set{}.WithBurstiness(intent.BurstsBulk)},
				},
			}}
		}},
		{"decisions {\n  keep = 2 * 5\n}", func(c *Config) { c.Decisions.Keep = 10 }},
		{`policy "a" {}`, func(c *Config) { c.Policy.Name = "a" }},
		{"policy \"a\" {\n  s = \"x\\ty\"\n  n = 3.50\n  b = true\n  l = [\"x\", 1, false]\n  e = []\n  big = 9007199254740993\n  e9 = 1e9\n}", func(c *Config) {
			c.Policy.Name = "a"
			c.Policy.Settings = []policy.Setting{
				{Name: "s", Value: "x\ty", Constant: true},
				{Name: "n", Value: "3.5", Constant: true},
				{Name: "b", Value: "true", Constant: true},
				{Name: "l", List: []string{"x", "1", "false"}, Constant: true},
				{Name: "e", List: []string{}, Constant: true},
				{Name: "big", Value: "9007199254740993", Constant: true},
				{Name: "e9", Value: "1000000000", Constant: true},
			}
		}},
		{"policy \"score\" {\n  minimize = prefix.rtt_ms * 2\n  maximize = f(1)\n  list = [for x in [1]: x]\n}", func(c *Config) {
			c.Policy.Name = "score"
			c.Policy.Settings = []policy.Setting{{Name: "minimize"}, {Name: "maximize"}, {Name: "list"}}
		}},
		{`prefix "192.0.2.0/24" {}`, block(Block{Prefix: network})},
		{`prefix "192.0.2.7/24" {}`, block(Block{Prefix: netip.MustParsePrefix("192.0.2.7/24")})},
		{`prefix "192.0.2.7" {}`, block(Block{Prefix: netip.MustParsePrefix("192.0.2.7/32")})},
		{`prefix "fe80::1" {}`, block(Block{Prefix: netip.MustParsePrefix("fe80::1/128")})},
		{"prefix \"192.0.2.0/24\" {\n  enabled = true\n}", block(Block{Prefix: network, Enabled: &yes})},
		{"prefix \"192.0.2.0/24\" {\n  enabled = false\n}", block(Block{Prefix: network, Enabled: &no})},
		{"prefix \"192.0.2.0/24\" {\n  default = false\n}", block(Block{Prefix: network, Default: &no})},
		{"prefix \"192.0.2.0/24\" {\n  cost = \"metered\"\n}", block(Block{Prefix: network, Cost: &metered})},
		{"prefix \"192.0.2.0/24\" {\n  name = \"café_2.4-GHz\"\n}", block(Block{Prefix: network, Name: "café_2.4-GHz"})},
		{"prefix \"192.0.2.0/24\" {\n  name = \"home\"\n}\nprefix \"2001:db8::/56\" {\n  name = \"home\"\n}", func(c *Config) {
			c.Blocks = []Block{{Prefix: network, Name: "home"}, {Prefix: netip.MustParsePrefix("2001:db8::/56"), Name: "home"}}
		}},
		{"prefix \"192.0.2.0/24\" {\n  nameserver = [\"192.0.2.1\", \"192.0.2.1:5353\", \"::1\", \"fe80::1%eth0\", \"::ffff:192.0.2.1\"]\n}", block(Block{
			Prefix: network,
			Nameservers: []netip.AddrPort{
				netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.1:5353"), netip.MustParseAddrPort("[::1]:53"),
				netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("192.0.2.1:53"),
			},
		})},
		{"prefix \"192.0.2.0/24\" {\n  resolvconf = \"r\"\n  dnsbindto = \"192.0.2.7\"\n}", block(Block{Prefix: network, ResolvConf: "r", DNSBindTo: netip.MustParseAddr("192.0.2.7")})},
		{"interface \"wwan*\" {\n  default = true\n  options {\n    category = \"query\"\n  }\n}", block(Block{
			Interface: "wwan*", Default: &yes, Options: []policy.Setting{{Name: "category", Value: "query", Constant: true}},
		})},
	} {
		t.Run(tt.src, func(t *testing.T) {
			want := defaults()
			tt.want(want)
			if diff := cmp.Diff(want, mustParse(t, tt.src), comparer); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHCLPositions(t *testing.T) {
	c := mustParse(t, "policy \"score\" {\n  minimize = (\n    prefix.rtt\n  ) * 2\n  a = \"b\"\n}\n"+
		"prefix \"10.0.0.0/8\" {\n  options {\n    c = -1\n  }\n}\n")
	want := policy.Config{
		Name: "score",
		Settings: []policy.Setting{
			{
				Name: "minimize", Expr: "(\n    prefix.rtt\n  ) * 2", Block: `policy "score"`,
				File: "test.conf", Line: 2, Column: 3, ExprLine: 2, ExprColumn: 14,
			},
			{
				Name: "a", Value: "b", Constant: true, Expr: `"b"`, Block: `policy "score"`,
				File: "test.conf", Line: 5, Column: 3, ExprLine: 5, ExprColumn: 7,
			},
		},
		PrefixSettings: []policy.Setting{{
			Name: "c", Value: "-1", Constant: true, Expr: "-1", Block: `prefix "10.0.0.0/8"`,
			File: "test.conf", Line: 9, Column: 5, ExprLine: 9, ExprColumn: 9,
		}},
	}
	if diff := cmp.Diff(want, c.PolicyConfig()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"auto", "auto = true", nil},
		{"policy and network", "policy \"a\" {}\ninterface \"*\" {}\n", nil},
		{"absolute paths, and words", "auto = true\nstate_dir = \"/s\"\ncompat_fifo = \"off\"\nlogs {\n  prefixes = \"off\"\n}\npolicy \"sample\" {\n  logfile = \"/l\"\n}\n", nil},
		{"relative paths", "auto = true\nstate_dir = \"state\"\npolicy_path = [\"/p\", \"q\"]\nlogs {\n  interfaces = \"i\"\n}\npolicy \"./a.so\" {\n  logfile = \"l\"\n}\n", []string{
			"test.conf:2,13-20: state_dir is a relative path: \"state\" is looked for where the program is started, and as a service that is /; write it from / on",
			"test.conf:3,15-26: policy_path is a relative path: \"q\" is looked for where the program is started, and as a service that is /; write it from / on",
			"test.conf:5,16-19: interfaces in logs is a relative path: \"i\" is looked for where the program is started, and as a service that is /; write it from / on",
			"test.conf:7,8-16: the policy is a relative path: \"./a.so\" is looked for where the program is started, and as a service that is /; write it from / on",
			"test.conf:8,13-16: logfile in policy \"./a.so\" is a relative path: \"l\" is looked for where the program is started, and as a service that is /; write it from / on",
		}},
		{"no policy", `interface "*" {}`, []string{"test.conf: no policy is named: every request will be answered without a suggestion"}},
		{"no network", `policy "a" {}`, []string{"test.conf: no network is named: nothing will be managed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, warnings(mustParse(t, tt.src))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAuto(t *testing.T) {
	if diff := cmp.Diff(mustParse(t, "auto = true"), Auto(), comparer); diff != "" {
		t.Errorf("(-file +Auto)\n%s", diff)
	}
}
