package doctor

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

func wifi() Prefix {
	return Prefix{
		ID:   policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("192.168.0.0/24")},
		Addr: netip.MustParseAddr("192.168.0.23"), Link: true, Far: true, Default: true, Gateway: netip.MustParseAddr("192.168.0.1"),
		Egress: "wlan0", FarAway: netip.MustParseAddr("192.0.2.1"), ReversePath: 2, GatewayState: GatewayAnswers, Priority: 32765,
		Servers: []Server{{Addr: netip.MustParseAddrPort("192.168.0.1:53")}},
	}
}

func lte() Prefix {
	return Prefix{
		ID:   policy.PrefixID{Interface: "wwan0", Prefix: netip.MustParsePrefix("10.64.0.0/10")},
		Addr: netip.MustParseAddr("10.64.3.9"), Link: true, Far: true, Default: true, Gateway: netip.MustParseAddr("10.64.0.1"),
		Egress: "wwan0", FarAway: netip.MustParseAddr("192.0.2.1"), ReversePath: 2, GatewayState: GatewayAnswers, Priority: 32765,
	}
}

func healthy() Facts {
	return Facts{Prefixes: []Prefix{wifi(), lte()}, MPTCP: On, MayRoute: true, BindDevice: true, Table: 101, Metrics: [2]int{600, 1024}, Unbound: [2]string{"wlan0"}}
}

// vague finds a sentence that begins with a pronoun: after "192.168.0.0/24 on wlan0:", the
// reader cannot tell whether a network, an address or a gateway is meant.
var vague = regexp.MustCompile(`(?i)(^|[.:;,] )(it|its|they|that is|what is) `)

