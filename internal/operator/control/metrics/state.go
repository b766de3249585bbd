package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// state exports the content of a View. Unknown values have no sample.
type state struct {
	view    func() *mam.View
	clients func() int
	plain   func() mam.PlainDials
	started time.Time
}

// Describe sends nothing, because the host determines which samples exist.
func (s *state) Describe(chan<- *prometheus.Desc) {}

// figure is a gauge or a counter with its labels.
type figure struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) figure {
	return figure{prometheus.NewDesc("mamma_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) figure {
	return figure{prometheus.NewDesc("mamma_"+name, help, labels, nil), prometheus.CounterValue}
}

var (
	startTime  = gauge("start_time_seconds", "When the daemon started, since the epoch.")
	clients    = gauge("clients", "Connected clients.")
	plainDials = counter("plain_dials_total", "Dials that went without mamma, as clients tell: no answer in time, not asked after a late answer, mamma not there, other reasons.", "reason")
	unread     = counter("unread_decisions_total", "Decisions that their client had left before it read them.")
	inService  = gauge("policy_in_service", "1 if the policy decides, 0 if the default is used in its place.", "policy")
	panics     = counter("policy_panics_total", "Calls of the policy that panicked.", "policy")
	managed    = gauge("prefixes", "Managed prefixes by health.", "health")

	health     = gauge("prefix_health", "0 up, 1 suspect, 2 down.", "prefix", "interface")
	cost       = gauge("prefix_cost", "0 free, 1 metered, 2 expensive, as beyond the budget.", "prefix", "interface")
	limit      = gauge("prefix_budget_bytes", "Bytes that the interface may transfer in a month.", "prefix", "interface")
	used       = gauge("prefix_budget_used_bytes", "Bytes that the interface has transferred in the month.", "prefix", "interface")
	reset      = gauge("prefix_budget_reset_time_seconds", "When the month ends, since the epoch.", "prefix", "interface")
	isDefault  = gauge("prefix_default", "1 if the prefix is a default one.", "prefix", "interface")
	sampleTime = gauge("prefix_sample_time_seconds", "When there was a connection to measure last, since the epoch.", "prefix", "interface")
)

// series names the figures of the table in package policy that are exported. The table
// decides the rest: the value, whether it is known, its unit, and whether the figure is
// one of the prefix or of its interface. The other figures of the table stay out, so
// that a scrape is small: they are further statistics of the same samples, and what the
// Wi-Fi driver and the access point say besides the signal. The control socket has all.
var series = map[policy.Metric]struct {
	name, help string
	kind       prometheus.ValueType
}{
	policy.MetricConns:       {"connections", "TCP connections with a round-trip time.", prometheus.GaugeValue},
	policy.MetricSRTTMin:     {"srtt_min_seconds", "Minimum smoothed round-trip time of the last 10 minutes.", prometheus.GaugeValue},
	policy.MetricSRTTMedian:  {"srtt_median_seconds", "Median of the connections' smoothed round-trip times.", prometheus.GaugeValue},
	policy.MetricLossUp:      {"loss_up_ratio", "Median of the connections' lost to sent segments.", prometheus.GaugeValue},
	policy.MetricDownRate:    {"receive_bytes_per_second", "Current receive rate.", prometheus.GaugeValue},
	policy.MetricUpRate:      {"transmit_bytes_per_second", "Current transmit rate.", prometheus.GaugeValue},
	policy.MetricDownRateMax: {"receive_max_bytes_per_second", "Maximum receive rate of the last 10 minutes.", prometheus.GaugeValue},
	policy.MetricUpRateMax:   {"transmit_max_bytes_per_second", "Maximum transmit rate of the last 10 minutes.", prometheus.GaugeValue},
	policy.MetricDownBytes:   {"receive_bytes_total", "Bytes received.", prometheus.CounterValue},
	policy.MetricUpBytes:     {"transmit_bytes_total", "Bytes sent.", prometheus.CounterValue},
	policy.MetricRxErrors:    {"receive_errors_total", "Receive errors.", prometheus.CounterValue},
	policy.MetricTxErrors:    {"transmit_errors_total", "Transmit errors.", prometheus.CounterValue},
	policy.MetricSignal:      {"wifi_signal_dbm", "Signal strength.", prometheus.GaugeValue},
}

// exported is a metric with its name for Prometheus.
type exported struct {
	policy.Metric
	figure
}

var ofPrefix, ofLink = exportedFigures()

// exportedFigures goes through the table, and returns what is exported of each prefix
// and of each interface.
func exportedFigures() (ofPrefix, ofLink []exported) {
	for _, m := range policy.Metrics() {
		s, ok := series[m]
		switch {
		case !ok:
		case m.OfLink():
			ofLink = append(ofLink, exported{m, figure{prometheus.NewDesc("mamma_interface_"+s.name, s.help, []string{"interface"}, nil), s.kind}})
		default:
			ofPrefix = append(ofPrefix, exported{m, figure{prometheus.NewDesc("mamma_prefix_"+s.name, s.help, []string{"prefix", "interface"}, nil), s.kind}})
		}
	}
	return ofPrefix, ofLink
}

// sink sends samples. It leaves out values that are not numbers.
type sink chan<- prometheus.Metric

func (s sink) put(f figure, value float64, labels ...string) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	if m, err := prometheus.NewConstMetric(f.Desc, f.kind, value, labels...); err == nil { // err: a label that is not UTF-8
		s <- m
	}
}

func (s *state) Collect(c chan<- prometheus.Metric) {
	out := sink(c)
	out.put(startTime, seconds(s.started))
	if s.clients != nil {
		out.put(clients, float64(s.clients()))
	}
	if s.plain != nil {
		p := s.plain()
		out.put(plainDials, float64(p.Late), "late")
		out.put(plainDials, float64(p.LeftAlone), "left_alone")
		out.put(plainDials, float64(p.Absent), "absent")
		out.put(plainDials, float64(p.Failed), "failed")
		out.put(unread, float64(p.Unread))
	}
	v := s.view()
	if r := v.Runner; r != nil {
		out.put(inService, truth(r.Err() == nil), r.Name)
		out.put(panics, float64(r.Panics()), r.Name)
	}
	var states [policy.Down + 1]int
	seen := map[string]bool{}
	for i, p := range v.Prefixes {
		if p.Health.State <= policy.Down {
			states[p.Health.State]++
		}
		if i < maxSeries {
			out.prefix(p)
		}
		if !seen[p.Interface] && len(seen) < maxSeries {
			seen[p.Interface] = true
			out.link(p)
		}
	}
	for state, n := range states {
		out.put(managed, float64(n), policy.HealthState(state).String())
	}
}

func (s sink) prefix(p *policy.Prefix) {
	labels := []string{p.CIDR.String(), p.Interface}
	s.put(health, float64(p.Health.State), labels...)
	s.put(cost, float64(p.Cost), labels...)
	if b := &p.Budget; b.Limit > 0 {
		s.put(limit, float64(b.Limit), labels...)
		s.put(used, float64(b.Used), labels...)
		s.put(reset, seconds(b.Reset), labels...)
	}
	s.put(isDefault, truth(p.Default), labels...)
	s.put(sampleTime, seconds(p.Stats.SampleTime), labels...)
	s.measured(p, ofPrefix, labels...)
}

func (s sink) link(p *policy.Prefix) { s.measured(p, ofLink, p.Interface) }

// measured sends what is known about p, in Prometheus's units: seconds instead of
// milliseconds.
func (s sink) measured(p *policy.Prefix, list []exported, labels ...string) {
	for _, e := range list {
		v, ok := e.Measured(p)
		if !ok {
			continue
		}
		if e.Symbol() == "ms" {
			v /= 1000
		}
		s.put(e.figure, v, labels...)
	}
}

// seconds returns the seconds since the epoch, or NaN if t is unknown.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return math.NaN()
	}
	return float64(t.UnixNano()) / 1e9
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
