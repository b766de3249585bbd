package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/policy"
)

// Examine makes all checks.
func Examine(f Facts) Report {
	e := &examination{facts: &f, table: f.Table, report: Report{Findings: []Finding{}}}
	for i := range f.Prefixes {
		p := &f.Prefixes[i]
		if !p.Link {
			e.add(true, Finding{
				Severity: Warning, Check: "link", Subject: subject(p), Text: "the link has no carrier",
				Copes: "the prefix is not offered until it has", Fix: []string{"ip link set dev " + dev(p) + " up"},
			})
			continue // nothing else could be right
		}
		if p.Far && p.Refused == "" {
			e.defaultRoute(p)
			e.sourceRoute(p)
			e.reversePath(p)
		}
		e.gateway(p)
		e.servers(p)
		e.duplicate(i)
	}
	e.refused()
	e.unmatched()
	e.host()
	e.run()
	// Of equal severity in the order found: that of the prefix list.
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return e.report
}

type examination struct {
	facts  *Facts
	report Report
	table  int // the next one to propose
}

// add counts a check, which found f or, if found is false, nothing.
func (e *examination) add(found bool, f Finding) {
	if !found {
		e.report.Passed++
		return
	}
	e.report.Findings = append(e.report.Findings, f)
}

// dev is the interface as a word of a shell.
func dev(p *Prefix) string { return display.ShellQuote(p.ID.Interface) }

// setting is s as a string of the configuration. A shell takes it for text too:
// settings stand beside commands, and somebody will paste one.
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

// ip is the command for the prefix's family.
func ip(p *Prefix) string {
	if p.Addr.Is6() {
		return "ip -6"
	}
	return "ip"
}

func (e *examination) defaultRoute(p *Prefix) {
	add := fmt.Sprintf("%s route add default via %s dev %s metric 700", ip(p), example(p), dev(p))
	e.add(!p.Default, Finding{
		Severity: Warning, Check: "default-route", Subject: subject(p),
		Text:     "no default route: it reaches its own network only",
		Evidence: fmt.Sprintf("no route to %s by %s", everywhere(p), p.ID.Interface),
		Copes:    "the prefix is suspect, and destinations on its link are reached",
		Fix:      []string{add + "    # if that is its gateway"},
	})
}

