package policy

import (
	"time"
)

// BytesPerSecond is a data rate.
type BytesPerSecond float64

// Mbps returns the rate in megabits per second (10^6 bits).
func (r BytesPerSecond) Mbps() float64 { return float64(r) * 8 / 1e6 }

// PathStats are the measurements on a prefix's TCP connections
// (doc/original/measurement.md sections 2 and 4). The zero value means that nothing is
// known. A duration of zero is unknown.
type PathStats struct {
	Time time.Time // when this was computed; zero: never measured

	// Conns is the number of connections that had a round-trip time sample in the last
	// pass.
	Conns int
	// SampleTime is the time of the latest sample, and so the age of the figures below:
	// when Conns was last above zero, or when a connection ended that no pass had seen.
	SampleTime time.Time

	SRTTMean    time.Duration // srtt_mean_recent: mean of the current samples
	SRTTMedian  time.Duration // srtt_median_recent: their median
	SRTTMin     time.Duration // srtt_minimum_recent: minimum over the last 10 minutes
	SRTTCurrent time.Duration // srtt_minimum_current: minimum of the last pass

	// SRTTVariance is srtt_var_across_current, the population variance of the
	// current samples in squared milliseconds.
	SRTTVariance float64
	RTTVarMedian time.Duration // srtt_var_median_within: median of the connections' RTTVAR
	RTTVarMean   time.Duration // srtt_var_mean_within

	// LossUp is packet_loss_up_median. It is the share of sent segments that were lost,
	// 0 to 1: the median over the connections.
	LossUp float64
	// RetransUp is the share of sent segments that were retransmitted: the median over
	// the connections.
	RetransUp float64
}

// Windowed holds one figure for each of the four windows of doc/original/measurement.md
// section 1.
type Windowed struct {
	Short    BytesPerSecond // 1 s
	Mid      BytesPerSecond // 10 s
	Long     BytesPerSecond // 1 min
	VeryLong BytesPerSecond // 10 min; only for maxima
}

// LinkStats are the measurements of an interface (doc/original/measurement.md sections
// 3 and 5). The zero value means that nothing is known. A rate of 0 with a non-zero
// Time was measured as 0.
type LinkStats struct {
	Time time.Time // when this was computed; zero: never measured

	DownRate    BytesPerSecond // download_rate_current
	UpRate      BytesPerSecond // upload_rate_current
	DownRateMax BytesPerSecond // download_rate_max_recent: maximum over the last 10 minutes
	UpRateMax   BytesPerSecond // upload_rate_max_recent

	DownRateMaxTime time.Time // when DownRateMax was seen
	UpRateMaxTime   time.Time

	DownSMA         BytesPerSecond // download_sma_current: moving average over 1 s
	DownSMAMax      Windowed       // download_sma_max, _mid, _long, _longlong
	DownSMAMin      Windowed       // download_sma_min, _mid, _long
	DownSMAQuantile Windowed       // download_sma_nonzero_10q, _mid, _long

	DownBytes, UpBytes uint64 // download_counter, upload_counter
	RxErrors, TxErrors uint64
}

// WifiStats are the measurements of a wireless interface (doc/original/measurement.md
// section 7).
type WifiStats struct {
	Time      time.Time
	Signal    int8 // dBm, signal_strength; 0: unknown
	SignalAvg int8 // dBm, signal_strength_avg; 0: unknown

	TxRate, RxRate BytesPerSecond // tx_rate, rx_rate of the link layer; 0: unknown

	// The fields below come from the access point's BSS Load element (IEEE 802.11,
	// section 9.4.2.27). They are valid only if BSSLoad is set.
	BSSLoad                    bool
	Stations                   uint16
	ChannelUtilization         float64 // percent
	AvailableAdmissionCapacity uint16  // units of 32 us/s
}
