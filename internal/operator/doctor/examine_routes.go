package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/network/routing"
)

// These are the checks of the way that a network's packets take: is there one to
// everywhere, does what is bound to the network take it, and do answers come in.

func (e *examination) defaultRoute(p *Prefix) {
	if p.Default || p.Hidden {
		e.report.Passed++
		return
	}
	metric, ok := e.lastMetric(p.Addr.Is6())
	if !ok || p.Barrier.Words != "" {
		e.forbidden(p)
		return
	}
	q := *p
	q.Gateway = example(p)
	e.add(true, Finding{
		Severity: Warning, Check: "default-route", Subject: subject(p),
		Text:     "this network has no default route. So only its own link is reached",
		Evidence: fmt.Sprintf("no route to %s by %s", everywhere(p), p.ID.Interface),
		Copes:    "the prefix counts as suspect, and is used for destinations on its link",
		Fix:      []string{fmt.Sprintf("%s route add default %s metric %d    # if this is the way out of that network", ip(p), hop(&q), metric)},
		Lasts:    lastDefault(&q, metric),
	})
}

// turn reports a default route with the metric of one that the kernel lists before it.
func (e *examination) turn(p *Prefix) {
	if len(p.Turn) == 0 || p.Turn[0] == p.ID.Interface {
		e.report.Passed++
		return
	}
	f := Finding{
		Severity: Warning, Check: "default-metric", Subject: subject(p),
		Text: "another network's default route has the same metric. The kernel takes such routes in turn: by what it knows of the gateways, or each one for the next connection, and even " +
			"for the next datagram. So the traffic of programs that do not ask mamma changes between the networks",
		Evidence: oneMetric(p),
		Copes:    "programs that ask mamma are not affected, as their sockets are bound to the interface or led by a rule",
	}
	if metric, ok := e.lastMetric(p.Addr.Is6()); ok {
		route := fmt.Sprintf("%s route %%s default %s metric %%d", ip(p), hop(p))
		f.Fix = []string{inTurn([]step{
			{do: fmt.Sprintf(route, "append", metric), undo: fmt.Sprintf(route, "del", metric)},
			{do: fmt.Sprintf(route, "del", p.Metric)},
		})}
		f.Lasts = lastMetricOf(p, metric)
	} else {
		f.Fix = []string{ip(p) + " route    # shows the routes; give each default route a metric of its own"}
	}
	e.add(true, f)
}

func oneMetric(p *Prefix) string {
	return fmt.Sprintf("the default routes by %s have the metric %d", strings.Join(p.Turn, ", "), p.Metric)
}

// lastMetric returns a metric for a further default route in table main. It is larger than
// those of all others that lead somewhere, so that the host's own default stays
// preferred. ok is false if a default route that refuses leaves no room behind them.
func (e *examination) lastMetric(v6 bool) (metric int, ok bool) {
	// Network managers give 600 to Wi-Fi. An IPv6 route without a metric has 1024
	// (IP6_RT_PRIO_USER).
	i, usual := 0, 600
	if v6 {
		i, usual = 1, 1024
	}
	largest, refusing := e.facts.Metrics[i], e.facts.Refusing[i]
	const apart = 100
	metric = max(largest, usual) + apart
	if refusing != nil && metric >= *refusing {
		metric = largest + (*refusing-largest)/2
		if metric <= largest {
			return 0, false
		}
	}
	e.facts.Metrics[i] = metric
	return metric, true
}

// forbidden reports a prefix for which a default route would have no effect, because
// somebody forbids its packets to leave by its interface. No command against that is
// proposed.
func (e *examination) forbidden(p *Prefix) {
	f := Finding{
		Severity: Warning, Check: "forbidden", Subject: subject(p),
		Text:     "A route of table main refuses packets to everywhere, and comes before the place of a default route",
		Evidence: ip(p) + " route: a route to everywhere, or to both halves, of the kind blackhole, unreachable or prohibit",
		Copes:    "the prefix counts as suspect, and is used for destinations on its link",
		Fix:      []string{ip(p) + " route    # shows the route; if you want it, leave this network out of the configuration"},
	}
	byRoute := true
	if b := p.Barrier; b.Words != "" {
		byRoute = p.BarrierTable != 0
		f.Text = fmt.Sprintf("Rule %d refuses all others", b.Priority)
		f.Evidence = fmt.Sprintf("rule %d: %s", b.Priority, b.Words)
		f.Fix = []string{ip(p) + " rule    # shows the rule; if you want it, leave this network out of the configuration"}
		if byRoute {
			f.Text = fmt.Sprintf("A route in table %d, to which rule %d leads, refuses all others", p.BarrierTable, b.Priority)
			f.Fix[0] = fmt.Sprintf("%s route show table %d    # shows the route; if you want it, leave this network out of the configuration", ip(p), p.BarrierTable)
		}
	}
	if byRoute && p.Addr.Is6() {
		// IPv6 takes no route of another device for such a socket, and one that refuses has loopback.
		f.Text += ". Sockets that are bound to the interface pass over that route nevertheless"
	}
	f.Text = "packets may leave by this network for its own link only. " + f.Text
	e.add(true, f)
}

