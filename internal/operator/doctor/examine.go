package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/policy"
)

// Examine makes all checks and reports the findings.
func Examine(f Facts) Report {
	e := &examination{facts: &f, table: f.Table, report: Report{Findings: []Finding{}}}
	for i := range f.Prefixes {
		p := &f.Prefixes[i]
		if !p.Link {
			e.add(true, Finding{
				Severity: Warning, Check: "link", Subject: subject(p), Text: "the link has no carrier",
				Copes: "the prefix is not offered until the link has a carrier", Fix: []string{"ip -s link show dev " + dev(p) + "    # shows the link; perhaps a cable, an access point or a SIM card is missing"},
			})
			continue // without a link nothing else can be right
		}
		if p.Far && p.Refused == "" {
			e.defaultRoute(p)
			e.turn(p)
			if !p.Lent {
				e.sourceRoute(p)
			}
			e.reversePath(p)
		}
		e.undone(p)
		e.gateway(p)
		e.servers(p)
		if !p.Lent {
			e.duplicate(i)
		}
	}
	e.refused()
	e.diversions()
	e.unmatched()
	e.splits()
	e.host()
	e.run()
	e.scopes()
	e.onDown()
	// Findings of equal severity stay in the order of the prefix list.
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return e.report
}

// examination is one run of the checks.
type examination struct {
	facts  *Facts
	report Report
	table  int // the next table to propose
}

// add counts a check, and adds its finding f if found is true.
func (e *examination) add(found bool, f Finding) {
	if !found {
		e.report.Passed++
		return
	}
	e.report.Findings = append(e.report.Findings, f)
}

// splits reports which names are looked up over another network than the one that their
// connections use.
func (e *examination) splits() {
	for _, s := range e.facts.Splits {
		f := Finding{
			Severity: Note, Check: "names-by-domain", Subject: "names below " + s.Domain,
			Evidence: fmt.Sprintf("%s has the domain %s on %s", s.Source, s.Domain, s.Interface),
		}
		if s.Domain == hostfacts.Root {
			f.Subject = "names below no other domain of an interface"
		}
		at := make([]string, len(s.Servers))
		for i, a := range s.Servers {
			at[i] = a.String()
			if a.Port() == 53 {
				at[i] = a.Addr().String()
			}
		}
		switch {
		case s.Off != "":
			f.Text = fmt.Sprintf("each connection looks these names up on its own network. The domain is one of %s, but mamma does not ask its name servers: %s", s.Interface, s.Off)
		case s.TLS && s.Source != hostfacts.Resolved:
			f.Text = fmt.Sprintf("this host's own resolver looks these names up, whatever network a connection takes. The name servers of %s demand TLS, which mamma does not speak: %s", s.Interface, strings.Join(at, ", "))
		case s.TLS:
			f.Text = fmt.Sprintf("systemd-resolved looks these names up over %s, whatever network a connection takes. The name servers there demand TLS, which mamma does not speak: %s", s.Interface, strings.Join(at, ", "))
		default:
			f.Text = fmt.Sprintf("mamma looks these names up over %s, whatever network a connection takes. The name servers there are %s", s.Interface, strings.Join(at, ", "))
		}
		if s.Off == "" {
			f.Fix = []string{fmt.Sprintf("interface %s { link_dns = false }    # in the configuration; each connection then looks the names up on its own network", setting(config.EscapePattern(s.Interface)))}
		}
		e.report.Findings = append(e.report.Findings, f)
	}
}

// dev returns the name of the prefix's interface, quoted for a shell.
func dev(p *Prefix) string { return display.ShellQuote(p.ID.Interface) }