func TestExamine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		want   []string // severity, check, subject; the first fix
		exit   int
	}{
		{"all is well", func(*Facts) {}, nil, 0},
		{"no source route", func(f *Facts) { f.Prefixes[1].Egress = "wlan0" }, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip route add default via 10.64.0.1 dev wwan0 table 101 && { ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.64.3.9 lookup 101 || { ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0; false; }; } || { ip route del default via 10.64.0.1 dev wwan0 table 101; false; }; }",
		}, 2},
		{"programs can be run", func(f *Facts) { f.Run = &Run{} }, nil, 0},
		{"programs cannot be run", func(f *Facts) { f.Run = &Run{Error: "seccomp: operation not permitted", Remedy: "run it outside"} }, []string{
			"note run this host; run it outside",
		}, 0},
		{"connections cannot be moved", func(f *Facts) {
			f.Run = &Run{Unmoved: "stop a process: operation not permitted", UnmovedRemedy: "let it"}
		}, []string{
			"note run this host; let it",
		}, 0},
		{"no source route for two, one without gateway", func(f *Facts) {
			f.Prefixes[0].Egress, f.Prefixes[1].Egress, f.Prefixes[1].Gateway = "tun0", "tun0", netip.Addr{}
		}, []string{
			"problem source-route 192.168.0.0/24 on wlan0; ip route add default via 192.168.0.1 dev wlan0 table 101 && { ip rule add priority 32765 from 192.168.0.23 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 192.168.0.23 lookup 101 || { ip rule del priority 32765 from 192.168.0.23 lookup main suppress_prefixlength 0; false; }; } || { ip route del default via 192.168.0.1 dev wlan0 table 101; false; }; }",
			"problem source-route 10.64.0.0/10 on wwan0; ip route add default dev wwan0 table 102 && { ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.64.3.9 lookup 102 || { ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0; false; }; } || { ip route del default dev wwan0 table 102; false; }; }",
		}, 2},
		{"routes are to be managed, and are not", func(f *Facts) { f.ManageRouting, f.Prefixes[1].Egress = true, "" }, []string{
			"problem source-route 10.64.0.0/10 on wwan0; systemctl restart mamma    # if mamma does not run; if it runs, its log says why there are no rules",
		}, 2},
		{"a VPN takes everything in pieces as short as other routes", func(f *Facts) { f.Prefixes[1].Egress, f.Prefixes[1].Suppress, f.Prefixes[1].Mixed = "wg0", 24, true }, []string{
			`problem source-route 10.64.0.0/10 on wwan0; routing = "manage"    # in the configuration; mamma can tell the VPN's routes from others`,
		}, 2},
		{"managed routes do not hold", func(f *Facts) { f.ManageRouting, f.Prefixes[1].Egress, f.Prefixes[1].Managed = true, "wlan0", true }, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip route get 192.0.2.1 from 10.64.3.9    # shows which table the packets use",
		}, 2},
		{"a rule of somebody else comes before those of mamma", func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Egress, f.Prefixes[1].Foreign = true, "wlan0", Foreign{Priority: 100, Words: "from all lookup 77"}
		}, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip rule add from all lookup 77 priority 7710 && { ip rule del from all lookup 77 priority 100 || { ip rule del from all lookup 77 priority 7710; false; }; }    # if you do not want that rule first; else, as with a VPN, leave this network out of the configuration",
		}, 2},
		{"such a rule, and another one that it would come behind", func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Egress, f.Prefixes[1].Foreign = true, "wlan0", Foreign{Priority: 100, Words: "from all lookup 77"}
			f.Prefixes[1].Past = Foreign{Priority: 200, Words: "from all lookup 78"}
		}, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip rule    # shows both rules; whoever made them must move them together; if you want them first, as with a VPN, leave this network out of the configuration",
		}, 2},
		{"a rule forbids what would be managed", func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Egress, f.Prefixes[1].Forbidden = true, "wlan0", Foreign{Priority: 20001, Words: "from all prohibit"}
		}, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip rule    # shows the rule; if you want it, leave this network out of the configuration",
		}, 2},
		{"a rule that refuses something is undone", func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Managed, f.Prefixes[1].Undone = true, true, []Foreign{{Priority: 20001, Words: "from 10.64.0.0/10 to 203.0.113.0/24 prohibit"}}
			f.Prefixes[1].ManagedAt = 19999
		}, []string{
			"warning undone 10.64.0.0/10 on wwan0; ip rule add from 10.64.0.0/10 to 203.0.113.0/24 prohibit priority 19998",
		}, 1},
		{"a rule that is undone comes after others", func(f *Facts) {
			f.ManageRouting, f.Prefixes[1].Managed, f.Prefixes[1].ManagedAt = true, true, 19999
			f.Prefixes[1].Undone = []Foreign{{Priority: 20001, Words: "from 10.64.0.0/10 prohibit", Before: []string{"from 10.64.0.0/10 lookup 254 suppress_prefixlength 0"}}}
		}, []string{
			"warning undone 10.64.0.0/10 on wwan0; ip rule add from 10.64.0.0/10 lookup 254 suppress_prefixlength 0 priority 19998 && { ip rule add from 10.64.0.0/10 prohibit priority 19998 || { ip rule del from 10.64.0.0/10 lookup 254 suppress_prefixlength 0 priority 19998; false; }; }",
		}, 1},
		{"IPv6", func(f *Facts) {
			f.Prefixes[1].Addr, f.Prefixes[1].Gateway, f.Prefixes[1].Egress, f.Prefixes[1].ReversePath = netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("fe80::1"), "wlan0", -1
		}, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip -6 route add default via fe80::1 dev wwan0 table 101 && { ip -6 rule add priority 32765 from 2001:db8::9 lookup main suppress_prefixlength 0 && { ip -6 rule add priority 32765 from 2001:db8::9 lookup 101 || { ip -6 rule del priority 32765 from 2001:db8::9 lookup main suppress_prefixlength 0; false; }; } || { ip -6 route del default via fe80::1 dev wwan0 table 101; false; }; }",
		}, 2},
		{"strict filter where routes are right", func(f *Facts) { f.Prefixes[1].ReversePath = 1 }, []string{
			"warning rp-filter 10.64.0.0/10 on wwan0; sysctl -w net.ipv4.conf.wwan0.rp_filter=2",
		}, 1},
		{"strict filter where a rule by source makes it pass", func(f *Facts) { f.Prefixes[1].ReversePath, f.Prefixes[1].Ruled = 1, true }, nil, 0},
		{"refused on purpose", func(f *Facts) {
			f.Prefixes[1].Refused, f.Prefixes[1].Default = "prohibited", false
			f.Refused = f.Prefixes[1:]
		}, []string{
			"warning prohibited 10.64.0.0/10 on wwan0; ip rule    # shows the rules; if you want them, nothing is wrong",
		}, 1},
		{"led into a tunnel", func(f *Facts) { f.Led = []Led{{Prefix: f.Prefixes[1], Into: "wg0"}} }, []string{
			"warning led 10.64.0.0/10 on wwan0; ip rule    # shows the rule; if you want it, nothing is wrong",
		}, 1},
		{"all that there is led into a tunnel", func(f *Facts) { f.Led, f.Prefixes = []Led{{Prefix: f.Prefixes[1], Into: "wg0"}}, nil }, []string{
			"warning led 10.64.0.0/10 on wwan0; ip rule    # shows the rule; if you want it, nothing is wrong",
		}, 1},
		{"strict filter where they are not", func(f *Facts) { f.Prefixes[1].ReversePath, f.Prefixes[1].Egress = 1, "wlan0" }, []string{
			"problem source-route 10.64.0.0/10 on wwan0; ip route add default via 10.64.0.1 dev wwan0 table 101 && { ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.64.3.9 lookup 101 || { ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0; false; }; } || { ip route del default via 10.64.0.1 dev wwan0 table 101; false; }; }",
			"problem rp-filter 10.64.0.0/10 on wwan0; sysctl -w net.ipv4.conf.wwan0.rp_filter=2",
		}, 2},
		{"a gateway that no prefix holds", func(f *Facts) {
			f.Prefixes[1].Egress, f.Prefixes[1].Gateway, f.Prefixes[1].ID.Prefix = "wlan0", netip.MustParseAddr("172.31.1.1"), netip.MustParsePrefix("10.64.3.9/32")
		}, []string{
			"problem source-route 10.64.3.9/32 on wwan0; ip route add default via 172.31.1.1 dev wwan0 onlink table 101 && { ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.64.3.9 lookup 101 || { ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0; false; }; } || { ip route del default via 172.31.1.1 dev wwan0 onlink table 101; false; }; }",
		}, 2},
		{"an address of loopback that two links share", func(f *Facts) {
			for i := range 2 {
				p := &f.Prefixes[i]
				p.ID.Prefix, p.Addr, p.Egress, p.Twin, p.Lent = netip.MustParsePrefix("203.0.113.20/32"), netip.MustParseAddr("203.0.113.20"), "", true, true
			}
		}, nil, 0},
		{"the same address twice", func(f *Facts) { f.Prefixes[1].Egress, f.Prefixes[1].Twin = "wlan0", true }, []string{
			"problem source-route 10.64.0.0/10 on wwan0; give one of the two devices another address, in its own settings; no rule can tell them apart",
		}, 2},
		{"what is unreachable, with somebody who configures it", func(f *Facts) {
			f.Prefixes[1].GatewayState, f.Prefixes[1].Manager = GatewayUnreachable, Manager{NetworkManager, "a b"}
		}, []string{"problem gateway 10.64.0.0/10 on wwan0; nmcli connection up 'a b'"}, 2},
		{"marks that are set", func(f *Facts) {
			f.Marks, f.Markers, f.MarkersKnown = []Diversion{{Rule: "rule 9: fwmark 0x1 lookup 7", Prefixes: []string{"x on y"}}}, []string{"inet a b"}, true
		}, []string{"warning marks this host; nft list ruleset    # shows which packets are marked"}, 1},
		{"marks that nobody sets", func(f *Facts) { f.Marks, f.MarkersKnown = []Diversion{{Rule: "rule 9: fwmark 0x1 lookup 7"}}, true }, nil, 0},
		{"marks that nobody can see", func(f *Facts) { f.Marks = []Diversion{{Rule: "rule 9: fwmark 0x1 lookup 7"}} }, []string{
			"note marks this host; iptables -t mangle -S    # shows which packets are marked; needs root",
		}, 0},
		{"other users", func(f *Facts) { f.Users = []Diversion{{Rule: "rule 9: uidrange 1-2 lookup 7", Users: "1-2"}} }, []string{
			"warning users users 1-2; ip rule    # shows the rule; if you want it, nothing is wrong",
		}, 1},
		{"gateways", func(f *Facts) {
			f.Prefixes[0].GatewayState, f.Prefixes[1].GatewayState = GatewaySilent, GatewayUnreachable
		}, []string{
			"problem gateway 10.64.0.0/10 on wwan0; ip neigh show dev wwan0    # shows which neighbours answer",
			"warning gateway 192.168.0.0/24 on wlan0; ping -c 3 -I wlan0 192.168.0.1    # shows whether the gateway answers now",
		}, 2},
		{"filtered gateway", func(f *Facts) { f.Prefixes[1].GatewayState = GatewayFiltered }, []string{
			"problem gateway 10.64.0.0/10 on wwan0; nft -a list ruleset    # shows which rule drops the packets; nft delete rule FAMILY TABLE CHAIN handle N removes that rule",
		}, 2},
		{"resolvers", func(f *Facts) {
			f.Prefixes[0].Servers[0].Error = "no answer in time"
			f.Prefixes[1].Servers = []Server{{Addr: netip.MustParseAddrPort("10.64.0.1:53")}, {Addr: netip.MustParseAddrPort("10.64.0.2:5353"), Error: "x"}}
		}, []string{
			"problem resolver 192.168.0.0/24 on wlan0; dig -b 192.168.0.23 @192.168.0.1 -p 53 . NS    # shows whether the name server answers now",
			"warning resolver 10.64.0.0/10 on wwan0; dig -b 10.64.3.9 @10.64.0.2 -p 5353 . NS    # shows whether the name server answers now",
		}, 2},
		{"no default route", func(f *Facts) { f.Prefixes[1].Default, f.Prefixes[1].Gateway = false, netip.Addr{} }, []string{
			"warning default-route 10.64.0.0/10 on wwan0; ip route add default via 10.64.0.1 dev wwan0 metric 700    # if this is the way out of that network",
		}, 1},
		{"no default route, and one that refuses is last", func(f *Facts) { f.Prefixes[1].Default, f.Refusing[0] = false, new(4294967295) }, []string{
			"warning default-route 10.64.0.0/10 on wwan0; ip route add default via 10.64.0.1 dev wwan0 metric 700    # if this is the way out of that network",
		}, 1},
		{"no default route, and one that refuses is near", func(f *Facts) { f.Prefixes[1].Default, f.Refusing[0] = false, new(610) }, []string{
			"warning default-route 10.64.0.0/10 on wwan0; ip route add default via 10.64.0.1 dev wwan0 metric 605    # if this is the way out of that network",
		}, 1},
		{"no default route, and one that refuses leaves no room", func(f *Facts) { f.Prefixes[1].Default, f.Refusing[0] = false, new(601) }, []string{
			"warning forbidden 10.64.0.0/10 on wwan0; ip route    # shows the route; if you want it, leave this network out of the configuration",
		}, 1},
		{"no default route, and one that refuses comes first", func(f *Facts) { f.Prefixes[1].Default, f.Refusing[0] = false, new(0) }, []string{
			"warning forbidden 10.64.0.0/10 on wwan0; ip route    # shows the route; if you want it, leave this network out of the configuration",
		}, 1},
		{"no default route, which a rule would undo", func(f *Facts) {
			f.Prefixes[1].Default, f.Prefixes[1].Barrier = false, Foreign{Priority: 20002, Words: "from all prohibit"}
		}, []string{
			"warning forbidden 10.64.0.0/10 on wwan0; ip rule    # shows the rule; if you want it, leave this network out of the configuration",
		}, 1},
		{"no default route, which a route of another table would undo", func(f *Facts) {
			f.Prefixes[1].Default, f.Prefixes[1].Barrier, f.Prefixes[1].BarrierTable = false, Foreign{Priority: 20001, Words: "from all lookup 1000"}, 1000
		}, []string{
			"warning forbidden 10.64.0.0/10 on wwan0; ip route show table 1000    # shows the route; if you want it, leave this network out of the configuration",
		}, 1},
		{"a way of its own would pass over a rule that refuses", func(f *Facts) {
			f.Prefixes[1].Egress, f.Prefixes[1].Undone = "wlan0", []Foreign{{Priority: 20002, Words: "from 10.64.0.0/10 to 203.0.113.0/24 prohibit"}}
		}, []string{
			`problem source-route 10.64.0.0/10 on wwan0; routing = "manage"    # in the configuration; mammactl doctor then says how those rules stay in force`,
		}, 2},
		{"duplicates", func(f *Facts) {
			f.Prefixes[1].ID.Prefix = f.Prefixes[0].ID.Prefix
			f.Others = []policy.PrefixID{{Interface: "eth0", Prefix: f.Prefixes[0].ID.Prefix}, {Interface: "eth1"}}
		}, []string{
			"warning duplicate 192.168.0.0/24 on wlan0; ip link set dev wwan0 down    # if these interfaces are in one and the same network",
		}, 1},
		{"a duplicate that carries the default", func(f *Facts) {
			f.Prefixes[1].ID.Prefix, f.Unbound[0] = f.Prefixes[0].ID.Prefix, "wwan0"
		}, []string{
			"warning duplicate 192.168.0.0/24 on wlan0; ip link set dev wlan0 down    # if these interfaces are in one and the same network",
		}, 1},
		{"no carrier: nothing else is looked at", func(f *Facts) {
			f.Prefixes[1] = Prefix{ID: f.Prefixes[1].ID, Far: true}
		}, []string{"warning link 10.64.0.0/10 on wwan0; ip -s link show dev wwan0    # shows the link; perhaps a cable, an access point or a SIM card is missing"}, 1},
		{"the configuration", func(f *Facts) { f.Unmatched = []Block{{Name: `prefix "10.0.0.0/8"`, At: "policy.conf:7"}} }, []string{
			`warning config prefix "10.0.0.0/8"; mamma --init    # shows blocks for the networks of this host`,
		}, 1},
		{"Multipath TCP is off, and nobody wants it", func(f *Facts) { f.MPTCP = Off }, []string{"note mptcp this host; sysctl -w net.mptcp.enabled=1"}, 0},
		{"the policy wants it", func(f *Facts) { f.MPTCP, f.Policy = Off, "mptcp_simple" }, []string{"problem mptcp this host; sysctl -w net.mptcp.enabled=1"}, 2},
		{"capabilities", func(f *Facts) { f.ManageRouting, f.MayRoute, f.DeviceError = true, false, "operation not permitted" }, []string{
			"problem capability this host; systemctl edit mamma    # write [Service] and AmbientCapabilities=CAP_NET_ADMIN there",
			"problem capability this host; use Linux 5.7 or later, which needs no privilege for that",
		}, 2},
		{"scopes at work", func(f *Facts) { f.Scopes = &Scopes{Known: true, Attached: true, Rights: []string{"CAP_BPF"}} }, nil, 0},
		{"scopes without rights", func(f *Facts) {
			f.Scopes = &Scopes{Known: true, Error: "no", Rights: []string{"CAP_BPF", "CAP_PERFMON"}}
		}, []string{"problem scopes scopes; " + grant}, 2},
		{"scopes without rights, and no mamma runs", func(f *Facts) { f.Scopes = &Scopes{Rights: []string{"CAP_BPF"}} }, []string{"problem scopes scopes; " + grant}, 2},
		{"scopes without Multipath TCP", func(f *Facts) { f.Scopes = &Scopes{Known: true, Attached: true, Single: "no"} },
			[]string{"warning scopes scopes; use Linux 6.6 or later, with CONFIG_DEBUG_INFO_BTF, that permits tracing programs to change results"}, 1},
		{"scopes, and no mamma runs", func(f *Facts) { f.Scopes = &Scopes{} }, nil, 0},
		{"scopes without cgroup2", func(f *Facts) { f.Scopes = &Scopes{NoGroups: true, Known: true, Error: "no"} }, []string{"problem scopes scopes; systemd.unified_cgroup_hierarchy=1    # on the kernel's command line"}, 2},
		{"scopes that the kernel refuses", func(f *Facts) { f.Scopes = &Scopes{Known: true, Error: "no"} }, []string{"problem scopes scopes; journalctl -u mamma    # shows what the kernel has refused"}, 2},
		{"scopes that are detached", func(f *Facts) { f.Scopes = &Scopes{Known: true, Detached: true} }, []string{"warning scopes scopes; mammactl reload"}, 1},
		{"scopes with less than everything", func(f *Facts) {
			f.Scopes = &Scopes{Known: true, Attached: true, Error: "full", Missing: []string{"sendmsg4"}, Unkept: true, Unmatched: []string{"web"}, Failed: map[string]uint64{"backup": 3}}
		}, []string{
			"warning scopes scopes; mammactl scopes    # shows which control groups belong to which scope",
			"warning scopes scopes; use a kernel with CONFIG_CGROUP_BPF and these hooks",
			`warning scopes scope "backup"; mammactl decisions    # shows why`,
			`note scopes scopes; scopes { pin_dir = "/run/mamma/bpf/mamma" }    # in the configuration; the lines for it are in scopes.conf, behind #`,
			`note scopes scope "web"; systemd-cgls    # shows the control groups`,
		}, 1},
		{"on_down", func(f *Facts) { f.Resets = []Block{{Name: `interface "wlan0"`, At: "mamma.conf:3"}} }, nil, 0},
		{"on_down that cannot work", func(f *Facts) {
			f.Resets, f.MayRoute, f.NeverProbes = []Block{{Name: `interface "wlan0"`, At: "mamma.conf:3"}}, false, true
			f.Prefixes = f.Prefixes[:1]
		}, []string{
			"problem on-down interface \"wlan0\"; systemctl edit mamma    # write [Service] and AmbientCapabilities=CAP_NET_ADMIN there",
			"warning on-down interface \"wlan0\"; probe { when = \"doubt\" }    # in the configuration",
			"note on-down interface \"wlan0\"; mammactl prefixes    # shows the networks that mamma manages",
		}, 2},
		{"nothing is managed", func(f *Facts) { f.Prefixes = nil }, []string{"problem networks this host; mamma --init    # shows blocks for the networks of this host"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy()
			tt.change(&f)
			r := Examine(f)
			var got []string
			for _, x := range r.Findings {
				got = append(got, strings.Join([]string{x.Severity.String(), x.Check, x.Subject}, " ")+"; "+x.Fix[0])
				if x.Text == "" || x.Evidence == "" && x.Check != "gateway" && x.Check != "link" {
					t.Errorf("%s says too little: %+v", x.Check, x)
				}
				if vague.MatchString(x.Text) || strings.HasSuffix(x.Text, ".") {
					t.Errorf("%s says no subject first, or ends with a full stop: %s", x.Check, x.Text)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if r.ExitCode() != tt.exit {
				t.Errorf("exit code %d, want %d", r.ExitCode(), tt.exit)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	f := healthy()
	f.Prefixes[1].Egress = "wlan0"
	r := Examine(f)
	var b bytes.Buffer
	if err := r.Write(&b, 0); err != nil {
		t.Fatal(err)
	}
	want := `PROBLEM  10.64.0.0/10 on wwan0: sockets bound to this network's address do not send by its interface. No rule leads from the address to the network's default route
         evidence: route to 192.0.2.1 from 10.64.3.9 goes by wlan0
         mamma copes: mamma has each socket bound to the interface (SO_BINDTODEVICE); programs that do not ask mamma are not helped
           ip route add default via 10.64.0.1 dev wwan0 table 101 && { ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.64.3.9 lookup 101 || { ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 0; false; }; } || { ip route del default via 10.64.0.1 dev wwan0 table 101; false; }; }
         to make it last: let whatever switches wwan0 on run this command, or a unit of systemd (no program is known that configures the interface)
         or
           routing = "manage"    # in the configuration; mamma then makes such rules
ok       18 checks passed
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	j, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(j), `{"findings":[{"severity":"problem","check":"source-route","subject":"10.64.0.0/10 on wwan0"`) {
		t.Errorf("%s, %v", j, err)
	}
}
