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

// WriteDump writes what SIGUSR1 shows: prefixes, interfaces and the policy, then
// a summary of the measurements of all but loopback interfaces (doc/original/daemon.md
// section 15). Measurements go by the original's names, each with its real type
// and unit; what is not known has no line. now is the time that ages refer to.
// The error is w's.
func (v *View) WriteDump(w io.Writer, now time.Time) error {
	d := dump{out: bufio.NewWriter(w), now: now}
	d.state(v)
	d.line("", "-- end of state --")
	for _, p := range v.Prefixes {
		if !strings.HasPrefix(p.Interface, "lo") {
			d.prefixSummary(p)
		}
	}
	for _, p := range interfaces(v.Prefixes) {
		if !strings.HasPrefix(p.Interface, "lo") {
			d.interfaceSummary(p)
		}
	}
	return d.out.Flush()
}

// interfaces gives the first prefix of each interface, in order of appearance:
// all of one interface have its link measurements.
func interfaces(list []*policy.Prefix) []*policy.Prefix {
	var firsts []*policy.Prefix
	for _, p := range list {
		if !slices.ContainsFunc(firsts, func(q *policy.Prefix) bool { return q.Interface == p.Interface }) {
			firsts = append(firsts, p)
		}
	}
	return firsts
}

// dump writes lines. Errors stay in out until it is flushed.
type dump struct {
	out *bufio.Writer
	now time.Time
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
		d.line("  ", "panics: %d", v.Runner.Panics())
	}
	d.line("", "prefixes: %d", len(v.Prefixes))
	for _, p := range v.Prefixes {
		d.prefix(v, p)
	}
	links := interfaces(v.Prefixes)
	d.line("", "interfaces: %d", len(links))
	for _, p := range links {
		kind := ""
		if p.Wifi != nil {
			kind = ", wireless"
		}
		d.line("  ", "%s: index %d%s", p.Interface, p.Index, kind)
		d.values("    ", linkValues(p))
		d.values("    ", wifiValues(p.Wifi))
	}
}

func (d *dump) prefix(v *View, p *policy.Prefix) {
	d.line("  ", "%v on %s", p.CIDR, p.Interface)
	flags := []string{p.Health.State.String(), p.Cost.String()}
	if p.Default {
		flags = append(flags, "default")
	}
	d.line("    ", "flags: %s", strings.Join(flags, " "))
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
	if !p.Stats.Time.IsZero() {
		d.line("    ", "num_conns -> %d", p.Stats.Conns)
	}
	d.values("    ", pathValues(p))
}

// value is one measurement under the original's name.
type value struct{ name, summary, text string }

func (d *dump) values(indent string, list []value) {
	for _, v := range list {
		d.line(indent, "%s -> %s", v.name, v.text)
	}
}

func (d *dump) summary(list []value) {
	for _, v := range list {
		if v.summary != "" {
			d.line("    ", "%s: %s", v.summary, v.text)
		}
	}
}

func (d *dump) prefixSummary(p *policy.Prefix) {
	d.line("", "%s %v:", p.Interface, p.Family())
	d.summary(pathValues(p))
	if t := p.Stats.SampleTime; !t.IsZero() {
		d.line("    ", "age of these: %s", d.now.Sub(t).Round(time.Millisecond))
	}
}

func (d *dump) interfaceSummary(p *policy.Prefix) {
	d.line("", "%s:", p.Interface)
	d.summary(linkValues(p))
	d.summary(wifiValues(p.Wifi))
}

func pathValues(p *policy.Prefix) []value {
	s := &p.Stats
	if s.SampleTime.IsZero() {
		return nil
	}
	var list []value
	add := func(name, summary string, t time.Duration) {
		if t > 0 {
			list = append(list, value{name, summary, fmt.Sprintf("%.3f ms", float64(t)/float64(time.Millisecond))})
		}
	}
	add("srtt_mean_recent", "mean SRTT", s.SRTTMean)
	list = append(list, value{"srtt_var_across_current", "SRTT variance", fmt.Sprintf("%.3f ms^2", s.SRTTVariance)})
	add("srtt_median_recent", "median SRTT", s.SRTTMedian)
	add("srtt_minimum_recent", "", s.SRTTMin)
	add("srtt_minimum_current", "", s.SRTTCurrent)
	add("srtt_var_median_within", "median variation within a connection", s.RTTVarMedian)
	add("srtt_var_mean_within", "mean variation within a connection", s.RTTVarMean)
	return append(list, value{"packet_loss_up_median", "median upstream loss", fmt.Sprintf("%.4f", s.LossUp)})
}

func linkValues(p *policy.Prefix) []value {
	s := &p.Link
	if s.Time.IsZero() {
		return nil
	}
	rate := func(name, summary string, r policy.BytesPerSecond) value {
		return value{name, summary, fmt.Sprintf("%.0f B/s", float64(r))}
	}
	return []value{
		rate("download_rate_current", "download rate", s.DownRate),
		rate("download_rate_max_recent", "maximum download rate, last 10 min", s.DownRateMax),
		rate("upload_rate_current", "upload rate", s.UpRate),
		rate("upload_rate_max_recent", "maximum upload rate, last 10 min", s.UpRateMax),
		rate("download_sma_current", "", s.DownSMA),
		{"download_counter", "", fmt.Sprintf("%d B", s.DownBytes)},
		{"upload_counter", "", fmt.Sprintf("%d B", s.UpBytes)},
		{"rx_errors", "receive errors", fmt.Sprint(s.RxErrors)},
		{"tx_errors", "transmit errors", fmt.Sprint(s.TxErrors)},
	}
}

func wifiValues(s *policy.WifiStats) []value {
	if s == nil {
		return nil
	}
	var list []value
	if s.Signal != 0 {
		list = append(list, value{"signal_strength", "signal strength", fmt.Sprintf("%d dBm", s.Signal)})
	}
	if s.SignalAvg != 0 {
		list = append(list, value{"signal_strength_avg", "", fmt.Sprintf("%d dBm", s.SignalAvg)})
	}
	if s.TxRate > 0 {
		list = append(list, value{"tx_rate", "transmit bit rate", fmt.Sprintf("%.1f Mbit/s", s.TxRate.Mbps())})
	}
	if s.RxRate > 0 {
		list = append(list, value{"rx_rate", "receive bit rate", fmt.Sprintf("%.1f Mbit/s", s.RxRate.Mbps())})
	}
	if s.BSSLoad {
		list = append(list,
			value{"number_of_stations", "stations", fmt.Sprint(s.Stations)},
			value{"channel_utilization", "channel utilisation", fmt.Sprintf("%.1f %%", s.ChannelUtilization)},
			value{"available_admission_capacity", "available admission capacity", fmt.Sprintf("%d (32 us/s)", s.AvailableAdmissionCapacity)})
	}
	return list
}
