package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

func (a *app) prefixesCommand() *cobra.Command {
	return a.command("prefixes", "Show the managed prefixes with their measurements", `
Shows the managed prefixes. RTT is the minimum of the last 10 minutes and the
median of the current connections. LOAD is the current rate of the interface. MAX
SEEN is the highest receive rate of the interface within the last 10 minutes;
policies take this rate for the capacity. NAME, shown if a network has one, is what
the configuration calls the network. BUDGET, shown if there is one, is how much
of its monthly budget the interface has transferred. DNS are the name servers that
are asked for connections over the prefix. "*" marks default prefixes. Below the table
stands what services of this host say of the networks, with their names: a cost that
one of them says is shown with it. Of the kernel is the gateway to which what is
measured belongs, if no service names an access point or operator. When the host comes
back there, what was measured before counts again for 10 minutes; a line below the table
tells how old it is. --json shows all other figures, and the age of each.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var p control.Prefixes
			raw, err := c.Get(ctx, "/v1/prefixes", &p)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showPrefixes(&p) })
		})
}

func (a *app) showPrefixes(p *control.Prefixes) error {
	if len(p.Prefixes) == 0 {
		return a.say("mamma manages no prefix.\n")
	}
	columns := []table.Column{
		{Head: "NAME", Rank: 5}, {Head: "PREFIX"}, {Head: "INTERFACE", Least: 9}, {Head: "HEALTH", Rank: 1}, {Head: "COST", Rank: 3, Least: 10},
		{Head: "BUDGET", Right: true, Rank: 5}, {Head: "RTT min/med ms", Right: true, Rank: 2}, {Head: "LOAD down/up Mbit/s", Right: true, Rank: 4},
		{Head: "MAX SEEN Mbit/s", Right: true, Rank: 7}, {Head: "CONNS", Right: true, Rank: 6}, {Head: "DNS", Rank: 8, Least: 11},
	}
	const nameColumn, healthColumn, budgetColumn = 0, 3, 5
	named := slices.ContainsFunc(p.Prefixes, func(x control.Prefix) bool { return x.Name != nil })
	limited := slices.ContainsFunc(p.Prefixes, func(x control.Prefix) bool { return x.Budget != nil })
	var hidden []int // columns to leave out, the last one first
	if !limited {
		hidden = append(hidden, budgetColumn)
	}
	if !named {
		hidden = append(hidden, nameColumn)
	}
	t := a.table(without(columns, hidden)...)
	var notes strings.Builder
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		name := x.Prefix
		if x.Default {
			name += " *"
		}
		cells := table.Plain(orUnknown(x.Name), clean(name), clean(strings.Join(append([]string{x.Interface}, x.AltNames...), ", ")), "", costOf(x), budget(x.Budget),
			pair(msec(x.Path.SRTTMinMS), msec(x.Path.SRTTMedianMS)), pair(mbps(x.Link.Down), mbps(x.Link.Up)),
			mbps(x.Link.DownMax), count(x.Path.Connections), servers(x.Resolvers))
		cells[healthColumn] = a.health(x.Health.State)
		t.Add(without(cells, hidden)...)
		if x.Health.Reason != nil {
			fmt.Fprintf(&notes, "%s on %s is %s: %s%s\n", x.Prefix, clean(x.Interface), clean(x.Health.State), clean(*x.Health.Reason), since(p.Now, x.Health.Since))
		}
	}
	if err := t.Write(a.out); err != nil {
		return err
	}
	a.budgetNotes(&notes, p)
	keptNotes(&notes, p)
	factNotes(&notes, p)
	for i := range p.Prefixes {
		if p.Prefixes[i].Default {
			notes.WriteString("* default\n")
			break
		}
	}
	return a.say("%s", notes.String())
}

// without returns list without the elements at some indexes, which must be in
// descending order.
func without[T any](list []T, indexes []int) []T {
	for _, i := range indexes {
		list = slices.Delete(list, i, i+1)
	}
	return list
}

// budget shows how much of a budget is used.
func budget(b *control.Budget) string {
	if b == nil {
		return unknown
	}
	return used(b)
}

// used shows the used amount and the limit. A common unit is written once.
func used(b *control.Budget) string {
	now, all := byteSize(b.Used), byteSize(b.Limit)
	if n, unit, ok := strings.Cut(now, " "); ok && strings.HasSuffix(all, " "+unit) {
		now = n
	}
	return now + " of " + all
}

// budgetNotes says, once per interface, when an exhausted budget starts again.
func (a *app) budgetNotes(notes *strings.Builder, p *control.Prefixes) {
	told := map[string]bool{}
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		if x.Budget == nil || !x.Budget.Exceeded || told[x.Interface] {
			continue
		}
		told[x.Interface] = true
		fmt.Fprintf(notes, "%s is expensive as its budget is used up, until %s\n", clean(x.Interface), a.date(x.Budget.Reset))
	}
}

// keptNotes tells how old figures are that were measured when the host was attached to
// the same access point, gateway or operator before. Figures that are measured now are
// of the last 10 minutes.
func keptNotes(notes *strings.Builder, p *control.Prefixes) {
	const recentMS = 10 * 60 * 1000
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		var old []string
		add := func(what string, value, age *float64) {
			if value != nil && age != nil && *age > recentMS {
				old = append(old, what+" "+ago(*age)+" old")
			}
		}
		add("RTT", x.Path.SRTTMinMS, x.Path.SampleAgeMS)
		add("MAX SEEN", x.Link.DownMax, x.Link.DownMaxAgeMS)
		if len(old) > 0 {
			fmt.Fprintf(notes, "%s on %s was measured before, at the same place: %s\n", x.Prefix, clean(x.Interface), strings.Join(old, ", "))
		}
	}
}

// costOf says what a network costs, and which service of the host says so.
func costOf(p *control.Prefix) string {
	switch s := p.CostSource; {
	case s == nil, *s == "configuration", *s == "budget":
		return clean(p.Cost)
	default:
		return clean(p.Cost + " (" + *s + ")")
	}
}

// factNotes lists what services of the host say about each interface. Lines that are
// the same for both families are shown once.
func factNotes(notes *strings.Builder, p *control.Prefixes) {
	told := map[string]bool{}
	for i := range p.Prefixes {
		x := &p.Prefixes[i]
		var sources []string
		by := map[string][]string{}
		say := func(source, text string) {
			if by[source] == nil {
				sources = append(sources, source)
			}
			by[source] = append(by[source], text)
		}
		for _, f := range x.Facts {
			text := f.Name + " " + f.Value
			if f.Overruled {
				text += ", but the configuration counts"
			}
			say(f.Source, text)
		}
		if s := x.ResolversSource; s != nil && *s != "configuration" {
			say(*s, "name servers")
		}
		for _, source := range sources {
			line := fmt.Sprintf("%s: %s (%s)\n", clean(x.Interface), clean(strings.Join(by[source], ", ")), clean(source))
			if !told[line] {
				told[line] = true
				notes.WriteString(line)
			}
		}
	}
}

// pair joins two figures. If neither is known it is a single dash.
func pair(x, y string) string {
	if x == unknown && y == unknown {
		return unknown
	}
	return x + " / " + y
}

// servers lists name servers, without the usual port.
func servers(list []string) string {
	var out []string
	for _, s := range list {
		if a, err := netip.ParseAddrPort(s); err == nil && a.Port() == 53 {
			s = a.Addr().String()
		}
		out = append(out, clean(s))
	}
	if len(out) == 0 {
		return unknown
	}
	return strings.Join(out, ", ")
}

func (a *app) interfacesCommand() *cobra.Command {
	return a.command("interfaces", "Show the interfaces that have a managed prefix", `
Shows the interfaces that have a managed prefix, with the current rate and the
highest rate of the last 10 minutes in each direction, the bytes received and sent
so far, and errors. --json shows more.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var p control.Interfaces
			raw, err := c.Get(ctx, "/v1/interfaces", &p)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showInterfaces(&p) })
		})
}