func everywhere(p *Prefix) string {
	if p.Addr.Is6() {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// example returns the gateway to show in a command: the prefix's, or the address that
// gateways usually have. There is none if the prefix has room for at most one
// neighbour.
func example(p *Prefix) netip.Addr {
	first := p.ID.Prefix.Masked().Addr().Next()
	switch {
	case p.Gateway.IsValid() || p.ID.Prefix.Bits() >= p.Addr.BitLen()-1:
		return p.Gateway
	case first == p.Addr:
		return first.Next()
	}
	return first
}

// elsewhere begins the texts of source-route. The sockets may send by another interface, or
// not at all beyond the link.
const elsewhere = "sockets bound to this network's address do not send by its interface"

func (e *examination) sourceRoute(p *Prefix) {
	if !p.Default && !p.Hidden {
		return
	}
	wrong := p.Egress != p.ID.Interface
	evidence := fmt.Sprintf("route to %s from %s goes by %s", p.FarAway, p.Addr, p.Egress)
	if p.Egress == "" {
		evidence = fmt.Sprintf("no route to %s from %s", p.FarAway, p.Addr)
	}
	if p.Shared {
		evidence = fmt.Sprintf("the route to %s from %s has next hops on several interfaces", p.FarAway, p.Addr)
	}
	if p.Shared && len(p.Turn) > 0 {
		evidence = oneMetric(p)
	}
	var fix []string
	copes, lasts := "", ""
	text := elsewhere + ". No rule leads from the address to the network's default route"
	if p.Shared {
		text = "sockets bound to this network's address send by any of several interfaces, among which the kernel shares connections. No rule leads from the address to the network's default route"
	}
	switch {
	case !wrong:
	case e.facts.ManageRouting && p.Foreign.Words != "":
		text = fmt.Sprintf("%s. A rule of another program comes before those of mamma, which begin at priority %d", elsewhere, routing.FirstPriority)
		evidence += fmt.Sprintf(", by rule %d: %s", p.Foreign.Priority, p.Foreign.Words)
		fix = []string{move(p, p.Foreign) + "    # if you do not want that rule first; else, as with a VPN, leave this network out of the configuration"}
		if past := p.Past; past.Words != "" {
			// That rule would then also lead packets from other addresses.
			evidence += fmt.Sprintf("; behind the rules of mamma, that rule would also come behind rule %d: %s", past.Priority, past.Words)
			fix = []string{fmt.Sprintf("%s rule    # shows both rules; whoever made them must move them together; if you want them first, as with a VPN, leave this network out of the configuration", ip(p))}
		}
	case p.Forbidden.Words != "":
		text = elsewhere + ". A rule of another program refuses packets that would leave by the interface"
		if e.facts.ManageRouting {
			text = elsewhere + ". mamma makes no rules for this network, because a rule of another program refuses packets that would leave by the interface"
		}
		evidence += fmt.Sprintf("; rule %d: %s", p.Forbidden.Priority, p.Forbidden.Words)
		fix = []string{fmt.Sprintf("%s rule    # shows the rule; if you want it, leave this network out of the configuration", ip(p))}
	case e.facts.ManageRouting && p.Managed:
		text = elsewhere + ", although rules of mamma lead from the address to the network's default route"
		fix = []string{fmt.Sprintf("%s route get %s from %s    # shows which table the packets use", ip(p), p.FarAway, p.Addr), fmt.Sprintf("%s rule    # shows which rules come before those of mamma, which have protocol %d", ip(p), routing.Protocol)}
	case e.facts.ManageRouting:
		text = elsewhere + `. The configuration has routing = "manage", but mamma has made no rules for this network`
		fix = []string{"systemctl restart mamma    # if mamma does not run; if it runs, its log says why there are no rules"}
	case p.Twin:
		fix = []string{"give one of the two devices another address, in its own settings; no rule can tell them apart"}
	case len(p.Undone)+len(p.Passed) > 0:
		// A way of its own would pass over these rules.
		for _, f := range slices.Concat(p.Undone, p.Passed) {
			evidence += fmt.Sprintf("; a rule by source would pass over rule %d: %s", f.Priority, f.Words)
		}
		fix = []string{`routing = "manage"    # in the configuration; mammactl doctor then says how those rules stay in force`}
	case p.Mixed:
		fix = []string{`routing = "manage"    # in the configuration; mamma can tell the VPN's routes from others`}
	default:
		b := bypass{p: p, table: e.table, priority: p.Priority, suppress: p.Suppress}
		fix = []string{inTurn(b.steps()), `routing = "manage"    # in the configuration; mamma then makes such rules`}
		lasts = b.last()
		e.table++
	}
	if p.Hidden {
		text = elsewhere + ", not even if they are bound to the interface. The kernel does not look for a default route behind one that uses a next-hop object"
		if p.Addr.Is6() {
			text = "sockets bound to this network's address may send by another interface, even if they are bound to this one. The kernel takes any member of a group of next-hop objects"
		}
	}
	if wrong && e.facts.BindDevice && !p.Hidden {
		copes = "mamma has each socket bound to the interface (SO_BINDTODEVICE); programs that do not ask mamma are not helped"
	}
	e.add(wrong, Finding{
		Severity: Problem, Check: "source-route", Subject: subject(p),
		Text:     text,
		Evidence: evidence, Copes: copes, Fix: fix, Lasts: lasts,
	})
}

// behind is a priority after the highest one that mamma's rules may have.
const behind = routing.FirstPriority + 11

// move returns the command that moves a rule of another program behind mamma's.
func move(p *Prefix, f Foreign) string {
	after := fmt.Sprintf("%s rule add %s priority %d", ip(p), f.Words, behind)
	before := fmt.Sprintf("%s rule del %s priority %d", ip(p), f.Words, f.Priority)
	undo := fmt.Sprintf("%s rule del %s priority %d", ip(p), f.Words, behind)
	return inTurn([]step{{after, undo}, {do: before}})
}

// undone reports rules of other programs that refuse something, or lead some packets
// elsewhere, but have no effect because mamma's rules come before them.
func (e *examination) undone(p *Prefix) {
	if !p.Managed {
		return // without mamma's rules they have effect
	}
	report := func(check, does string, f Foreign) {
		// The copy comes directly before mamma's rules, so that what others have put
		// before these comes first. Rules that come before the rule in its chain are
		// copied before it, too.
		var steps []step
		for _, w := range append(slices.Clone(f.Before), f.Words) {
			rule := fmt.Sprintf("%s priority %d", w, p.ManagedAt-1)
			steps = append(steps, step{ip(p) + " rule add " + rule, ip(p) + " rule del " + rule})
		}
		e.add(true, Finding{
			Severity: Warning, Check: check, Subject: subject(p),
			Text:     "a rule that " + does + " has no effect on packets from this network's address. The rules of mamma come before that rule, because the way to everywhere that they replace does, too",
			Evidence: fmt.Sprintf("rule %d: %s", f.Priority, f.Words),
			Fix:      []string{inTurn(steps)},
		})
	}
	for _, f := range p.Undone {
		report("undone", "refuses some packets", f)
	}
	for _, f := range p.Passed {
		report("passed", "leads some packets over another network", f)
	}
	if len(p.Undone)+len(p.Passed) == 0 {
		e.report.Passed++
	}
}

// reversePath reports a strict reverse path filter on an interface with a default
// route. If another default route is preferred, the filter drops the answers that come
// in by this interface (RFC 3704). If a rule by source leads to the interface, the
// filter follows that rule and drops nothing.
func (e *examination) reversePath(p *Prefix) {
	if p.ReversePath < 0 || !p.Default || p.Ruled {
		return
	}
	severity := Warning
	text := "the reverse path filter is strict (rp_filter is 1). The kernel drops answers that come in here as soon as another default route is preferred"
	if p.Egress != p.ID.Interface {
		severity = Problem
		text = "the reverse path filter is strict (rp_filter is 1). The kernel drops answers that come in by this interface"
	}
	set, last := sysctl(filterKey(p.ID.Interface), "2")
	e.add(p.ReversePath == 1, Finding{
		Severity: severity, Check: "rp-filter", Subject: subject(p), Text: text,
		Evidence: fmt.Sprintf("the larger of net.ipv4.conf.all.rp_filter and net.ipv4.conf.%s.rp_filter is 1", p.ID.Interface),
		Fix:      []string{set}, Lasts: last,
	})
}
