package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// since shows in brackets how long ago t was, and nothing if it is unknown.
func since(now time.Time, t *time.Time) string {
	if t == nil {
		return ""
	}
	return " (" + ago(max(0, float64(now.Sub(*t))/float64(time.Millisecond))) + " ago)"
}

// date shows a time that may be days away.
func (a *app) date(t time.Time) string { return t.In(a.location).Format("2006-01-02 15:04:05") }

func (a *app) statusCommand() *cobra.Command {
	return a.command("status", "Show whether mamma works, and how much it does", "",
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var s control.Status
			raw, err := c.Get(ctx, "/v1/status", &s)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showStatus(&s) })
		})
}

func (a *app) showStatus(s *control.Status) error {
	t := a.pairs()
	row := func(name, format string, args ...any) { add(t, name, format, args...) }
	row("mamma", "%s, process %d, up %s", clean(s.Version), s.PID, long(s.UptimeMS))
	a.policyRows(row, s.Now, &s.Policy)
	a.configRows(row, s.Now, &s.Config)
	row("prefixes", "%d: %d up, %d suspect, %d down; on %s", s.Prefixes.Total, s.Prefixes.Up, s.Prefixes.Suspect, s.Prefixes.Down, plural(s.Interfaces, "interface"))
	if s.AvoidMetered || s.Prefixes.Metered+s.Prefixes.Expensive > 0 {
		row("", "%s", costs(s))
	}
	routingRows(row, &s.Routing)
	row("clients", "%s", count(s.Clients))
	d := &s.Decisions
	row("decisions", "%s; %s/min", group(d.Total), group(uint64(d.PerMinute+0.5)))
	if d.Remembered > 0 && d.TookP50MS != nil && d.TookP99MS != nil {
		row("", "of the last %d: half within %s, 99 %% within %s; %d without the policy", d.Remembered, took(*d.TookP50MS), took(*d.TookP99MS), d.Fallbacks)
	}
	if d.Leased > 0 {
		row("", "%s", byLeases(d.Leased))
	}
	row("plain dials", "%s", plainDials(&s.PlainDials))
	row("you may", "%s", rights(s.Rights))
	return t.Write(a.out)
}

// routingRows tell what became of routes and rules, if mamma manages them.
func routingRows(row func(string, string, ...any), r *control.RoutingState) {
	if !r.Managed {
		return
	}
	text := "managed"
	if r.Error != nil {
		text = "NOT AS IT SHOULD BE: " + clean(*r.Error)
	}
	row("routing", "%s", text)
	for _, o := range r.Others {
		row("", "%s", clean(o.Rule))
	}
	if len(r.Others) > 0 {
		row("", `"mammactl doctor" says what to do`)
	}
}

// plainDials says how many dials were made without mamma, and why.
func plainDials(p *control.PlainDials) string {
	var why []string
	for _, r := range []struct {
		n    uint64
		text string
	}{
		{p.Late, "as mamma's answer was late"}, {p.LeftAlone, "not asked after that"},
		{p.Absent, "as mamma was not there"}, {p.Failed, "for other reasons"},
	} {
		if r.n > 0 {
			why = append(why, group(r.n)+" "+r.text)
		}
	}
	text := "none that programs tell of"
	if len(why) > 0 {
		text = group(p.Late+p.LeftAlone+p.Absent+p.Failed) + ": " + strings.Join(why, ", ")
	}
	if p.Unread > 0 {
		text += fmt.Sprintf("; %s not read", plural(int(p.Unread), "decision"))
	}
	return text
}

// costs says which prefixes cost money, and whether they are avoided.
func costs(s *control.Status) string {
	text := fmt.Sprintf("%d metered, %d expensive", s.Prefixes.Metered, s.Prefixes.Expensive)
	if n := s.Prefixes.OverBudget; n > 0 {
		text += fmt.Sprintf(" (%d beyond the budget)", n)
	}
	if s.AvoidMetered {
		return text + "; what costs more is avoided"
	}
	return text + "; left to the policy"
}

