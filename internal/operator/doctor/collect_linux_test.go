package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

// sound makes a host without defects: two networks with source rules, whose name servers
// answer.
func sound(t *testing.T) *testbed.Bed {
	t.Helper()
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: true}, {Name: "wwan0", SourceRule: true}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}},
	})
	if err := bed.Client.Sysctl("net.mptcp.enabled", "1"); err != nil {
		t.Logf("Multipath TCP cannot be looked at: %v", err)
	}
	return bed
}

const soundConf = `policy "sample" {}
interface "wlan0" { nameserver = ["10.1.0.1"] }
interface "wwan0" { nameserver = ["10.2.0.1"] }
`

// look runs the checks in the client's namespace.
func look(t *testing.T, bed *testbed.Bed, conf string) []Finding {
	t.Helper()
	return lookWith(t, bed, conf, t.TempDir())
}

// lookWith is look with another folder in place of /run.
func lookWith(t *testing.T, bed *testbed.Bed, conf, run string) []Finding {
	t.Helper()
	cfg, err := config.Parse([]byte(conf), "policy.conf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Collect(t.Context(), cfg, Options{
		Run: run, Namespace: bed.Client.FD(), Dial: bed.Client.Dial,
		ReadFile: func(path string) (b []byte, err error) {
			err = bed.Client.Do(func() error { b, err = os.ReadFile(path); return err })
			return b, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(Examine(f).Findings, func(x Finding) bool {
		return x.Check == "mptcp" && f.MPTCP == Missing // this kernel has none
	})
}

func names(list []Finding) []string {
	var got []string
	for _, x := range list {
		got = append(got, x.Severity.String()+" "+x.Check+" "+x.Subject)
	}
	slices.Sort(got)
	return got
}

// mend runs the first command that the doctor gives for each finding, exactly as it is
// shown.
func mend(t *testing.T, bed *testbed.Bed, list []Finding) {
	t.Helper()
	for _, program := range []string{"ip", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("what mends it cannot be tried: needs the program %s", program)
		}
	}
	for _, x := range list {
		var out strings.Builder
		cmd := exec.Command("sh", "-c", x.Fix[0])
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := bed.Client.Run(cmd); err != nil {
			t.Errorf("%s: %v\n%s", x.Fix[0], err, &out)
		}
	}
}

// dropRules removes the source rules of a network.
func dropRules(t *testing.T, b *testbed.Bed, network int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := b.Client.Handle().RuleList(f)
		must(err)
		for _, r := range rules {
			if r.Table == b.Networks[network].Table {
				must(b.Client.Handle().RuleDel(&r))
			}
		}
	}
}

