package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

var decisionsHelp = `
Shows the latest decisions, oldest first: when, who asked, for what, with which
intents, what was chosen, whether an idle connection is used again, how long the
policy took, and why. Proxies and "mammactl run" also say where the intents came
from and for whom they ask. Both are claims of the caller. Intents are written as
--intents and all other inputs accept them.

--program, --network and --since show some decisions only. A program is a name, a path
or the id of a process; what a proxy says it asks for this program counts, too. A network is
an interface, a name of the configuration or a prefix: the one that was chosen, or that the
connection came up over. --since takes an age, such as 10m or 1d, or a time, such as
14:30 or "2026-03-01 14:30"; without -n, all decisions since then are shown, but no more
than the latest ` + strconv.Itoa(control.MaxDecisions) + `. The daemon remembers as many as its configuration says
(decisions { keep = 1024 }).

With -f, mammactl goes on to show decisions as they are made, until it is
interrupted. While mamma is not there, as when it is started anew, mammactl waits
for it. Without a filter, it also tells of networks that come, go and change.

With --json each line is one event, with and without -f: an object with type, time and,
for the types decision and outcome, decision.

Decisions on the requests of others are shown to root, to the user that mamma
runs as, and to members of the group that the setting control_group names.`

// browsing says which decisions to show.
type browsing struct {
	follow           bool
	n                uint
	program, network string
	since            string
}