func byLeases(n uint64) string {
	if n == 1 {
		return "1 more connection by their leases"
	}
	return group(n) + " more connections by their leases"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (a *app) policyRows(row func(string, string, ...any), now time.Time, p *control.PolicyState) {
	if p.Name == nil {
		row("policy", "none")
		return
	}
	text := clean(*p.Name)
	if p.Since != nil {
		text += " since " + a.date(*p.Since)
	}
	if p.InService {
		text += ", in service"
	} else {
		text += ", OUT OF SERVICE"
	}
	if p.Panics > 0 {
		text += fmt.Sprintf(", %s", plural(int(p.Panics), "panic"))
	}
	row("policy", "%s", text)
	if !p.InService {
		row("", "%s", orUnknown(p.WhyNot))
	}
}

func (a *app) configRows(row func(string, string, ...any), now time.Time, c *control.ConfigState) {
	text := "no file: every network with a default route"
	if c.File != nil {
		text = clean(*c.File)
	}
	if c.Loaded != nil {
		text += ", read " + a.date(*c.Loaded)
	}
	row("config", "%s", text)
	if c.Error != nil {
		lines := strings.Split(strings.TrimRight(cleanLines(*c.Error), "\n"), "\n")
		row("", "the latest reload failed%s: %s", since(now, c.ErrorTime), lines[0])
		for _, l := range lines[1:] {
			row("", "%s", l)
		}
	}
}

func rights(r control.Rights) string {
	switch {
	case r.Change:
		return "see all decisions, and change settings"
	case r.ReadAll:
		return "see all decisions"
	}
	return "see the decisions on your own requests"
}

func (a *app) policyCommand() *cobra.Command {
	return a.command("policy", "Show the policy and its settings", "",
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var p control.Policy
			raw, err := c.Get(ctx, "/v1/policy", &p)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showPolicy(&p) })
		})
}

func (a *app) showPolicy(p *control.Policy) error {
	t := a.pairs()
	row := func(name, format string, args ...any) { add(t, name, format, args...) }
	a.policyRows(row, p.Now, &p.State)
	if p.State.Name != nil {
		file := "compiled in"
		if p.File != nil {
			file = clean(*p.File)
		}
		row("from", "%s", file)
	}
	a.configRows(row, p.Now, &p.Config)
	if err := t.Write(a.out); err != nil || len(p.Settings) == 0 {
		return err
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	settings := a.table(table.Column{Head: "SETTING", Least: 10}, table.Column{Head: "VALUE", Least: 12}, table.Column{Head: "WRITTEN AT", Rank: 1})
	for _, s := range p.Settings {
		value := s.Text
		if value == "" && s.Value != nil {
			value = *s.Value
		}
		settings.Add(table.Plain(clean(s.Name), clean(value), clean(fmt.Sprintf("%s:%d", s.File, s.Line)))...)
	}
	return settings.Write(a.out)
}

func (a *app) setCommand() *cobra.Command {
	return a.command("set TEXT...", "Hand a setting to the policy while it runs", `
Hands a text to the policy. The README of each policy says which texts it
understands. Several arguments are joined with blanks. The setting holds until the
next reload. Only root and the user that mamma runs as may do this.`,
		someArgs("the text that the policy is to be given"), func(ctx context.Context, c *control.Client, args []string) error {
			var p control.Policy
			raw, err := c.Post(ctx, "/v1/set", control.Setting{Text: strings.Join(args, " ")}, &p)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.say("policy %s accepts it\n", orUnknown(p.State.Name)) })
		})
}

func (a *app) reloadCommand() *cobra.Command {
	return a.command("reload", "Have mamma read its configuration again", `
Has mamma read its configuration again, as SIGHUP does, and waits until that is
done. If anything in it is wrong, nothing changes and the error says what and where.
Only root and the user that mamma runs as may do this.`,
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			var p control.Policy
			raw, err := c.Post(ctx, "/v1/reload", struct{}{}, &p)
			if err != nil {
				return err
			}
			return a.show(raw, func() error {
				return a.say("reloaded %s; policy %s\n", orUnknown(p.Config.File), orUnknown(p.State.Name))
			})
		})
}

// versions is the output of version --json.
type versions struct {
	Version string          `json:"version"`
	Go      string          `json:"go"`
	Daemon  *control.Status `json:"daemon"` // null: none answers
}

func (a *app) versionCommand() *cobra.Command {
	return a.command("version", "Show the versions of mammactl and of the running mamma", "",
		noArgs, func(ctx context.Context, c *control.Client, _ []string) error {
			v := versions{Version: a.version, Go: runtime.Version(), Daemon: new(control.Status)}
			if _, err := c.Get(ctx, "/v1/status", v.Daemon); err != nil {
				if !errors.As(err, new(*control.NotRunningError)) {
					return err
				}
				v.Daemon = nil
			}
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			return a.show(raw, func() error {
				daemon := "not running"
				if v.Daemon != nil {
					daemon = clean(v.Daemon.Version) + " (" + clean(v.Daemon.Build.Go) + ")"
				}
				return a.printf("mammactl  %s (%s)\nmamma     %s\n", v.Version, v.Go, daemon)
			})
		})
}
