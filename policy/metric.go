package policy

import (
	"fmt"
	"time"
)

// Metric is one measured figure of a prefix or of its interface. Its name and unit are
// those of the Socket Intents prototype (doc/original/measurement.md sections 2 and 3).
// There is one table of all metrics. Settings of policies, names in expressions, the
// dump, the control socket, exported metrics, the decision log and the documentation
// all follow it.
type Metric uint8

// The metrics: first those of the prefix's connections, then those of its interface.
const (
	MetricSRTTMean Metric = iota
	MetricSRTTMedian
	MetricSRTTMin
	MetricSRTTCurrent
	MetricSRTTVariance
	MetricRTTVarMedian
	MetricRTTVarMean
	MetricLossUp
	MetricConns

	MetricDownBytes
	MetricUpBytes
	MetricDownRate
	MetricUpRate
	MetricDownRateMax
	MetricUpRateMax
	MetricDownSMA
	MetricDownSMAMax
	MetricDownSMAMaxMid
	MetricDownSMAMaxLong
	MetricDownSMAMaxVeryLong
	MetricDownSMAMin
	MetricDownSMAMinMid
	MetricDownSMAMinLong
	MetricDownSMAQuantile
	MetricDownSMAQuantileMid
	MetricDownSMAQuantileLong
	MetricRxErrors
	MetricTxErrors
	MetricSignal
	MetricSignalAvg
	MetricTxRate
	MetricRxRate
	MetricStations
	MetricChannelUtilization
	MetricAdmissionCapacity
)

// source is what a metric is measured from. If the source is missing, the metric has no
// value.
type source uint8

const (
	samples     source = iota // connections with a round-trip time
	connections               // a look at the connections, even if there were none
	counters                  // the interface's counters
	radio                     // the Wi-Fi link
	bssLoad                   // the access point's BSS Load element
)

// gap says which values of a metric stand for "not known" even if the source is there.
type gap uint8

const (
	noGap    gap = iota // every value is a measurement
	notAbove            // 0 and less: nothing was measured
	zero                // 0: nothing was measured
	// idle means that 0 is a measured value and shown, but that policies do not know
	// what the link can do.
	idle
)

type metric struct {
	name   string
	symbol string
	unit   Unit
	source source
	gap    gap
	value  func(*Prefix) float64
}

// metrics is the table. For the sources radio and bssLoad, value is called only for
// prefixes whose Wifi is set.
var metrics = [...]metric{
	MetricSRTTMean:     {"srtt_mean_recent", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.SRTTMean) }},
	MetricSRTTMedian:   {"srtt_median_recent", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.SRTTMedian) }},
	MetricSRTTMin:      {"srtt_minimum_recent", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.SRTTMin) }},
	MetricSRTTCurrent:  {"srtt_minimum_current", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.SRTTCurrent) }},
	MetricSRTTVariance: {"srtt_var_across_current", "ms^2", None, samples, noGap, func(p *Prefix) float64 { return p.Stats.SRTTVariance }},
	MetricRTTVarMedian: {"srtt_var_median_within", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.RTTVarMedian) }},
	MetricRTTVarMean:   {"srtt_var_mean_within", "ms", Milliseconds, samples, notAbove, func(p *Prefix) float64 { return millis(p.Stats.RTTVarMean) }},
	MetricLossUp:       {"packet_loss_up_median", "", None, samples, noGap, func(p *Prefix) float64 { return p.Stats.LossUp }},
	MetricConns:        {"num_conns", "", Count, connections, noGap, func(p *Prefix) float64 { return float64(p.Stats.Conns) }},

	MetricDownBytes:           {"download_counter", "B", Bytes, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownBytes) }},
	MetricUpBytes:             {"upload_counter", "B", Bytes, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.UpBytes) }},
	MetricDownRate:            {"download_rate_current", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownRate) }},
	MetricUpRate:              {"upload_rate_current", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.UpRate) }},
	MetricDownRateMax:         {"download_rate_max_recent", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownRateMax) }},
	MetricUpRateMax:           {"upload_rate_max_recent", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.UpRateMax) }},
	MetricDownSMA:             {"download_sma_current", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownSMA) }},
	MetricDownSMAMax:          {"download_sma_max", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAMax.Short) }},
	MetricDownSMAMaxMid:       {"download_sma_max_mid", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAMax.Mid) }},
	MetricDownSMAMaxLong:      {"download_sma_max_long", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAMax.Long) }},
	MetricDownSMAMaxVeryLong:  {"download_sma_max_longlong", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAMax.VeryLong) }},
	MetricDownSMAMin:          {"download_sma_min", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownSMAMin.Short) }},
	MetricDownSMAMinMid:       {"download_sma_min_mid", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownSMAMin.Mid) }},
	MetricDownSMAMinLong:      {"download_sma_min_long", "B/s", ByteRate, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.DownSMAMin.Long) }},
	MetricDownSMAQuantile:     {"download_sma_nonzero_10q", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAQuantile.Short) }},
	MetricDownSMAQuantileMid:  {"download_sma_nonzero_10q_mid", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAQuantile.Mid) }},
	MetricDownSMAQuantileLong: {"download_sma_nonzero_10q_long", "B/s", ByteRate, counters, idle, func(p *Prefix) float64 { return float64(p.Link.DownSMAQuantile.Long) }},
	MetricRxErrors:            {"rx_errors", "", Count, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.RxErrors) }},
	MetricTxErrors:            {"tx_errors", "", Count, counters, noGap, func(p *Prefix) float64 { return float64(p.Link.TxErrors) }},

	MetricSignal:             {"signal_strength", "dBm", None, radio, zero, func(p *Prefix) float64 { return float64(p.Wifi.Signal) }},
	MetricSignalAvg:          {"signal_strength_avg", "dBm", None, radio, zero, func(p *Prefix) float64 { return float64(p.Wifi.SignalAvg) }},
	MetricTxRate:             {"tx_rate", "Mbit/s", None, radio, notAbove, func(p *Prefix) float64 { return p.Wifi.TxRate.Mbps() }},
	MetricRxRate:             {"rx_rate", "Mbit/s", None, radio, notAbove, func(p *Prefix) float64 { return p.Wifi.RxRate.Mbps() }},
	MetricStations:           {"number_of_stations", "", Count, bssLoad, noGap, func(p *Prefix) float64 { return float64(p.Wifi.Stations) }},
	MetricChannelUtilization: {"channel_utilization", "%", None, bssLoad, noGap, func(p *Prefix) float64 { return p.Wifi.ChannelUtilization }},
	MetricAdmissionCapacity: {"available_admission_capacity", "32 us/s", None, bssLoad, noGap,
		func(p *Prefix) float64 { return float64(p.Wifi.AvailableAdmissionCapacity) }},
}