// Each defect is made, and the doctor finds it and nothing else. If the command can mend it
// here, it is run as it is printed, and then the doctor finds nothing.
func TestDefects(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes a host for each defect")
	}
	const wwan = "10.2.0.0/24 on wwan0"
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, conf string
		make       func(t *testing.T, b *testbed.Bed)
		want       []string
		mended     bool // by the commands
	}{
		{"none", soundConf, func(*testing.T, *testbed.Bed) {}, nil, false},
		{"no source route", soundConf, func(t *testing.T, b *testbed.Bed) { dropRules(t, b, 1) }, []string{"problem source-route " + wwan, "problem source-route 2001:db8:2::/64 on wwan0"}, true},
		{"somebody's rule before those of mamma", `routing = "manage"` + "\n" + soundConf, func(t *testing.T, b *testbed.Bed) {
			dropRules(t, b, 1)
			for i, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
				a := []netip.Addr{b.Networks[1].Client4, b.Networks[1].Client6}[i]
				src := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
				own := netlink.NewRule()
				own.Priority, own.Family, own.Src, own.Table, own.Protocol = routing.FirstPriority, f, src, b.Networks[1].Table, routing.Protocol
				must(t, b.Client.Handle().RuleAdd(own))
			}
			r := netlink.NewRule()
			r.Priority, r.Family, r.Table = 100, netlink.FAMILY_V4, b.Networks[0].Table
			r.Src = &net.IPNet{IP: net.IPv4(10, 2, 0, 0), Mask: net.CIDRMask(16, 32)}
			must(t, b.Client.Handle().RuleAdd(r))
			want := fmt.Sprintf(", by rule 100: from 10.2.0.0/16 lookup %d", b.Networks[0].Table)
			for _, x := range look(t, b, `routing = "manage"`+"\n"+soundConf) {
				if x.Check == "source-route" && !strings.HasSuffix(x.Evidence, want) {
					t.Errorf("the rule is not told: %+v", x)
				}
			}
		}, []string{"problem source-route " + wwan}, true},
		// If there is a rule by source, the filter looks into the right table, whatever
		// route is preferred.
		{"strict reverse path filter, and a rule by source", soundConf, func(t *testing.T, b *testbed.Bed) {
			must(t, b.Client.Sysctl("net.ipv4.conf.wwan0.rp_filter", "1"))
		}, nil, false},
		{"strict reverse path filter", soundConf, func(t *testing.T, b *testbed.Bed) {
			must(t, b.Client.Sysctl("net.ipv4.conf.wlan0.rp_filter", "1"))
			dropRules(t, b, 0)
		}, []string{"warning rp-filter 10.1.0.0/24 on wlan0"}, true},
		{"strict reverse path filter for all", soundConf, func(t *testing.T, b *testbed.Bed) {
			must(t, b.Client.Sysctl("net.ipv4.conf.all.rp_filter", "1"))
			dropRules(t, b, 0)
			dropRules(t, b, 1)
		}, []string{
			"problem rp-filter " + wwan, "problem source-route " + wwan, "problem source-route 2001:db8:2::/64 on wwan0", "warning rp-filter 10.1.0.0/24 on wlan0",
		}, true},
		{"unreachable gateway", soundConf, func(t *testing.T, b *testbed.Bed) {
			h := b.Networks[1].Server.Handle()
			link, err := h.LinkByName("lan")
			must(t, err)
			addrs, err := h.AddrList(link, netlink.FAMILY_V4)
			must(t, err)
			must(t, h.AddrDel(link, &addrs[0]))
		}, []string{"problem gateway " + wwan, "problem resolver " + wwan}, false},
		{"gateway behind this host's firewall", soundConf, func(t *testing.T, b *testbed.Bed) {
			if _, err := b.Client.Drop(testbed.Outgoing, "wwan0"); err != nil {
				testbed.SkipOrFail(t, err)
			}
		}, []string{
			"problem gateway " + wwan, "problem gateway 2001:db8:2::/64 on wwan0", "problem resolver " + wwan,
		}, false},
		{"gateway with a firewall", soundConf, func(t *testing.T, b *testbed.Bed) {
			if _, err := b.Networks[1].Server.Drop(testbed.Incoming, "lan"); err != nil {
				testbed.SkipOrFail(t, err)
			}
		}, []string{"problem gateway 2001:db8:2::/64 on wwan0", "problem resolver " + wwan, "warning gateway " + wwan}, false},
		{"prohibited gateway", soundConf, func(t *testing.T, b *testbed.Bed) {
			// A rule refuses packets to the gateway, as packet filters do.
			r := netlink.NewRule()
			r.Priority, r.Family, r.Type = 10, netlink.FAMILY_V4, unix.RTN_PROHIBIT
			r.Dst = &net.IPNet{IP: b.Networks[1].Gateway4.AsSlice(), Mask: net.CIDRMask(32, 32)}
			must(t, b.Client.Handle().RuleAdd(r))
		}, []string{"problem gateway " + wwan, "problem resolver " + wwan}, false},
		// A rule that leads marked packets elsewhere matters only if something sets the
		// mark.
		{"rule by mark", soundConf, func(t *testing.T, b *testbed.Bed) { byMark(t, b) }, nil, false},
		{"marks of a packet filter", soundConf, func(t *testing.T, b *testbed.Bed) {
			byMark(t, b)
			if err := b.Client.Mark(7); err != nil {
				testbed.SkipOrFail(t, err)
			}
			for _, x := range look(t, b, soundConf) {
				if x.Check == "marks" && (!strings.Contains(x.Evidence, "fwmark 0x7") || !strings.Contains(x.Evidence, "testbed-mark sets-mark")) {
					t.Errorf("what does it is not told: %+v", x)
				}
			}
			// The marked packets really go astray.
		}, []string{"problem resolver " + wwan, "warning gateway " + wwan, "warning marks this host"}, false},
		{"dead name server", soundConf, func(_ *testing.T, b *testbed.Bed) {
			b.Networks[1].Server.DNS.SetHandler(dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) {}))
		}, []string{"problem resolver " + wwan}, false},
		{"no default route", soundConf, func(t *testing.T, b *testbed.Bed) {
			for _, f := range []int{netlink.FAMILY_V4} {
				routes, err := b.Client.Handle().RouteListFiltered(f, &netlink.Route{LinkIndex: b.Networks[1].Index}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
				must(t, err)
				for _, r := range routes {
					if r.Gw != nil {
						must(t, b.Client.Handle().RouteDel(&r))
					}
				}
			}
		}, []string{"warning default-route " + wwan}, true},
		{"default routes of one metric", soundConf, func(t *testing.T, b *testbed.Bed) {
			h := b.Client.Handle()
			list, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: oracle.TableMain}, netlink.RT_FILTER_TABLE)
			must(t, err)
			for _, r := range list {
				if r.Gw != nil {
					must(t, h.RouteDel(&r))
				}
			}
			for _, n := range b.Networks {
				must(t, h.RouteAppend(&netlink.Route{LinkIndex: n.Index, Gw: n.Gateway4.AsSlice(), Priority: 1024}))
			}
		}, []string{"warning default-metric " + wwan}, true},
		{"duplicate prefixes", soundConf, func(t *testing.T, b *testbed.Bed) {
			h := b.Client.Handle()
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "eth0"
			must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
			link, err := h.LinkByName("eth0")
			must(t, err)
			p := netip.MustParsePrefix("10.2.0.77/24")
			must(t, h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}}))
			must(t, h.LinkSetUp(link))
		}, []string{"warning duplicate " + wwan}, true},
		{"Multipath TCP off", strings.Replace(soundConf, "sample", "mptcp_simple", 1), func(t *testing.T, b *testbed.Bed) {
			if err := b.Client.Sysctl("net.mptcp.enabled", "0"); err != nil {
				testbed.SkipOrFail(t, err)
			}
		}, []string{"problem mptcp this host"}, true},
		{"configuration for networks that are not there", soundConf + `prefix "10.77.0.0/16" {}`, func(*testing.T, *testbed.Bed) {}, []string{
			`warning config prefix "10.77.0.0/16"`,
		}, false},
		{"link without carrier", soundConf, func(t *testing.T, b *testbed.Bed) {
			h := b.Networks[1].Server.Handle()
			link, err := h.LinkByName("lan")
			must(t, err)
			must(t, h.LinkSetDown(link))
			awaitNoCarrier(t, b.Client.Handle(), "wwan0")
		}, []string{"warning link " + wwan, "warning link 2001:db8:2::/64 on wwan0"}, false},
		{"link switched off", soundConf, func(t *testing.T, b *testbed.Bed) {
			link, err := b.Client.Handle().LinkByName("wwan0")
			must(t, err)
			must(t, b.Client.Handle().LinkSetDown(link))
		}, []string{`warning config interface "wwan0"`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bed := sound(t)
			tt.make(t, bed)
			found := look(t, bed, tt.conf)
			if diff := cmp.Diff(tt.want, names(found)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for _, x := range found {
				if x.Text == "" || len(x.Fix) == 0 || x.Evidence == "" && x.Check != "link" {
					t.Errorf("too little is said: %+v", x)
				}
			}
			if !tt.mended {
				return
			}
			// Mending one defect may show another: a link that is switched on has lost its
			// routes.
			for rounds := 0; len(found) > 0 && rounds < 4; rounds++ {
				mend(t, bed, found)
				found = look(t, bed, tt.conf)
			}
			if diff := cmp.Diff([]string(nil), names(found)); diff != "" {
				t.Errorf("after what the doctor says was done (-want +got)\n%s", diff)
			}
		})
	}
}