func everywhere(p *Prefix) string {
	if p.Addr.Is6() {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// example is the gateway, or the address that gateways mostly have.
func example(p *Prefix) string {
	if p.Gateway.IsValid() {
		return p.Gateway.String()
	}
	return p.ID.Prefix.Addr().Next().String()
}

func (e *examination) sourceRoute(p *Prefix) {
	if !p.Default {
		return
	}
	wrong := p.Egress != p.ID.Interface
	evidence := fmt.Sprintf("route to %s from %s goes by %s", p.FarAway, p.Addr, p.Egress)
	if p.Egress == "" {
		evidence = fmt.Sprintf("no route to %s from %s", p.FarAway, p.Addr)
	}
	var fix []string
	copes := ""
	if wrong {
		via := ""
		if p.Gateway.IsValid() {
			via = "via " + p.Gateway.String() + " "
		}
		fix = []string{
			fmt.Sprintf("%s rule add from %s lookup %d && %s route add default %sdev %s table %d", ip(p), p.Addr, e.table, ip(p), via, dev(p), e.table),
			`routing = "manage"    # in the configuration: mamma sees to it`,
		}
		if e.facts.ManageRouting {
			fix = []string{"systemctl restart mamma    # routes are to be managed, and are not"}
		} else {
			e.table++
		}
		if e.facts.BindDevice {
			copes = "it asks for SO_BINDTODEVICE on each socket; other programs that bind themselves are not helped"
		}
	}
	e.add(wrong, Finding{
		Severity: Problem, Check: "source-route", Subject: subject(p),
		Text:     "what is bound to it would leave elsewhere (no rule leads from its address to its default route)",
		Evidence: evidence, Copes: copes, Fix: fix,
	})
}

// reversePath matters where routes lead elsewhere: then strict filtering drops
// what comes back (RFC 3704). With a route by source it asks that one.
func (e *examination) reversePath(p *Prefix) {
	if p.ReversePath < 0 || !p.Default || p.Ruled {
		return
	}
	severity := Warning
	text := "rp_filter is strict (1): answers are dropped as soon as another default route is preferred"
	if p.Egress != p.ID.Interface {
		severity = Problem
		text = "rp_filter is strict (1): answers that come in by this interface are dropped"
	}
	e.add(p.ReversePath == 1, Finding{
		Severity: severity, Check: "rp-filter", Subject: subject(p), Text: text,
		Evidence: fmt.Sprintf("the larger of net.ipv4.conf.all.rp_filter and net.ipv4.conf.%s.rp_filter is 1", p.ID.Interface),
		Fix:      []string{fmt.Sprintf("sysctl -w net.ipv4.conf.%s.rp_filter=2", display.ShellQuote(strings.ReplaceAll(p.ID.Interface, ".", "/")))},
	})
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
		f.Severity, f.Text = Problem, fmt.Sprintf("its gateway %s is no neighbour: nothing can be sent by it", p.Gateway)
		f.Fix = []string{
			fmt.Sprintf("%s neigh flush dev %s", ip(p), dev(p)),
			fmt.Sprintf("ip link set dev %s down && ip link set dev %s up    # and let the network manager connect anew", dev(p), dev(p)),
		}
	case GatewayFiltered:
		f.Severity, f.Text = Problem, fmt.Sprintf("this host's packet filter or a rule keeps packets from its gateway %s", p.Gateway)
		tables := "iptables"
		if p.Addr.Is6() {
			tables = "ip6tables"
		}
		f.Fix = []string{
			fmt.Sprintf("%s -I OUTPUT -o %s -j ACCEPT    # if a rule of %s drops them", tables, dev(p), tables),
			"nft -a list ruleset    # shows what drops them; nft delete rule FAMILY TABLE CHAIN handle N takes it away",
			fmt.Sprintf("%s rule    # shows rules that prohibit them", ip(p)),
		}
	case GatewaySilent:
		f.Severity, f.Text = Warning, fmt.Sprintf("its gateway %s does not answer; that may be its way, or a firewall's", p.Gateway)
		f.Fix = []string{fmt.Sprintf("ping -c 3 -I %s %s", dev(p), p.Gateway)}
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
	severity, text := Warning, "one of its name servers does not answer"
	if len(dead) == len(p.Servers) {
		severity, text = Problem, "none of its name servers answers"
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
			fmt.Sprintf("dig -b %s @%s -p %d . NS    # shows whether it is back", p.Addr, first.Addr(), first.Port()),
			fmt.Sprintf("nameserver = [...]    # in the block of %s, with one that answers", p.ID.Interface),
		},
	})
}

// duplicate finds a network that other interfaces have as well, and reports it
// at the first of them.
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
		fix = []string{
			"ip link set dev " + display.ShellQuote(twins[0]) + " down    # if both are the same network",
			"interface " + setting(twins[0]) + " { enabled = false }    # in the configuration",
		}
	}
	e.add(len(twins) > 0, Finding{
		Severity: Warning, Check: "duplicate", Subject: subject(p),
		Text:     "the same network is on " + strings.Join(twins, " and ") + ": neighbours are reached by one of them only",
		Evidence: fmt.Sprintf("%s on %s and %s", p.ID.Prefix, p.ID.Interface, strings.Join(twins, " and ")),
		Fix:      fix,
	})
}