// Metrics returns all metrics.
func Metrics() []Metric {
	list := make([]Metric, len(metrics))
	for i := range list {
		list[i] = Metric(i)
	}
	return list
}

// MetricNames returns the names of all metrics. A policy whose settings may override
// measurements passes them to [Config.CheckPrefixes].
func MetricNames() []string {
	names := make([]string, len(metrics))
	for i := range names {
		names[i] = metrics[i].name
	}
	return names
}

// ParseMetric returns the metric with this name.
func ParseMetric(name string) (Metric, bool) {
	for i := range metrics {
		if metrics[i].name == name {
			return Metric(i), true
		}
	}
	return 0, false
}

// row returns m's line of the table. For a number that is not a metric, it returns a
// line that says so and is never measured.
func (m Metric) row() *metric {
	if int(m) < len(metrics) {
		return &metrics[m]
	}
	return &metric{name: fmt.Sprintf("metric(%d)", uint8(m)), gap: notAbove, value: func(*Prefix) float64 { return 0 }}
}

// String is the metric's name, for instance "srtt_median_recent".
func (m Metric) String() string { return m.row().name }

// Symbol is the symbol of the unit of m's values, "" for counts and ratios.
func (m Metric) Symbol() string { return m.row().symbol }

// Unit is the unit for a [Term] that holds a value of m, None if there is no such Unit.
func (m Metric) Unit() Unit { return m.row().unit }

// OfLink tells whether m is a figure of the prefix's interface, which all prefixes of
// the interface share. Other metrics are figures of the prefix's connections.
func (m Metric) OfLink() bool { return m > MetricConns }

// Measured returns the measured value of m for p, in the unit of Symbol, and
// whether there is one. The value is 0 if nothing was measured.
func (m Metric) Measured(p *Prefix) (value float64, ok bool) {
	v, ok, _ := m.measured(p)
	return v, ok
}

// Known returns the value of m that a policy should use, and whether there is one. If p
// has a setting with m's name that is a number, even 0, that is the value; else it is
// the measurement. A highest rate that was measured as 0 is not known: the link was
// idle, so nobody has seen what it can do. A current rate or a number of connections
// may well be 0.
func (m Metric) Known(p *Prefix) (value float64, known bool) {
	if len(p.Options) > 0 {
		if v, ok := p.Options.Number(m.String()); ok {
			return v, true
		}
	}
	v, ok, rule := m.measured(p)
	return v, ok && (rule != idle || v > 0)
}

func (m Metric) measured(p *Prefix) (value float64, ok bool, rule gap) {
	row := m.row()
	switch row.source {
	case samples:
		ok = !p.Stats.SampleTime.IsZero()
	case connections:
		ok = !p.Stats.Time.IsZero()
	case counters:
		ok = !p.Link.Time.IsZero()
	case radio:
		ok = p.Wifi != nil
	case bssLoad:
		ok = p.Wifi != nil && p.Wifi.BSSLoad
	}
	if !ok && row.source >= radio {
		return 0, false, row.gap
	}
	value = row.value(p)
	switch row.gap {
	case notAbove:
		ok = ok && value > 0
	case zero:
		ok = ok && value != 0
	}
	return value, ok, row.gap
}

// Time is when m was measured. It is zero if that is unknown, or if a setting of p
// replaces the measurement.
func (m Metric) Time(p *Prefix) time.Time {
	row := m.row()
	if _, configured := p.Options.Number(row.name); configured {
		return time.Time{}
	}
	switch {
	case m == MetricDownRateMax:
		return p.Link.DownRateMaxTime
	case m == MetricUpRateMax:
		return p.Link.UpRateMaxTime
	case row.source == samples:
		return p.Stats.SampleTime
	case row.source == connections:
		return p.Stats.Time
	case row.source == counters:
		return p.Link.Time
	case p.Wifi != nil:
		return p.Wifi.Time
	}
	return time.Time{}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
