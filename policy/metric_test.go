package policy

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

var measuredAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestMetricNames(t *testing.T) {
	names := MetricNames()
	for i, m := range Metrics() {
		if m != Metric(i) || m.String() != names[i] {
			t.Errorf("metric %d is %v, its name %q", i, m, names[i])
		}
		if got, ok := ParseMetric(names[i]); !ok || got != m {
			t.Errorf("ParseMetric(%q) = %v, %v", names[i], got, ok)
		}
	}
	if len(names) != len(metrics) || slices.Contains(names, "") {
		t.Errorf("a metric has no name: %q", names)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(metrics) {
		t.Error("two metrics have one name")
	}
	if _, ok := ParseMetric("callback_duration_rate"); ok {
		t.Error("a metric that nobody measures is known")
	}
}

func TestNoMetric(t *testing.T) {
	m := Metric(len(metrics))
	p := everything()
	if v, known := m.Known(p); known || v != 0 || m.String() != "metric(35)" {
		t.Errorf("%v = %v, known %v", m, v, known)
	}
}

// everything is a prefix of which all is measured, each figure another value.
func everything() *Prefix {
	w := func(f BytesPerSecond) Windowed { return Windowed{f, f + 1, f + 2, f + 3} }
	return &Prefix{
		CIDR: netip.MustParsePrefix("10.0.1.0/24"),
		Stats: PathStats{
			Time: measuredAt, SampleTime: measuredAt, Conns: 1, SRTTMean: 2e6, SRTTMedian: 3e6, SRTTMin: 4e6, SRTTCurrent: 5e6, SRTTVariance: 6,
			RTTVarMedian: 7e6, RTTVarMean: 8e6, LossUp: 0.5,
		},
		Link: LinkStats{
			Time: measuredAt, DownRateMaxTime: measuredAt, UpRateMaxTime: measuredAt,
			DownBytes: 20, UpBytes: 21, DownRate: 22, UpRate: 23, DownRateMax: 24, UpRateMax: 25,
			DownSMA: 26, DownSMAMax: w(30), DownSMAMin: w(40), DownSMAQuantile: w(50), RxErrors: 60, TxErrors: 61,
		},
		Wifi: &WifiStats{
			Time: measuredAt, Signal: -70, SignalAvg: -71, TxRate: 1e6, RxRate: 2e6, BSSLoad: true, Stations: 4, ChannelUtilization: 12.5, AvailableAdmissionCapacity: 9,
		},
	}
}

func TestEveryMetricIsRead(t *testing.T) {
	want := []float64{
		2, 3, 4, 5, 6, 7, 8, 0.5, 1,
		20, 21, 22, 23, 24, 25, 26, 30, 31, 32, 33, 40, 41, 42, 50, 51, 52, 60, 61,
		-70, -71, 8, 16, 4, 12.5, 9,
	}
	bare := &Prefix{}
	noLoad := &Prefix{Wifi: &WifiStats{Stations: 4, ChannelUtilization: 12.5, AvailableAdmissionCapacity: 9}}
	for i, m := range Metrics() {
		p := everything()
		if v, ok := m.Measured(p); !ok || v != want[i] {
			t.Errorf("%v = %v, measured %v; want %v", m, v, ok, want[i])
		}
		if v, known := m.Known(p); !known || v != want[i] {
			t.Errorf("%v = %v, known %v; want %v", m, v, known, want[i])
		}
		if m.Time(p) != measuredAt {
			t.Errorf("%v has no time", m)
		}
		for _, p := range []*Prefix{bare, noLoad} {
			if v, known := m.Known(p); known || v != 0 || !m.Time(p).IsZero() {
				t.Errorf("%v = %v, known %v, of %v, where nothing is measured", m, v, known, m.Time(p))
			}
		}
		p.Options = Options{m.String(): NewOption("77")}
		if v, known := m.Known(p); !known || v != 77 || !m.Time(p).IsZero() {
			t.Errorf("%v = %v, known %v, set to 77", m, v, known)
		}
		if v, _ := m.Measured(p); v != want[i] {
			t.Errorf("%v: a setting changes what was measured, %v", m, v)
		}
	}
}

func TestMetricZero(t *testing.T) {
	silent := &Prefix{Stats: PathStats{Time: measuredAt}, Link: LinkStats{Time: measuredAt}} // looked at, and nothing was there
	sampled := &Prefix{Stats: PathStats{Time: measuredAt, SampleTime: measuredAt}}
	load := &Prefix{Wifi: &WifiStats{BSSLoad: true}}
	weak := &Prefix{Wifi: &WifiStats{Signal: -90}}
	set := &Prefix{Options: Options{"signal_strength": NewOption("0")}}
	for _, tt := range []struct {
		m               Metric
		p               *Prefix
		measured, known bool
	}{
		{MetricConns, silent, true, true}, {MetricLossUp, silent, false, false}, {MetricSRTTMin, silent, false, false},
		{MetricLossUp, sampled, true, true}, {MetricSRTTVariance, sampled, true, true},
		{MetricSRTTMin, sampled, false, false}, {MetricRTTVarMean, sampled, false, false},
		{MetricDownRate, silent, true, true}, {MetricDownSMAMin, silent, true, true}, {MetricRxErrors, silent, true, true},
		{MetricDownRateMax, silent, true, false}, {MetricDownSMAMaxMid, silent, true, false}, {MetricDownSMAQuantile, silent, true, false},
		{MetricDownRate, sampled, false, false},
		{MetricStations, load, true, true}, {MetricStations, weak, false, false},
		{MetricSignal, weak, true, true}, {MetricSignal, load, false, false}, {MetricTxRate, weak, false, false},
		{MetricSignal, set, false, true},
	} {
		_, measured := tt.m.Measured(tt.p)
		_, known := tt.m.Known(tt.p)
		if measured != tt.measured || known != tt.known {
			t.Errorf("%v: measured %v, known %v; want %v, %v", tt.m, measured, known, tt.measured, tt.known)
		}
	}
}