// refused tells of prefixes that somebody has forbidden. To undo that is not ours
// to propose.
func (e *examination) refused() {
	for i := range e.facts.Refused {
		p := &e.facts.Refused[i]
		e.add(true, Finding{
			Severity: Warning, Check: "prohibited", Subject: subject(p),
			Text:     "a route or a rule refuses what is sent from it, so it is not used",
			Evidence: fmt.Sprintf("route to %s from %s: %s", p.FarAway, p.Addr, p.Refused),
			Copes:    "the prefix is not offered",
			Fix:      []string{ip(p) + " rule    # shows who is meant; if that was your wish, nothing is wrong"},
		})
	}
	if len(e.facts.Refused) == 0 {
		e.report.Passed++
	}
}

func (e *examination) unmatched() {
	for _, b := range e.facts.Unmatched {
		f := Finding{
			Severity: Warning, Check: "config", Subject: b.Name, Text: "it matches no network of this host at the moment",
			Evidence: b.At, Fix: []string{"mamma --init    # shows blocks for the networks that there are"},
		}
		if b.Off != "" {
			f.Text = "its interface is switched off"
			f.Evidence += fmt.Sprintf("; the flags of %s do not hold UP", b.Off)
			f.Fix = []string{"ip link set dev " + display.ShellQuote(b.Off) + " up"}
		}
		e.add(true, f)
	}
	if len(e.facts.Unmatched) == 0 {
		e.report.Passed++
	}
}

// run looks at what "mammactl run" needs. Whoever does not use that lacks nothing.
func (e *examination) run() {
	r := e.facts.Run
	if r == nil {
		return
	}
	f := Finding{
		Severity: Note, Check: "run", Subject: "this host", Text: `"mammactl run" cannot place the connections of programs here`,
		Evidence: r.Error, Fix: []string{},
	}
	if r.Remedy != "" {
		f.Fix = append(f.Fix, r.Remedy)
	}
	e.add(r.Error != "", f)
}

func (e *examination) host() {
	const host = "this host"
	e.add(len(e.facts.Prefixes) == 0, Finding{
		Severity: Problem, Check: "networks", Subject: host, Text: "no network is managed: there is nothing to choose from",
		Evidence: "no prefix is selected by the configuration",
		Fix:      []string{"mamma --init    # shows blocks for the networks that there are", "auto = true    # in the configuration"},
	})
	severity := Note
	if strings.HasPrefix(e.facts.Policy, "mptcp") {
		severity = Problem
	}
	switch e.facts.MPTCP {
	case Off, Missing:
		f := Finding{
			Severity: severity, Check: "mptcp", Subject: host, Text: "Multipath TCP is off", Evidence: "net.mptcp.enabled is 0",
			Copes: "connections are plain TCP", Fix: []string{"sysctl -w net.mptcp.enabled=1"},
		}
		if e.facts.MPTCP == Missing {
			f.Text, f.Evidence = "the kernel has no Multipath TCP", "there is no net.mptcp.enabled"
			f.Fix = []string{"a kernel of Linux 5.6 or later with CONFIG_MPTCP"}
		}
		e.add(true, f)
	case On:
		e.report.Passed++
	case Unknown:
	}
	if e.facts.ManageRouting {
		e.add(!e.facts.MayRoute, Finding{
			Severity: Problem, Check: "capability", Subject: host, Text: `routing = "manage" takes CAP_NET_ADMIN, which mamma does not have`,
			Evidence: "bit 12 of CapEff in /proc/PID/status is not set",
			Fix:      []string{"systemctl edit mamma    # with [Service] and AmbientCapabilities=CAP_NET_ADMIN", `routing = "leave"    # in the configuration`},
		})
	}
	if e.facts.BindDevice {
		e.add(e.facts.DeviceError != "", Finding{
			Severity: Problem, Check: "capability", Subject: host, Text: "sockets cannot be bound to a device",
			Evidence: "SO_BINDTODEVICE: " + e.facts.DeviceError,
			Fix: []string{
				"a kernel of Linux 5.7 or later, which needs no privilege for it",
				`routing = "manage"    # in the configuration: then it is not needed`,
				"setcap cap_net_raw+ep PROGRAM    # for each program",
			},
		})
	}
}