// byMark adds a rule that leads packets with a mark to the first network's table.
func byMark(t *testing.T, b *testbed.Bed) {
	t.Helper()
	r := netlink.NewRule()
	r.Priority, r.Family, r.Mark, r.Table = 20, netlink.FAMILY_V4, 7, b.Networks[0].Table
	if err := b.Client.Handle().RuleAdd(r); err != nil {
		t.Fatal(err)
	}
}

// awaitNoCarrier returns when the kernel has noticed that the other end is down.
func awaitNoCarrier(t *testing.T, h *netlink.Handle, name string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		link, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if link.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
			return
		}
	}
	t.Fatalf("%s keeps its carrier", name)
}

// A daemon without the capability is recognised by its status file, because this process
// may have any capabilities.
func TestMayRoute(t *testing.T) {
	o := Options{}
	if got, err := os.ReadFile("/proc/self/status"); err == nil && strings.Contains(string(got), "CapEff:\t0000000000000000") && o.mayRoute() {
		t.Error("a process without capabilities may change routes")
	}
	o.PID = 1 << 30 // nobody
	if !o.mayRoute() {
		t.Error("something is held against a process that is not there")
	}
}

// The words with which a rule is shown make the same rule, except for its priority.
func TestRuleWords(t *testing.T) {
	for _, tt := range []struct {
		rule oracle.Rule
		want string
	}{
		{oracle.Rule{Table: 77}, "from all lookup 77"},
		{oracle.Rule{Table: 77, Mark: 7, Mask: 0xffffffff}, "from all fwmark 0x7 lookup 77"},
		{oracle.Rule{Table: 77, Mark: 7, Mask: 0xff}, "from all fwmark 0x7/0xff lookup 77"},
		// VPNs have such a rule. Their own packets carry the bit.
		{oracle.Rule{Table: 77, Mask: 0x10000}, "from all fwmark 0x0/0x10000 lookup 77"},
		{oracle.Rule{Table: 254, Passes: 1}, "from all lookup 254 suppress_prefixlength 0"},
		{oracle.Rule{Table: 254, PassesGroup: 4}, "from all lookup 254 suppress_ifgroup 3"},
		{oracle.Rule{Table: 77, In: "usb 1", TOS: 16}, "from all tos 0x10 iif 'usb 1' lookup 77"},
	} {
		if got := words(&tt.rule); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// What scopes and on_down need is looked at if they are configured.
func TestScopesAreLookedAt(t *testing.T) {
	bed := sound(t)
	if list := look(t, bed, soundConf+"scope \"web\" {}\n"); slices.ContainsFunc(list, func(f Finding) bool { return f.Check == "on-down" }) {
		t.Errorf("without on_down: %v", names(list))
	}
	conf := strings.Replace(soundConf, `interface "wlan0" { `, "probe {\n  when = \"never\"\n}\ninterface \"wlan0\" {\n  on_down = \"reset\"\n  ", 1)
	conf = strings.Replace(conf, `"10.1.0.1"] }`, "\"10.1.0.1\"]\n}", 1)
	list := look(t, bed, conf)
	i := slices.IndexFunc(list, func(f Finding) bool { return f.Check == "on-down" && f.Severity == Warning })
	if i < 0 || list[i].Subject != `interface "wlan0"` || !strings.Contains(list[i].Evidence, "policy.conf:5") {
		t.Errorf("on_down without probes: %+v", list)
	}
	for conf, want := range map[string]*Scopes{"": nil, "scope \"web\" {}\n": {NoGroups: true}} {
		cfg, err := config.Parse([]byte(soundConf+conf), "policy.conf")
		if err != nil {
			t.Fatal(err)
		}
		f, err := Collect(t.Context(), cfg, Options{Run: t.TempDir(), Namespace: bed.Client.FD(), Dial: bed.Client.Dial, ReadFile: func(path string) ([]byte, error) {
			if path == "/proc/self/mounts" {
				return []byte("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), nil
			}
			return os.ReadFile(path)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f.Scopes, cmpopts.IgnoreFields(Scopes{}, "Rights")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", conf, diff)
		}
	}
}
