package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/display/table"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// question holds the flags of explain.
type question struct {
	category, burstiness, timeliness, resilience string
	filesize, duration, bitrate                  string
	udp, ipv4, ipv6                              bool
	bound                                        string
	selection                                    selection
}

func (a *app) explainCommand() *cobra.Command {
	var q question
	cmd := a.command("explain HOST[:PORT]|URL", "Show what would be decided, and why", `
Asks what the policy would decide about a connection to HOST, or to the host of a
URL, with the given intents. There are no side effects: nothing is connected,
resolved or counted. Each candidate is shown with the figures that the policy
compared.

A program can say which networks its connections may take. --require, --prefer,
--avoid and --prohibit ask as such a program does. Networks are meant by interface
(interface=wlan0), by the name that the configuration gives them (network=home) or by
cost (cost=metered). The four flags can be repeated.

A policy that counts its decisions answers as if it had just been started. The
name is not resolved, so the answer does not consider which addresses a network
reaches. To consider that, give an address in place of a name.`,
		oneArg("a host, such as www.example.net:443", "; a port follows its host and a colon"), func(ctx context.Context, c *control.Client, args []string) error {
			body, err := q.body(args[0])
			if err != nil {
				return usageError{err}
			}
			var e control.Explanation
			raw, err := c.Post(ctx, "/v1/explain", body, &e)
			if err != nil {
				return err
			}
			return a.show(raw, func() error { return a.showExplanation(a.out, &e, a.columns()) })
		})
	cmd.Use = "explain [flags] HOST[:PORT]|URL"
	cmd.Example = `  mammactl explain https://www.example.net/
  mammactl explain www.example.net:443 --category bulktransfer \
    --filesize 300M`
	f := cmd.Flags()
	for _, w := range []struct {
		to   *string
		o    intent.Option
		what string
	}{
		{&q.category, intent.OptCategory, "kind of communication"}, {&q.burstiness, intent.OptBurstiness, "how packets are spread over time"},
		{&q.timeliness, intent.OptTimeliness, "what delay matters"}, {&q.resilience, intent.OptResilience, "what a lost connection means"},
	} {
		words := w.o.Words()
		f.StringVar(w.to, w.o.String(), "", w.what+": "+strings.Join(words, ", "))
		_ = cmd.RegisterFlagCompletionFunc(w.o.String(), cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
	}
	f.StringVar(&q.filesize, "filesize", "", "`bytes` to transfer, such as 300M or 64KiB")
	f.StringVar(&q.duration, "duration", "", "`seconds` between first and last packet, or 5m; for a video policy milliseconds that are buffered")
	f.StringVar(&q.bitrate, "bitrate", "", "a `number` such as 10M, which mamma's policies read in bits per second")
	f.BoolVar(&q.udp, "udp", false, "datagrams in place of a stream")
	f.BoolVarP(&q.ipv4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&q.ipv6, "ipv6", "6", false, "IPv6 only")
	f.StringVar(&q.bound, "bound", "", "local `address` that the application binds to itself")
	_ = cmd.RegisterFlagCompletionFunc("bound", a.completeAddress)
	cmd.ValidArgsFunction = a.completeTarget
	a.selectionFlags(cmd, &q.selection)
	return cmd
}

// body checks the flags and makes the body of the request.
func (q *question) body(target string) (control.Question, error) {
	var b control.Question
	var err error
	if b.Host, b.Service, err = splitURL(target); err != nil {
		return b, err
	}
	if b.Service != "" {
		if !namesPort(b.Service) {
			return b, fmt.Errorf("%q names no port: %q is neither a number up to 65535 nor a service", target, b.Service)
		}
	}
	b.Bound = q.bound
	if q.bound != "" {
		if _, err := netip.ParseAddr(q.bound); err != nil {
			return b, fmt.Errorf("--bound must be an address, not %q", q.bound)
		}
	}
	if q.udp {
		b.Transport = "datagram"
	}
	switch {
	case q.ipv4 && q.ipv6:
		return b, errors.New("--ipv4 and --ipv6 exclude each other; without either, both will do")
	case q.ipv4:
		b.Family = "IPv4"
	case q.ipv6:
		b.Family = "IPv6"
	}
	b.Selection = q.selection
	in := &b.Intents
	for _, w := range []struct {
		o     intent.Option
		value string
		to    **string
	}{
		{intent.OptCategory, q.category, &in.Category}, {intent.OptBurstiness, q.burstiness, &in.Burstiness},
		{intent.OptTimeliness, q.timeliness, &in.Timeliness}, {intent.OptResilience, q.resilience, &in.Resilience},
	} {
		if w.value == "" {
			continue
		}
		if _, err := w.o.ParseValue(w.value); err != nil {
			return b, fmt.Errorf("--%v must be one of %s, not %q", w.o, strings.Join(w.o.Words(), ", "), w.value)
		}
		*w.to = &w.value
	}
	for _, n := range []struct {
		o     intent.Option
		value string
		to    **int64
	}{
		{intent.OptFileSize, q.filesize, &in.FileSize}, {intent.OptDuration, q.duration, &in.Duration}, {intent.OptBitrate, q.bitrate, &in.Bitrate},
	} {
		if n.value == "" {
			continue
		}
		v, err := n.o.ParseValue(n.value)
		if err == nil && v < 0 && n.o != intent.OptDuration {
			err = fmt.Errorf("%q is negative", n.value)
		}
		if err != nil {
			return b, fmt.Errorf("--%v: %w", n.o, err)
		}
		*n.to = &v
	}
	return b, nil
}

// splitURL splits a URL or HOST[:PORT]. If a URL has no port, its scheme is the
// service. Anything else is an error, for example a host with a path but without a
// scheme, which only looks like a URL.
func splitURL(target string) (host, service string, err error) {
	if !strings.Contains(target, "://") {
		return splitTarget(target)
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%q is not a URL: %w", target, errors.Unwrap(err))
	case u.Hostname() == "":
		return "", "", fmt.Errorf("%q names no host", target)
	}
	if service = u.Port(); service == "" {
		service = strings.ToLower(u.Scheme) // the service is named like the scheme
		if service == "ws" || service == "wss" {
			service = map[string]string{"ws": "http", "wss": "https"}[service]
		}
		if !namesPort(service) {
			return "", "", fmt.Errorf("%q names no port, and there is no service %q", target, u.Scheme)
		}
	}
	return u.Hostname(), service, nil
}

// namesPort tells whether a service is a number up to 65535 or a known name.
func namesPort(service string) bool {
	if strings.Trim(service, "0123456789") == "" { // package net accepts some larger numbers
		_, err := strconv.ParseUint(service, 10, 16)
		return err == nil
	}
	_, err := net.LookupPort("tcp", service)
	return err == nil
}

// splitTarget splits HOST[:PORT]. An IPv6 address needs no brackets if there is no
// port.
func splitTarget(target string) (host, port string, err error) {
	if _, err := netip.ParseAddr(target); err == nil {
		return target, "", nil
	}
	if strings.ContainsAny(target, "/?#@") {
		return "", "", fmt.Errorf("%q is neither HOST[:PORT] nor a URL, which begins with a scheme: https://%s", target, strings.TrimLeft(target, "/"))
	}
	host, port = target, ""
	if address, ok := strings.CutPrefix(strings.TrimSuffix(target, "]"), "["); ok && strings.HasSuffix(target, "]") {
		host = address
	} else if strings.Contains(target, ":") {
		if host, port, err = net.SplitHostPort(target); err != nil {
			return "", "", fmt.Errorf("%q is not HOST[:PORT]: %s", target, splitReason(err))
		}
		if port == "" {
			return "", "", fmt.Errorf("%q has no port after the colon", target)
		}
	}
	_, notAddress := netip.ParseAddr(host)
	switch bracketed := strings.HasPrefix(target, "["); {
	case host == "":
		return "", "", fmt.Errorf("%q names no host", target)
	case notAddress != nil && (bracketed || strings.ContainsFunc(host, notInName)):
		return "", "", fmt.Errorf("%q is not a host: neither a name nor an address", host)
	}
	return host, port, nil
}

// splitReason returns the error of net.SplitHostPort without the text that it quotes.
func splitReason(err error) string {
	if e := (*net.AddrError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err.Error()
}

// notInName tells whether a character occurs in no host name. Characters beyond ASCII
// (RFC 5890) are left to the resolver.
func notInName(r rune) bool {
	return r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
}

// showExplanation writes the explanation in lines of at most width cells; 0 means any
// number.
func (a *app) showExplanation(w io.Writer, e *control.Explanation, width int) error {
	d := &e.Decision
	var b strings.Builder
	b.WriteString(verdict(d))
	if len(e.Candidates) > 0 {
		b.WriteByte('\n')
		t := scores(e)
		t.Width = width
		if err := t.Write(&b); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "\n  %s\n", clean(d.Reason))
	if parts := remarks(e); len(parts) > 0 {
		fmt.Fprintf(&b, "  %s\n", strings.Join(parts, "   "))
	}
	if d.Selection != nil {
		fmt.Fprintf(&b, "  The application asks to %s.\n", clean(*d.Selection))
	}
	if o := originText(d); o != "" {
		fmt.Fprintf(&b, "  As %s says: %s.\n", caller(&d.App), o)
	}
	_, err := io.WriteString(w, fold(b.String(), width))
	return err
}

// verdict says which network the policy takes, in one line or two.
func verdict(d *control.Decision) string {
	var b strings.Builder
	name := "policy " + orUnknown(d.Policy)
	use, is, was := "would use", "is", "would be"
	if d.Seq != 0 { // a decision that was made, and no question
		use, is, was = "chose", "was", "was"
	}
	switch {
	case d.Refused && d.Selected:
		fmt.Fprintf(&b, "there %s no connection: the application does not permit it\n", was)
	case d.Refused:
		fmt.Fprintf(&b, "%s refuses the connection\n", name)
	case d.Fallback != nil:
		fmt.Fprintf(&b, "%s %s not followed: %s\n", name, is, clean(*d.Fallback))
		if d.Chosen != nil {
			fmt.Fprintf(&b, "the default %s used: %s on %s\n", was, clean(d.Chosen.Prefix), interfaceText(d.Chosen))
		} else {
			b.WriteString("there is no default: the kernel chooses\n")
		}
	case d.Bound != nil:
		fmt.Fprintf(&b, "%s leaves the socket as the application bound it, to %s\n", name, clean(*d.Bound))
	case d.Chosen != nil:
		fmt.Fprintf(&b, "%s %s %s on %s\n", name, use, clean(d.Chosen.Prefix), interfaceText(d.Chosen))
	default:
		fmt.Fprintf(&b, "%s has no preference: the kernel chooses\n", name)
	}
	return b.String()
}

// remarks returns sentences about how the connection is made: what is estimated, who is
// asked for addresses, and what is tried next.
func remarks(e *control.Explanation) []string {
	d := &e.Decision
	var list []string
	if est := estimates(d); est != "" {
		list = append(list, "Estimates: "+est+".")
	}
	if e.Resolver != nil {
		r := "Resolver " + servers(e.Resolver.Servers)
		switch {
		case e.Resolver.Domain != nil && *e.Resolver.Domain == hostfacts.Root:
			r += " for all names, by whatever network"
		case e.Resolver.Domain != nil:
			r += " for names below " + clean(*e.Resolver.Domain) + ", by whatever network"
		case e.Resolver.Prefix != nil:
			r += " via " + clean(e.Resolver.Prefix.Interface)
		}
		list = append(list, r+".")
	}
	if e.Device != nil {
		list = append(list, "Bound to device "+clean(*e.Device)+".")
	}
	switch {
	case d.Multipath && d.Outcome != nil && d.Outcome.PlainTCP:
		list = append(list, "With Multipath TCP, which became plain TCP.")
	case d.Multipath:
		list = append(list, "With Multipath TCP.")
	}
	if len(d.Alternates) > 0 {
		var alts []string
		for _, p := range d.Alternates {
			alts = append(alts, clean(p.Prefix))
		}
		list = append(list, "Fallback: "+strings.Join(alts, ", ")+".")
	}
	if d.Only && !d.Refused {
		list = append(list, "Nothing else may be used.")
	}
	return list
}

// scores returns a table of the figures that the policy compared, with a line per
// candidate.
func scores(e *control.Explanation) *table.Table {
	var terms []string
	predicted := false
	for _, s := range e.Decision.Scores {
		predicted = predicted || s.PredictedMS != nil
		for _, t := range s.Terms {
			if !slices.Contains(terms, t.Name) {
				terms = append(terms, t.Name)
			}
		}
	}
	columns := []table.Column{{Head: "PREFIX"}, {Head: "INTERFACE", Least: 5}}
	for _, name := range terms {
		columns = append(columns, table.Column{Head: strings.ToUpper(clean(name)), Right: true, Rank: 3})
	}
	if predicted {
		columns = append(columns, table.Column{Head: "PREDICTED", Right: true, Rank: 2})
	}
	t := &table.Table{Columns: append(columns, table.Column{Rank: 1, Least: 11}), Indent: "  "}
	for i := range e.Candidates {
		p := &e.Candidates[i]
		row := table.Plain(clean(p.Prefix), clean(p.Interface))
		at := slices.IndexFunc(e.Decision.Scores, func(s control.Score) bool { return s.Prefix == p.Prefix && s.Interface == p.Interface })
		var s control.Score
		if at >= 0 {
			s = e.Decision.Scores[at]
		}
		for _, name := range terms {
			text := unknown
			if i := slices.IndexFunc(s.Terms, func(t control.Term) bool { return t.Name == name }); i >= 0 {
				text = termText(&s.Terms[i])
			}
			row = append(row, table.Cell{Text: text})
		}
		if predicted {
			text := unknown
			if s.PredictedMS != nil {
				text = span(*s.PredictedMS)
			}
			row = append(row, table.Cell{Text: text})
		}
		note := ""
		if s.Note != nil {
			note = clean(*s.Note)
		}
		if c := e.Decision.Chosen; c != nil && c.Prefix == p.Prefix && c.Interface == p.Interface {
			note = strings.TrimSpace("<- " + note)
		}
		t.Add(append(row, table.Cell{Text: note})...)
	}
	return t
}

func termText(t *control.Term) string {
	if t.Value == nil {
		return unknown
	}
	switch t.Unit {
	case control.UnitMilliseconds:
		return span(*t.Value)
	case control.UnitByteRate:
		return mbps(t.Value) + " Mbit/s"
	case control.UnitBytes:
		return byteSize(*t.Value)
	case control.UnitCount:
		return fmt.Sprintf("%.0f", *t.Value)
	case control.UnitProbability:
		return fmt.Sprintf("%.0f %%", *t.Value*100)
	}
	return fmt.Sprintf("%.4g", *t.Value)
}

// estimates says how old the measurements of the chosen candidate are.
func estimates(d *control.Decision) string {
	var parts []string
	for _, s := range d.Scores {
		if d.Chosen == nil || s.Prefix != d.Chosen.Prefix || s.Interface != d.Chosen.Interface {
			continue
		}
		for _, t := range s.Terms {
			if t.AgeMS != nil {
				parts = append(parts, clean(t.Name)+" "+ago(*t.AgeMS)+" old")
			}
		}
	}
	return strings.Join(parts, ", ")
}