func (a *app) decisionsCommand() *cobra.Command {
	var b browsing
	var cmd *cobra.Command
	cmd = a.command("decisions [-f] [-n N] [flags]", "Show the latest decisions", decisionsHelp,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			wanted := control.Filter{Program: b.program, Network: b.network}
			if b.since != "" {
				var err error
				if wanted.Since, err = a.timeOf(b.since); err != nil {
					return usageError{err}
				}
				if !cmd.Flags().Changed("number") {
					b.n = control.MaxDecisions
				}
			}
			return a.browse(ctx, c, b, wanted)
		})
	f := cmd.Flags()
	f.BoolVarP(&b.follow, "follow", "f", false, "go on as decisions are made")
	f.UintVarP(&b.n, "number", "n", 20, "how many to show first")
	f.StringVar(&b.program, "program", "", "those that `PROGRAM` asked for: a name, a path, or the id of a process")
	f.StringVar(&b.network, "network", "", "those that chose `NETWORK`: an interface, a name or a prefix")
	f.StringVar(&b.since, "since", "", "those made since this `TIME`: 10m, 14:30, \"2026-03-01 14:30\"")
	_ = cmd.RegisterFlagCompletionFunc("program", a.completeProgram) // fails only for unknown flags
	_ = cmd.RegisterFlagCompletionFunc("network", a.completeNetwork)
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.FixedCompletions([]cobra.Completion{"1m", "10m", "1h", "1d"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Example = `  mammactl decisions -f --program curl
  mammactl decisions --network wwan0 --since 1h
  mammactl decisions --json | jq -r .decision.reason`
	return cmd
}

// browse shows the selected decisions.
func (a *app) browse(ctx context.Context, c *control.Client, b browsing, wanted control.Filter) error {
	a.endless = b.follow
	q := wanted.Query()
	q.Set("limit", fmt.Sprint(b.n))
	var d control.Decisions
	raw, err := c.Get(ctx, "/v1/decisions?"+q.Encode(), &d)
	if err != nil {
		return err
	}
	if !d.Complete {
		_, _ = fmt.Fprintln(a.err, "mammactl: only the decisions on your own requests are shown")
	}
	var lines struct{ Decisions []json.RawMessage } // unchanged, so that fields unknown to this program stay
	if err := json.Unmarshal(raw, &lines); err != nil {
		return fmt.Errorf("read mamma's answer: %w", err)
	}
	var list []control.Decision
	for i := range d.Decisions {
		if !wanted.Matches(&d.Decisions[i]) { // a daemon that is older than filters ignores them
			continue
		}
		list = append(list, d.Decisions[i])
		if a.json && !b.follow {
			if err := a.decisionEvent(lines.Decisions[i], &d.Decisions[i]); err != nil {
				return err
			}
		}
	}
	switch {
	case b.follow:
		return a.follow(ctx, c, list, d.Last, wanted)
	case a.json:
		return nil
	}
	return a.showDecisions(list)
}

// decisionEvent prints a decision as the event that announced it.
func (a *app) decisionEvent(raw []byte, d *control.Decision) error {
	line, err := json.Marshal(struct {
		Type     string          `json:"type"`
		Time     any             `json:"time"`
		Decision json.RawMessage `json:"decision"`
	}{control.EventDecision, d.Time, raw})
	if err != nil {
		return err
	}
	return a.rawEvent(line)
}

// programWidth is the usual width of a program with its process: "muacsocksd" with the
// longest id that Linux gives, of 7 digits. destinationWidth is that of a destination.
const programWidth, destinationWidth = len("muacsocksd[4194303]"), 24

// decisionColumns returns the columns of a decision. usual tells that lines are printed
// one by one, so that widths must be fixed.
func decisionColumns(usual bool) []table.Column {
	columns := []table.Column{
		{Rank: 2, Usual: 12}, {Rank: 3, Least: 15, Usual: programWidth}, {Least: 12, Usual: destinationWidth}, {Rank: 5, Least: 14, Usual: 21},
		{Usual: 9}, {Rank: 4, Usual: 5}, {Rank: 6, Usual: 7, Right: true}, {Rank: 1, Least: 20, Usual: 200},
	}
	for i := range columns {
		if !usual {
			columns[i].Usual = 0
		}
	}
	return columns
}

func (a *app) showDecisions(list []control.Decision) error {
	if len(list) == 0 {
		return a.say("no decisions to show\n")
	}
	t := a.table(decisionColumns(false)...)
	for i := range list {
		t.Add(a.line(&list[i]).cells()...)
	}
	return t.Write(a.out)
}

// event formats an event as a line of at most width cells; 0 means any number.
func (a *app) event(e *control.Event, width int) string {
	if e.Type == control.EventDecision && e.Decision != nil {
		return a.line(e.Decision).in(width)
	}
	text := a.otherEvent(e)
	if width > 0 {
		text = table.Cut(text, width)
	}
	return text
}

// otherEvent formats an event that is not a new decision.
func (a *app) otherEvent(e *control.Event) string {
	clock := a.clock(e)
	switch {
	case e.Type == control.EventOutcome && e.Decision != nil:
		// A connection that was made as planned needs no second line.
		if outcome := outcomeText(e.Decision); outcome != "" {
			l := a.line(e.Decision)
			return fmt.Sprintf("%s  %s  %s  %s", clock, table.Pad(l.app, programWidth), table.Pad(l.to, destinationWidth), outcome)
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
			return text + " has changed" + differences(e.Prefix)
		}
		return text + " was " + clean(e.Prefix.Change)
	case e.Reload != nil && e.Reload.Error != nil:
		return fmt.Sprintf("%s  reload failed: %s", clock, clean(firstLine(*e.Reload.Error)))
	case e.Reload != nil:
		return fmt.Sprintf("%s  configuration reloaded; policy %s", clock, orUnknown(e.Reload.Policy))
	}
	return ""
}

// differences tells what has changed about a network, with what it is now.
func differences(c *control.PrefixChange) string {
	var list []string
	for _, what := range c.Differs {
		p, now := &c.Prefix, what
		switch what {
		case control.DiffersCost:
			now = p.Cost
			if p.Budget != nil {
				now += ", " + used(p.Budget)
			}
		case control.DiffersDefault:
			now = "the default"
			if !p.Default {
				now = "not the default"
			}
		case control.DiffersName:
			now = "name " + orUnknown(p.Name)
		case control.DiffersAddresses:
			now = "addresses " + strings.Join(p.Addresses, ", ")
		case control.DiffersResolvers:
			now = "name servers"
		case control.DiffersFacts:
			now = factsText(p.Facts)
		}
		list = append(list, clean(now))
	}
	if len(list) == 0 {
		return ""
	}
	return ": " + strings.Join(list, "; ")
}

func factsText(facts []control.Fact) string {
	var list []string
	for _, f := range facts {
		list = append(list, fmt.Sprintf("%s %s (%s)", f.Name, f.Value, f.Source))
	}
	if len(list) == 0 {
		return "no service tells anything of it any more"
	}
	return strings.Join(list, ", ")
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func (a *app) clock(e *control.Event) string { return e.Time.In(a.location).Format("15:04:05.000") }

// line is a decision in the form of one line.
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

// interfaceText returns the interface of a prefix, and the name of the network if it
// has one.
func interfaceText(p *control.PrefixRef) string {
	if p.Name == nil {
		return clean(p.Interface)
	}
	return clean(p.Interface) + " (" + clean(*p.Name) + ")"
}

// selectionText says which networks the application permits and prefers.
func selectionText(d *control.Decision) string {
	return "the application asks to " + clean(*d.Selection)
}

// cells returns the cells for decisionColumns.
func (l line) cells() []table.Cell {
	return table.Plain(l.time, l.app, l.to, l.intents, "-> "+l.by, l.how, l.took, l.reason)
}

// in formats the line in columns of usual widths, in at most width cells; 0 means any
// number.
func (l line) in(width int) string {
	t := table.Table{Columns: decisionColumns(true), Width: width}
	t.Add(l.cells()...)
	return strings.Join(t.Lines(), "\n")
}

// String is the whole line.
func (l line) String() string { return l.in(0) }

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

// originText says where the intents came from, and for whom the caller asked. Both are
// the caller's claim; "" if it made none.
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

// intentsText writes intents in the form that package intent reads.
func intentsText(in *control.Intents) string {
	if *in == (control.Intents{}) {
		return unknown
	}
	set, err := in.Set()
	if err != nil { // the word is of a later version
		return "?"
	}
	return set.String()
}

// outcomeText says how a connection was made, if not as planned; "" if as planned, or
// if nothing is known.
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

// leasedText says how many further connections followed the same decision.
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

// over names the network of a candidate: of the choice, or of the n-th alternate.
func over(d *control.Decision, candidate int) string {
	switch {
	case candidate == 0 && d.Chosen != nil:
		return " over " + clean(d.Chosen.Interface)
	case candidate > 0 && candidate <= len(d.Alternates):
		return " over " + clean(d.Alternates[candidate-1].Interface)
	}
	return ""
}

// failedOver says from which networks to which one a connection has failed over. Two
// prefixes on the same interface are told apart by their prefixes.
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
