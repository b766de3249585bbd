package mam

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// WriteDump writes the state that the daemon shows on SIGUSR1: prefixes, interfaces and
// the policy, then a summary of the measurements of all interfaces but loopback
// (doc/original/daemon.md section 15). Measurements have the names that they had in the
// Socket Intents prototype. Their types and units are the real ones. A figure that was
// not measured has no line. Ages are relative to now. The prefixes in others are not
// managed; they come last and are marked. An error is one of writing to w.
func (v *View) WriteDump(w io.Writer, now time.Time, others ...*policy.Prefix) error {
	d := dump{out: bufio.NewWriter(w), now: now, others: others}
	d.state(v)
	d.line("", "-- end of state --")
	all := slices.Concat(v.Prefixes, others)
	loops := map[string]bool{}
	for _, p := range all {
		loops[p.Interface] = loops[p.Interface] || p.CIDR.Addr().IsLoopback()
	}
	for _, p := range all {
		if !loops[p.Interface] {
			d.prefixSummary(p)
		}
	}
	for _, p := range interfaces(all) {
		if !loops[p.Interface] {
			d.interfaceSummary(p)
		}
	}
	return d.out.Flush()
}

// interfaces returns the first prefix of each interface, in order of appearance. One
// prefix per interface is enough, because all of them carry the same link measurements.
func interfaces(list []*policy.Prefix) []*policy.Prefix {
	var firsts []*policy.Prefix
	for _, p := range list {
		if !slices.ContainsFunc(firsts, func(q *policy.Prefix) bool { return q.Interface == p.Interface }) {
			firsts = append(firsts, p)
		}
	}
	return firsts
}

// dump writes lines to out. An error stays in out until the flush, so the lines in
// between need no checks.
type dump struct {
	out    *bufio.Writer
	now    time.Time
	others []*policy.Prefix // prefixes that are not managed
}

func (d *dump) line(indent, format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, indent+format+"\n", args...)
}

func (d *dump) state(v *View) {
	if v.Runner == nil {
		d.line("", "policy: none")
	} else {
		d.line("", "policy: %s", v.Runner.Name)
		if err := v.Runner.Err(); err != nil {
			d.line("  ", "out of service: %v", err)
		}
		if v.PolicyFile != "" {
			d.line("  ", "file: %s", v.PolicyFile)
		}
		d.line("  ", "panics: %d", v.Runner.Panics())
		for _, s := range v.PolicySettings {
			d.line("  ", "setting: %s -> %s", s.Name, settingText(s))
		}
	}
	d.line("", "prefixes: %d%s", len(v.Prefixes), more(len(d.others)))
	for _, p := range v.Prefixes {
		d.prefix(v, p)
	}
	for _, p := range d.others {
		d.prefix(v, p)
	}
	managed := len(interfaces(v.Prefixes))
	links := interfaces(slices.Concat(v.Prefixes, d.others))
	d.line("", "interfaces: %d%s", managed, more(len(links)-managed))
	for i, p := range links {
		kind := ""
		if i >= managed {
			kind = unmanaged
		}
		if p.Wifi != nil {
			kind += ", wireless"
		}
		d.line("  ", "%s: index %d%s", p.Interface, p.Index, kind)
		d.values(p, true)
	}
}

// unmanaged marks prefixes that the configuration leaves alone.
const unmanaged = ", not managed"

// more says how many prefixes follow that are not managed.
func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d not managed", n)
}

// settingText returns the value of a setting. A setting that is an expression is shown
// as it was written.
func settingText(s policy.Setting) string {
	switch {
	case !s.Constant:
		return s.Expr
	case s.List != nil:
		return strings.Join(s.List, ", ")
	}
	return s.Value
}