func (a *app) showInterfaces(p *control.Interfaces) error {
	if len(p.Interfaces) == 0 {
		return a.say("mamma manages no interface.\n")
	}
	t := a.table(
		table.Column{Head: "INTERFACE", Least: 9}, table.Column{Head: "PREFIXES", Right: true, Rank: 7},
		table.Column{Head: "DOWN now/max Mbit/s", Right: true, Rank: 1}, table.Column{Head: "UP now/max Mbit/s", Right: true, Rank: 2},
		table.Column{Head: "RECEIVED", Right: true, Rank: 4}, table.Column{Head: "SENT", Right: true, Rank: 5},
		table.Column{Head: "ERRORS rx/tx", Right: true, Rank: 6}, table.Column{Head: "WI-FI", Rank: 3, Least: 7},
	)
	for i := range p.Interfaces {
		x := &p.Interfaces[i]
		t.Add(table.Plain(clean(x.Name), fmt.Sprint(len(x.Prefixes)),
			pair(mbps(x.Link.Down), mbps(x.Link.DownMax)), pair(mbps(x.Link.Up), mbps(x.Link.UpMax)),
			size(x.Link.DownBytes), size(x.Link.UpBytes), pair(count(x.Link.RxErrors), count(x.Link.TxErrors)), wifi(x.Wifi))...)
	}
	return t.Write(a.out)
}

func size(n *uint64) string {
	if n == nil {
		return unknown
	}
	return byteSize(*n)
}

func wifi(w *control.Wifi) string {
	if w == nil {
		return unknown
	}
	var parts []string
	if w.Signal != nil {
		parts = append(parts, fmt.Sprintf("%d dBm", *w.Signal))
	}
	if w.Tx != nil {
		parts = append(parts, "tx "+mbps(w.Tx)+" Mbit/s")
	}
	if w.Stations != nil {
		parts = append(parts, fmt.Sprintf("%d stations", *w.Stations))
	}
	if w.ChannelUtilization != nil {
		parts = append(parts, fmt.Sprintf("channel %.0f %% busy", *w.ChannelUtilization*100))
	}
	if len(parts) == 0 {
		return "yes"
	}
	return strings.Join(parts, ", ")
}
