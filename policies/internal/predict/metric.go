package predict

import (
	"fmt"
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Epsilon is what policies take for zero: a measurement must be above it to
// count (doc/original/policies.md section 3).
const Epsilon = 0.0001

// Metric is one measured figure of a prefix or its interface, under the
// original's name and in its unit: milliseconds, bytes per second, Mbit/s for
// the rates of the Wi-Fi link (doc/original/measurement.md sections 2 and 3).
type Metric uint8

// The metrics, those of prefixes first.
const (
	SRTTMean Metric = iota
	SRTTMedian
	SRTTMin
	SRTTCurrent
	SRTTVariance
	RTTVarMedian
	RTTVarMean
	LossUp
	Conns

	DownBytes
	UpBytes
	DownRate
	UpRate
	DownRateMax
	UpRateMax
	DownSMA
	DownSMAMax
	DownSMAMaxMid
	DownSMAMaxLong
	DownSMAMaxVeryLong
	DownSMAMin
	DownSMAMinMid
	DownSMAMinLong
	DownSMAQuantile
	DownSMAQuantileMid
	DownSMAQuantileLong
	RxErrors
	TxErrors
	Signal
	SignalAvg
	TxRate
	RxRate
	Stations
	ChannelUtilization
	AdmissionCapacity

	numMetrics = iota
)

func (m Metric) String() string {
	switch m {
	case SRTTMean:
		return "srtt_mean_recent"
	case SRTTMedian:
		return "srtt_median_recent"
	case SRTTMin:
		return "srtt_minimum_recent"
	case SRTTCurrent:
		return "srtt_minimum_current"
	case SRTTVariance:
		return "srtt_var_across_current"
	case RTTVarMedian:
		return "srtt_var_median_within"
	case RTTVarMean:
		return "srtt_var_mean_within"
	case LossUp:
		return "packet_loss_up_median"
	case Conns:
		return "num_conns"
	case DownBytes:
		return "download_counter"
	case UpBytes:
		return "upload_counter"
	case DownRate:
		return "download_rate_current"
	case UpRate:
		return "upload_rate_current"
	case DownRateMax:
		return "download_rate_max_recent"
	case UpRateMax:
		return "upload_rate_max_recent"
	case DownSMA:
		return "download_sma_current"
	case DownSMAMax:
		return "download_sma_max"
	case DownSMAMaxMid:
		return "download_sma_max_mid"
	case DownSMAMaxLong:
		return "download_sma_max_long"
	case DownSMAMaxVeryLong:
		return "download_sma_max_longlong"
	case DownSMAMin:
		return "download_sma_min"
	case DownSMAMinMid:
		return "download_sma_min_mid"
	case DownSMAMinLong:
		return "download_sma_min_long"
	case DownSMAQuantile:
		return "download_sma_nonzero_10q"
	case DownSMAQuantileMid:
		return "download_sma_nonzero_10q_mid"
	case DownSMAQuantileLong:
		return "download_sma_nonzero_10q_long"
	case RxErrors:
		return "rx_errors"
	case TxErrors:
		return "tx_errors"
	case Signal:
		return "signal_strength"
	case SignalAvg:
		return "signal_strength_avg"
	case TxRate:
		return "tx_rate"
	case RxRate:
		return "rx_rate"
	case Stations:
		return "number_of_stations"
	case ChannelUtilization:
		return "channel_utilization"
	case AdmissionCapacity:
		return "available_admission_capacity"
	}
	return fmt.Sprintf("metric(%d)", uint8(m))
}

// ParseMetric finds the metric of the original's name.
func ParseMetric(name string) (Metric, bool) {
	for m := range Metric(numMetrics) {
		if m.String() == name {
			return m, true
		}
	}
	return 0, false
}

// MetricNames returns the names of all metrics.
func MetricNames() []string {
	var names []string
	for m := range Metric(numMetrics) {
		names = append(names, m.String())
	}
	return names
}

// Raw is what is known of m for p: a setting of that name in the prefix's
// configuration, else the measurement, 0 if there is none (doc/original/policies.md
// 3.1). A configured 0 hides the measurement. The original keeps strings there
// and takes their bytes for a number; here the setting must be a number.
func (m Metric) Raw(p *policy.Prefix) float64 {
	if len(p.Options) > 0 {
		if v, ok := p.Options.Number(m.String()); ok {
			return v
		}
	}
	return m.measured(p)
}

// Value is Raw, but 0 for everything that is not a usable measurement: at most
// Epsilon in effect, or "unknown" itself (doc/original/policies.md 3.1).
func (m Metric) Value(p *policy.Prefix) float64 {
	v := m.Raw(p)
	if v < Epsilon || v >= math.MaxFloat64 {
		return 0
	}
	return v
}

func (m Metric) measured(p *policy.Prefix) float64 {
	switch m {
	case SRTTMean:
		return ms(p.Stats.SRTTMean)
	case SRTTMedian:
		return ms(p.Stats.SRTTMedian)
	case SRTTMin:
		return ms(p.Stats.SRTTMin)
	case SRTTCurrent:
		return ms(p.Stats.SRTTCurrent)
	case SRTTVariance:
		return p.Stats.SRTTVariance
	case RTTVarMedian:
		return ms(p.Stats.RTTVarMedian)
	case RTTVarMean:
		return ms(p.Stats.RTTVarMean)
	case LossUp:
		return p.Stats.LossUp
	case Conns:
		return float64(p.Stats.Conns)
	case DownBytes:
		return float64(p.Link.DownBytes)
	case UpBytes:
		return float64(p.Link.UpBytes)
	case DownRate:
		return float64(p.Link.DownRate)
	case UpRate:
		return float64(p.Link.UpRate)
	case DownRateMax:
		return float64(p.Link.DownRateMax)
	case UpRateMax:
		return float64(p.Link.UpRateMax)
	case DownSMA:
		return float64(p.Link.DownSMA)
	case DownSMAMax:
		return float64(p.Link.DownSMAMax.Short)
	case DownSMAMaxMid:
		return float64(p.Link.DownSMAMax.Mid)
	case DownSMAMaxLong:
		return float64(p.Link.DownSMAMax.Long)
	case DownSMAMaxVeryLong:
		return float64(p.Link.DownSMAMax.VeryLong)
	case DownSMAMin:
		return float64(p.Link.DownSMAMin.Short)
	case DownSMAMinMid:
		return float64(p.Link.DownSMAMin.Mid)
	case DownSMAMinLong:
		return float64(p.Link.DownSMAMin.Long)
	case DownSMAQuantile:
		return float64(p.Link.DownSMAQuantile.Short)
	case DownSMAQuantileMid:
		return float64(p.Link.DownSMAQuantile.Mid)
	case DownSMAQuantileLong:
		return float64(p.Link.DownSMAQuantile.Long)
	case RxErrors:
		return float64(p.Link.RxErrors)
	case TxErrors:
		return float64(p.Link.TxErrors)
	}
	if p.Wifi == nil {
		return 0
	}
	return m.measuredWifi(p.Wifi)
}

func (m Metric) measuredWifi(w *policy.WifiStats) float64 {
	switch m {
	case Signal:
		return float64(w.Signal)
	case SignalAvg:
		return float64(w.SignalAvg)
	case TxRate:
		return w.TxRate.Mbps()
	case RxRate:
		return w.RxRate.Mbps()
	}
	if !w.BSSLoad {
		return 0
	}
	switch m {
	case Stations:
		return float64(w.Stations)
	case ChannelUtilization:
		return w.ChannelUtilization
	case AdmissionCapacity:
		return float64(w.AvailableAdmissionCapacity)
	}
	return 0
}

// Time is when the measurement behind m was made, zero where it is unknown or
// comes from the configuration.
func (m Metric) Time(p *policy.Prefix) time.Time {
	if _, configured := p.Options.Number(m.String()); configured {
		return time.Time{}
	}
	switch {
	case m == Conns:
		return p.Stats.Time
	case m < Conns:
		return p.Stats.SampleTime
	case m == DownRateMax:
		return p.Link.DownRateMaxTime
	case m == UpRateMax:
		return p.Link.UpRateMaxTime
	case m <= TxErrors:
		return p.Link.Time
	case p.Wifi != nil:
		return p.Wifi.Time
	}
	return time.Time{}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