func (d *dump) prefix(v *View, p *policy.Prefix) {
	if slices.Contains(d.others, p) {
		d.line("  ", "%v on %s%s", p.CIDR, p.Interface, unmanaged)
	} else {
		d.line("  ", "%v on %s", p.CIDR, p.Interface)
		flags := []string{p.Health.State.String(), p.Cost.String()}
		if p.Default {
			flags = append(flags, "default")
		}
		if p.Name != "" {
			d.line("    ", "name: %s", p.Name)
		}
		d.line("    ", "flags: %s", strings.Join(flags, " "))
	}
	if p.Health.Reason != "" {
		d.line("    ", "reason: %s", p.Health.Reason)
	}
	for _, a := range p.Addrs {
		d.line("    ", "address: %v", a)
	}
	mask := net.CIDRMask(p.CIDR.Bits(), p.CIDR.Addr().BitLen())
	d.line("    ", "netmask: %v", net.IP(mask))
	if dev := v.Devices[p.ID]; dev != "" {
		d.line("    ", "sockets are bound to: %s", dev)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Options)) {
		d.line("    ", "setting: %s -> %s", name, p.Options[name].Text)
	}
	d.values(p, false)
}

// dumped is a metric of the summary, with the name that the original's dump gives it.
type dumped struct {
	policy.Metric
	summary string
}

var prefixLines = []dumped{
	{policy.MetricSRTTMean, "mean SRTT"},
	{policy.MetricSRTTVariance, "SRTT variance"},
	{policy.MetricSRTTMedian, "median SRTT"},
	{policy.MetricRTTVarMedian, "median variation within a connection"},
	{policy.MetricRTTVarMean, "mean variation within a connection"},
	{policy.MetricLossUp, "median upstream loss"},
}

var linkLines = []dumped{
	{policy.MetricDownRate, "download rate"},
	{policy.MetricDownRateMax, "maximum download rate, last 10 min"},
	{policy.MetricUpRate, "upload rate"},
	{policy.MetricUpRateMax, "maximum upload rate, last 10 min"},
	{policy.MetricRxErrors, "receive errors"},
	{policy.MetricTxErrors, "transmit errors"},
	{policy.MetricSignal, "signal strength"},
	{policy.MetricTxRate, "transmit bit rate"},
	{policy.MetricRxRate, "receive bit rate"},
	{policy.MetricStations, "stations"},
	{policy.MetricChannelUtilization, "channel utilisation"},
	{policy.MetricAdmissionCapacity, "available admission capacity"},
}

// values writes all measurements of a prefix or, with ofLink, of its interface.
func (d *dump) values(p *policy.Prefix, ofLink bool) {
	for _, m := range policy.Metrics() {
		if v, ok := m.Measured(p); ok && m.OfLink() == ofLink {
			d.line("    ", "%v -> %s", m, text(m, v))
		}
	}
}

func (d *dump) summary(p *policy.Prefix, list []dumped) {
	for _, m := range list {
		if v, ok := m.Measured(p); ok {
			d.line("    ", "%s: %s", m.summary, text(m.Metric, v))
		}
	}
}

// text returns a value of m with its unit.
func text(m policy.Metric, v float64) string {
	switch unit := m.Symbol(); unit {
	case "ms", "ms^2":
		return fmt.Sprintf("%.3f %s", v, unit)
	case "Mbit/s", "%":
		return fmt.Sprintf("%.1f %s", v, unit)
	case "32 us/s":
		return fmt.Sprintf("%.0f (%s)", v, unit)
	case "":
		if m == policy.MetricLossUp {
			return fmt.Sprintf("%.4f", v)
		}
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.0f %s", v, unit)
	}
}

func (d *dump) prefixSummary(p *policy.Prefix) {
	d.line("", "%s %v:", p.Interface, p.Family())
	d.summary(p, prefixLines)
	if t := p.Stats.SampleTime; !t.IsZero() {
		d.line("    ", "age of these: %s", d.now.Sub(t).Round(time.Millisecond))
	}
}

func (d *dump) interfaceSummary(p *policy.Prefix) {
	d.line("", "%s:", p.Interface)
	d.summary(p, linkLines)
}
