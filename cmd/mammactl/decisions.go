package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/operator/control"
)

func (a *app) decisionsCommand() *cobra.Command {
	var follow bool
	var n uint
	cmd := a.command("decisions [-f] [-n N]", "Show the latest decisions", `
Shows the latest decisions, oldest first: when, who asked, for what, with which
intents, what was chosen, whether an idle connection is used again, how long the
policy took, and why. Proxies and "mammactl run" also say where the intents came
from and for whom they ask. Both are claims of the caller.

With -f, mammactl goes on to show decisions as they are made, until it is
interrupted. While mamma is not there, as when it is started anew, it waits for
it. With -f and --json, each line is one event.

Decisions on the requests of others are shown to root, to the user that mamma
runs as, and to the control group.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var d control.Decisions
			raw, err := c.Get(ctx, fmt.Sprintf("/v1/decisions?limit=%d", n), &d)
			if err != nil {
				return err
			}
			if !d.Complete {
				_, _ = fmt.Fprintln(a.err, "mammactl: only the decisions on your own requests are shown")
			}
			if !follow {
				return a.show(raw, func() error { return a.showDecisions(d.Decisions) })
			}
			return a.follow(ctx, c, &d)
		})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as decisions are made")
	cmd.Flags().UintVarP(&n, "number", "n", 20, "how many to show first")
	return cmd
}

func (a *app) showDecisions(list []control.Decision) error {
	if len(list) == 0 {
		return a.printf("no decisions to show\n")
	}
	t := newTable("", "", "", "", "", "", "", ">", "")
	for i := range list {
		l := a.line(&list[i])
		t.add(plain(l.time, l.app, l.to, l.intents, "->", l.by, l.how, l.took, l.reason)...)
	}
	return t.write(a.out)
}

// event shows an event as a line.
func (a *app) event(e *control.Event) string {
	clock := a.clock(e)
	switch {
	case e.Type == control.EventDecision && e.Decision != nil:
		return a.line(e.Decision).String()
	case e.Type == control.EventOutcome && e.Decision != nil:
		// A connection that came up as planned needs no second line.
		if outcome := outcomeText(e.Decision); outcome != "" {
			l := a.line(e.Decision)
			return fmt.Sprintf("%s  %-15s  %-24s  %s", clock, l.app, l.to, outcome)
		}
	case e.Dropped != nil:
		return fmt.Sprintf("%s  %s decisions are not shown: they came too fast", clock, group(*e.Dropped))
	case e.Prefix != nil:
		p := &e.Prefix.Prefix
		text := fmt.Sprintf("%s  %s on %s", clock, clean(p.Prefix), clean(p.Interface))
		switch e.Prefix.Change {
		case "health":
			text += " is " + clean(p.Health.State)
			if p.Health.Reason != nil {
				text += ": " + clean(*p.Health.Reason)
			}
			return text
		case "changed":
			text += " has changed: " + clean(p.Cost)
			if p.Budget != nil {
				text += ", " + used(p.Budget)
			}
			return text
		}
		return text + " was " + clean(e.Prefix.Change)
	case e.Reload != nil && e.Reload.Error != nil:
		return fmt.Sprintf("%s  reload failed: %s", clock, clean(firstLine(*e.Reload.Error)))
	case e.Reload != nil:
		return fmt.Sprintf("%s  configuration reloaded; policy %s", clock, orUnknown(e.Reload.Policy))
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func (a *app) clock(e *control.Event) string { return e.Time.In(a.location).Format("15:04:05.000") }

// line is a decision as it is shown in one line.
type line struct{ time, app, to, intents, by, how, took, reason string }

func (a *app) line(d *control.Decision) line {
	l := line{
		time: d.Time.In(a.location).Format("15:04:05.000"), app: caller(&d.App), to: destination(d), intents: intentsText(&d.Intents),
		by: "any", how: "new", took: took(d.TookMS), reason: clean(d.Reason),
	}
	if d.Chosen != nil {
		l.by = interfaceText(d.Chosen)
	}
	if d.Bound != nil {
		l.by = "bound"
	}
	if d.Reused {
		l.how = "reuse"
	}
	if d.Refused {
		l.by, l.how = "none", "deny"
	}
	if d.Fallback != nil && !d.Refused {
		l.reason = "default: " + clean(*d.Fallback)
	}
	if d.Selection != nil {
		l.reason += "; " + selectionText(d)
	}
	if o := outcomeText(d); o != "" {
		l.reason += "; " + o
	}
	if o := originText(d); o != "" {
		l.reason += "; " + o
	}
	return l
}

// interfaceText is the interface of a prefix, with the name of the network if it has one.
func interfaceText(p *control.PrefixRef) string {
	if p.Name == nil {
		return clean(p.Interface)
	}
	return clean(p.Interface) + " (" + clean(*p.Name) + ")"
}

// selectionText tells which networks the application itself permits and prefers.
func selectionText(d *control.Decision) string {
	return "the application asks to " + clean(*d.Selection)
}

// String is the line with columns of usual widths, for lines that come one by one.
func (l line) String() string {
	var b strings.Builder
	used, end := 0, 0
	for _, c := range []struct {
		width int
		text  string
	}{{12, l.time}, {15, l.app}, {24, l.to}, {17, l.intents}, {9, "-> " + l.by}, {5, l.how}} {
		end += c.width
		// A text that is too wide takes from the blanks of the columns after it.
		b.WriteString(c.text)
		used += utf8.RuneCountInString(c.text)
		pad := max(end-used, 0) + 2
		b.WriteString(strings.Repeat(" ", pad))
		used += pad
		end += 2
	}
	fmt.Fprintf(&b, "%*s  %s", max(8-max(used-end, 0), 0), l.took, l.reason)
	return b.String()
}

// narrow is the line with short columns, for a width in which String would lose
// what was chosen. The first column to give way is the destination's.
func (l line) narrow(width int) string {
	to := max(9, min(24, width-66))
	command := l.app
	if i := strings.LastIndexByte(command, '['); i > 0 {
		command = command[:i]
	}
	return fmt.Sprintf("%.8s %-11s %-*s %-17s -> %-6s %-5s %s",
		l.time, cut(command, 11), to, cut(l.to, to), cut(l.intents, 17), l.by, l.how, l.reason)
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if n < 0 {
		n = 0
	}
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}

func caller(app *control.App) string {
	name := unknown
	if app.Command != nil {
		name = clean(*app.Command)
	}
	if app.PID == nil {
		return name
	}
	return fmt.Sprintf("%s[%d]", name, *app.PID)
}

// originText tells where the intents came from, and for whom the caller asked, as
// it claims; "" if it does not say.
func originText(d *control.Decision) string {
	o := d.Origin
	if o == nil {
		return ""
	}
	var parts []string
	if o.Source != nil && d.Intents != (control.Intents{}) {
		parts = append(parts, "intents from "+clean(*o.Source))
	}
	if o.Command != nil || o.PID != nil || o.UID != nil {
		who := caller(&control.App{PID: o.PID, Command: o.Command})
		if o.UID != nil {
			who += fmt.Sprintf(" of user %d", *o.UID)
		}
		parts = append(parts, "for "+who)
	}
	return strings.Join(parts, ", ")
}

func destination(d *control.Decision) string {
	if d.Remote != nil {
		return clean(*d.Remote)
	}
	if d.Host == nil {
		return unknown
	}
	if d.Service == nil {
		return clean(*d.Host)
	}
	return clean(net.JoinHostPort(*d.Host, *d.Service))
}

func intentsText(in *control.Intents) string {
	var parts []string
	add := func(word *string) {
		if word != nil {
			parts = append(parts, clean(*word))
		}
	}
	add(in.Category)
	if in.FileSize != nil {
		parts = append(parts, short(*in.FileSize))
	}
	if in.Duration != nil {
		parts = append(parts, fmt.Sprintf("duration=%d", *in.Duration))
	}
	if in.Bitrate != nil {
		parts = append(parts, "bitrate="+short(*in.Bitrate))
	}
	add(in.Burstiness)
	add(in.Timeliness)
	add(in.Resilience)
	if len(parts) == 0 {
		return unknown
	}
	return strings.Join(parts, " ")
}

// outcomeText tells how a connection came up other than as planned, "" if it
// did or nothing is known.
func outcomeText(d *control.Decision) string {
	o := d.Outcome
	if o == nil {
		return leasedText(d)
	}
	text := connectText(d, o)
	switch {
	case !o.PlainTCP:
	case text == "":
		text = "Multipath TCP became plain TCP"
	default:
		text += ", by plain TCP"
	}
	more := leasedText(d)
	if text != "" && more != "" {
		return text + "; " + more
	}
	return text + more
}

// leasedText tells of further connections that were made by the same decision.
func leasedText(d *control.Decision) string {
	switch d.Leased {
	case 0:
		return ""
	case 1:
		return "1 more connection by its lease"
	}
	return fmt.Sprintf("%d more connections by its lease", d.Leased)
}

func connectText(d *control.Decision, o *control.Outcome) string {
	switch {
	case o.Errno != 0:
		reason := fmt.Sprintf("error %d", o.Errno)
		if o.Error != nil {
			reason = clean(*o.Error)
		}
		return fmt.Sprintf("connect%s failed after %s: %s", over(d, o.Candidate), span(o.TookMS), reason)
	case o.Candidate > 0 && o.Candidate <= len(d.Alternates):
		return failedOver(d, o)
	case o.Candidate != 0:
		return fmt.Sprintf("connected without the suggestion after %s", span(o.TookMS))
	}
	return ""
}

// over names the network of a candidate: the choice, or the n-th alternate.
func over(d *control.Decision, candidate int) string {
	switch {
	case candidate == 0 && d.Chosen != nil:
		return " over " + clean(d.Chosen.Interface)
	case candidate > 0 && candidate <= len(d.Alternates):
		return " over " + clean(d.Alternates[candidate-1].Interface)
	}
	return ""
}

// failedOver tells from which networks to which one a connection failed over. Two of
// the same interface are told by their prefixes.
func failedOver(d *control.Decision, o *control.Outcome) string {
	to := &d.Alternates[o.Candidate-1]
	if d.Chosen == nil {
		return fmt.Sprintf("connect failed over to %s after %s", clean(to.Interface), span(o.TookMS))
	}
	name := func(p *control.PrefixRef) string { return clean(p.Interface) }
	if d.Chosen.Interface == to.Interface {
		name = func(p *control.PrefixRef) string { return clean(p.Prefix) + " on " + clean(p.Interface) }
	}
	return fmt.Sprintf("connect failed over from %s to %s after %s", name(d.Chosen), name(to), span(o.TookMS))
}