// setting returns s as a string of the configuration that is also harmless in a shell.
// Settings are shown beside commands, so that somebody will paste one into a shell.
func setting(s string) string {
	var b strings.Builder
	for _, r := range s {
		if display.ShellQuote(string(r)) == string(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return `"` + b.String() + `"`
}

func subject(p *Prefix) string { return subjectOf(p.ID) }

func subjectOf(id policy.PrefixID) string { return id.Prefix.String() + " on " + id.Interface }

// ip returns the ip(8) command with the option for the prefix's family.
func ip(p *Prefix) string {
	if p.Addr.Is6() {
		return "ip -6"
	}
	return "ip"
}

func (e *examination) gateway(p *Prefix) {
	f := Finding{Check: "gateway", Subject: subject(p), Evidence: p.GatewayError}
	switch p.GatewayState {
	case GatewayUnknown:
		return
	case GatewayAnswers:
		e.add(false, f)
		return
	case GatewayUnreachable:
		f.Severity, f.Text = Problem, fmt.Sprintf("no neighbour has the address of the gateway, %s. So nothing can be sent beyond the link", p.Gateway)
		f.Fix = append(reconnect(p), fmt.Sprintf("%s neigh show dev %s    # shows which neighbours answer", ip(p), dev(p)))
	case GatewayFiltered:
		f.Severity, f.Text = Problem, fmt.Sprintf("a packet filter or a rule of this host refuses packets to the gateway %s", p.Gateway)
		tables := "iptables"
		if p.Addr.Is6() {
			tables = "ip6tables"
		}
		// Somebody may have forbidden it on purpose. So no command is proposed that
		// permits it.
		f.Fix = []string{
			"nft -a list ruleset    # shows which rule drops the packets; nft delete rule FAMILY TABLE CHAIN handle N removes that rule",
			tables + " -S OUTPUT    # shows rules that were made with " + tables + "",
			fmt.Sprintf("%s rule    # shows routing rules that prohibit the packets", ip(p)),
		}
	case GatewaySilent:
		f.Severity, f.Text = Warning, fmt.Sprintf("the gateway %s does not answer. Some gateways and firewalls never do", p.Gateway)
		f.Fix = []string{fmt.Sprintf("ping -c 3 -I %s %s    # shows whether the gateway answers now", dev(p), p.Gateway.WithZone(""))}
	}
	e.add(true, f)
}

func (e *examination) servers(p *Prefix) {
	if len(p.Servers) == 0 {
		return
	}
	var dead []string
	for _, s := range p.Servers {
		if s.Error != "" {
			dead = append(dead, fmt.Sprintf("%s: %s", s.Addr, s.Error))
		}
	}
	severity, text := Warning, fmt.Sprintf("%d of this network's %d name servers do not answer", len(dead), len(p.Servers))
	if len(dead) == 1 {
		text = fmt.Sprintf("1 of this network's %d name servers does not answer", len(p.Servers))
	}
	if len(dead) == len(p.Servers) {
		severity, text = Problem, "no name server of this network answers"
	}
	first := p.Servers[0].Addr
	for _, s := range p.Servers {
		if s.Error != "" {
			first = s.Addr
			break
		}
	}
	e.add(len(dead) > 0, Finding{
		Severity: severity, Check: "resolver", Subject: subject(p), Text: text, Evidence: strings.Join(dead, "; "),
		Fix: []string{
			fmt.Sprintf("dig -b %s %s -p %d . NS    # shows whether the name server answers now", p.Addr, display.ShellQuote("@"+first.Addr().String()), first.Port()),
			fmt.Sprintf("nameserver = [...]    # in the block of %s in the configuration, with a server that answers", p.ID.Interface),
		},
	})
}

// duplicate finds a network that several interfaces have. It reports it once, at the
// first of them.
func (e *examination) duplicate(i int) {
	p := &e.facts.Prefixes[i]
	var twins []string
	first := true
	note := func(id policy.PrefixID, earlier bool) {
		if id.Prefix == p.ID.Prefix && id.Interface != p.ID.Interface {
			twins = append(twins, id.Interface)
			first = first && !earlier
		}
	}
	for j := range e.facts.Prefixes {
		note(e.facts.Prefixes[j].ID, j < i)
	}
	for _, id := range e.facts.Others {
		note(id, false)
	}
	if !p.Far || len(twins) > 0 && !first {
		return
	}
	var fix []string
	if len(twins) > 0 {
		spare := twins[0]
		if e.carriesDefault(spare) { // unbound connections keep their route
			spare = p.ID.Interface
		}
		fix = []string{
			"ip link set dev " + display.ShellQuote(spare) + " down    # if these interfaces are in one and the same network",
			"interface " + setting(config.EscapePattern(spare)) + " { enabled = false }    # in the configuration",
		}
	}
	e.add(len(twins) > 0, Finding{
		Severity: Warning, Check: "duplicate", Subject: subject(p),
		Text:     "the same network is on " + strings.Join(twins, " and ") + ", too. This host reaches neighbours by one of these interfaces only",
		Evidence: fmt.Sprintf("%s on %s and %s", p.ID.Prefix, p.ID.Interface, strings.Join(twins, " and ")),
		Fix:      fix,
	})
}

// carriesDefault tells whether packets of unbound sockets leave by the interface.
func (e *examination) carriesDefault(iface string) bool {
	return e.facts.Unbound[0] == iface || e.facts.Unbound[1] == iface
}

// reconnect returns the command by which the configuring program sets the interface up
// again.
func reconnect(p *Prefix) []string {
	switch p.Manager.Kind {
	case Networkd:
		return []string{"networkctl reconfigure " + dev(p)}
	case NetworkManager:
		return []string{"nmcli connection up " + display.ShellQuote(p.Manager.Profile)}
	case Ifupdown:
		return []string{"ifdown " + dev(p) + "; ifup " + dev(p)}
	case NoManager:
	}
	return nil
}

// diversions reports rules that apply only to some packets of a socket. Such a rule can
// send packets over another network than the chosen one.
func (e *examination) diversions() {
	var rules []string
	for _, d := range e.facts.Marks {
		rules = append(rules, d.Rule+" (for "+strings.Join(d.Prefixes, ", ")+")")
	}
	f := Finding{
		Severity: Warning, Check: "marks", Subject: "this host",
		Text:     "the packet filter marks packets that this host sends, and rules lead marked packets over other networks. So these packets do not use the chosen network",
		Evidence: strings.Join(append(slices.Clone(rules), e.facts.Markers...), "; "),
		Fix:      []string{"nft list ruleset    # shows which packets are marked", "ip rule    # shows the rules"},
	}
	if len(e.facts.Markers) == 0 {
		f.Severity = Note
		f.Text = "rules lead marked packets over other networks. This process cannot see whether the packet filter marks packets. Marked ones do not use the chosen network"
		f.Fix = []string{"iptables -t mangle -S    # shows which packets are marked; needs root", "ip rule    # shows the rules"}
	}
	e.add(len(rules) > 0 && (len(e.facts.Markers) > 0 || !e.facts.MarkersKnown), f)
	for _, d := range e.facts.Users {
		e.add(true, Finding{
			Severity: Warning, Check: "users", Subject: "users " + d.Users, Text: "a rule leads packets of these users over another network. So their programs do not use the chosen network",
			Evidence: d.Rule + " (for " + strings.Join(d.Prefixes, ", ") + ")", Fix: []string{"ip rule    # shows the rule; if you want it, nothing is wrong"},
		})
	}
}

// refused reports prefixes that somebody has forbidden. It proposes no command against
// that.
func (e *examination) refused() {
	for i := range e.facts.Refused {
		p := &e.facts.Refused[i]
		e.add(true, Finding{
			Severity: Warning, Check: "prohibited", Subject: subject(p),
			Text:     "a route or a rule refuses packets from this network's address. So the network is not used",
			Evidence: fmt.Sprintf("route to %s from %s: %s", p.FarAway, p.Addr, p.Refused),
			Copes:    "the prefix is not offered",
			Fix: []string{
				ip(p) + " rule    # shows the rules; if you want them, nothing is wrong",
				fmt.Sprintf("%s route show table all type %s    # shows routes that refuse", ip(p), kindOf(p.Refused)),
			},
		})
	}
	for i := range e.facts.Led {
		e.led(&e.facts.Led[i])
	}
	if len(e.facts.Refused)+len(e.facts.Led) == 0 {
		e.report.Passed++
	}
}

// kindOf returns the word of ip-route(8) for the kind of routes that refuse in this way.
func kindOf(refused string) string {
	switch refused {
	case oracle.Prohibited.String():
		return "prohibit"
	case oracle.Unreachable.String():
		return "unreachable"
	}
	return "blackhole"
}

// led reports addresses whose packets a rule leads into a tunnel. The author of the
// rule wants that, so no command against it is proposed.
func (e *examination) led(p *Led) {
	f := Finding{
		Severity: Warning, Check: "led", Subject: subject(&p.Prefix),
		Text:     "a rule leads packets from this network's address into the tunnel " + p.Into + ". So the network is used for its own link only",
		Evidence: fmt.Sprintf("route to %s from %s: dev %s", p.FarAway, p.Addr, p.Into),
		Copes:    "connections beyond the link use the tunnel, as the rule says",
		Fix:      []string{ip(&p.Prefix) + " rule    # shows the rule; if you want it, nothing is wrong"},
	}
	if p.Other {
		f.Severity, f.Subject = Note, p.Addr.String()+" on "+p.ID.Interface
		f.Text = "a rule leads packets from this address into the tunnel " + p.Into
		f.Copes = "connections use another address of the network, and mamma makes no rules for this one"
	}
	e.add(true, f)
}

func (e *examination) unmatched() {
	for _, b := range e.facts.Unmatched {
		f := Finding{
			Severity: Warning, Check: "config", Subject: b.Name, Text: "the block matches no network of this host at the moment",
			Evidence: b.At, Fix: []string{"mamma --init    # shows blocks for the networks of this host"},
		}
		if b.Off != "" {
			f.Text = "the interface of the block is switched off"
			f.Evidence += fmt.Sprintf("; the flags of %s lack UP", b.Off)
			f.Fix = []string{"ip link set dev " + display.ShellQuote(b.Off) + " up"}
			f.Lasts = lastUp(b.Off, b.Manager)
		}
		e.add(true, f)
	}
	if len(e.facts.Unmatched) == 0 {
		e.report.Passed++
	}
}

// run reports what prevents "mammactl run" from working fully. It is only a note, because
// mamma works without it.
func (e *examination) run() {
	r := e.facts.Run
	if r == nil {
		return
	}
	note := func(text, why, remedy string) {
		f := Finding{Severity: Note, Check: "run", Subject: "this host", Text: text, Evidence: why, Fix: []string{}}
		if remedy != "" {
			f.Fix = append(f.Fix, remedy)
		}
		e.add(why != "", f)
	}
	note(`"mammactl run" cannot place the connections of programs here`, r.Error, r.Remedy)
	note(`"mammactl run" places the connections of programs, but cannot move those whose network is silent, so that these wait as without it`, r.Unmoved, r.UnmovedRemedy)
}

func (e *examination) host() {
	const host = "this host"
	e.add(len(e.facts.Prefixes) == 0 && !slices.ContainsFunc(e.facts.Led, func(l Led) bool { return !l.Other }), Finding{
		Severity: Problem, Check: "networks", Subject: host, Text: "mamma manages no network. So there is nothing to choose from",
		Evidence: "the configuration selects no prefix",
		Fix:      []string{"mamma --init    # shows blocks for the networks of this host", "auto = true    # in the configuration"},
	})
	severity := Note
	if strings.HasPrefix(e.facts.Policy, "mptcp") {
		severity = Problem
	}
	switch e.facts.MPTCP {
	case Off, Missing:
		set, last := sysctl("net.mptcp.enabled", "1")
		f := Finding{
			Severity: severity, Check: "mptcp", Subject: host, Text: "Multipath TCP is off", Evidence: "net.mptcp.enabled is 0",
			Copes: "connections are plain TCP", Fix: []string{set}, Lasts: last,
		}
		if e.facts.MPTCP == Missing {
			f.Text, f.Evidence = "the kernel has no Multipath TCP", "there is no net.mptcp.enabled"
			f.Lasts = ""
			f.Fix = []string{"use Linux 5.6 or later, with CONFIG_MPTCP"}
		}
		e.add(true, f)
	case On:
		e.report.Passed++
	case Unknown:
	}
	if e.facts.ManageRouting {
		e.add(!e.facts.MayRoute, Finding{
			Severity: Problem, Check: "capability", Subject: host, Text: `routing = "manage" needs CAP_NET_ADMIN, which mamma does not have`,
			Evidence: "bit 12 of CapEff in /proc/PID/status is not set",
			Fix:      []string{"systemctl edit mamma    # write [Service] and AmbientCapabilities=CAP_NET_ADMIN there", `routing = "leave"    # in the configuration`},
		})
	}
	if e.facts.BindDevice {
		e.add(e.facts.DeviceError != "", Finding{
			Severity: Problem, Check: "capability", Subject: host, Text: "mammactl may not bind sockets to devices, so other programs may not either, unless they have more rights",
			Evidence: "SO_BINDTODEVICE: " + e.facts.DeviceError,
			Fix: []string{
				"use Linux 5.7 or later, which needs no privilege for that",
				`routing = "manage"    # in the configuration; sockets then need no device`,
				"setcap cap_net_raw+ep PROGRAM    # for each program",
			},
		})
	}
}
