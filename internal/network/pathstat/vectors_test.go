package pathstat

import (
	"encoding/json"
	"math"
	"os"
	"testing"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// vector is a test vector of the groups measure_* (schema in doc/original/policies.md). The
// figures are those of the original or, if the original is wrong, what a port should give.
type vector struct {
	ID     string
	Group  string
	Inputs json.RawMessage
	Expect json.RawMessage
	// Tolerance is relative; 0 stands for 1e-9.
	Tolerance float64
}

func loadVectors(t *testing.T, group string) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all, some []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Group != group {
			continue
		}
		if v.Tolerance == 0 {
			v.Tolerance = 1e-9
		}
		some = append(some, v)
	}
	if len(some) == 0 {
		t.Fatalf("no vectors of group %s", group)
	}
	return some
}

func (v vector) decode(t *testing.T, inputs, expect any) {
	t.Helper()
	if err := json.Unmarshal(v.Inputs, inputs); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(v.Expect, expect); err != nil {
		t.Fatal(err)
	}
}

// vectorNumber is a float64 that may be written as "DBL_MAX", which means unknown: 0 here.
type vectorNumber float64

func (n *vectorNumber) UnmarshalJSON(b []byte) error {
	if string(b) == `"DBL_MAX"` {
		*n = 0
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

func (v vector) check(t *testing.T, tick int, key string, got float64, want vectorNumber) {
	t.Helper()
	if math.Abs(got-float64(want)) > v.Tolerance*math.Abs(float64(want)) {
		t.Errorf("tick %d: %s = %v, want %v", tick, key, got, want)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func TestPathVectors(t *testing.T) {
	for _, v := range loadVectors(t, "measure_srtt") {
		t.Run(v.ID, func(t *testing.T) {
			var in struct {
				HistoryLength int `json:"history_length"`
				Ticks         [][]float64
			}
			var want struct {
				Ticks  []map[string]vectorNumber
				Minima []vectorNumber `json:"srtt_minimum_recent"`
				Means  []vectorNumber `json:"srtt_mean_recent"`
			}
			v.decode(t, &in, &want)
			// The window is a duration, so a shorter history means a longer tick.
			tick := History / time.Duration(in.HistoryLength)
			var e PathEstimator
			for i, rtts := range in.Ticks {
				var samples []Sample
				for _, rtt := range rtts {
					samples = append(samples, Sample{RTT: uint32(rtt * 1000)})
				}
				e.Add(at(time.Duration(i)*tick), samples)
				s := e.Stats()
				got := map[string]float64{
					"num_conns":               float64(s.Conns),
					"srtt_mean_recent":        ms(s.SRTTMean),
					"srtt_median_recent":      ms(s.SRTTMedian),
					"srtt_minimum_recent":     ms(s.SRTTMin),
					"srtt_var_across_current": s.SRTTVariance,
				}
				if want.Ticks != nil {
					for key, w := range want.Ticks[i] {
						v.check(t, i, key, got[key], w)
					}
				}
				if want.Minima != nil {
					v.check(t, i, "srtt_minimum_recent", got["srtt_minimum_recent"], want.Minima[i])
				}
				if want.Means != nil {
					v.check(t, i, "srtt_mean_recent", got["srtt_mean_recent"], want.Means[i])
				}
			}
		})
	}
}

// linkKeys returns the figures by the names that doc/original/measurement.md 3 has for
// them.
func linkKeys(s policy.LinkStats) map[string]float64 {
	return map[string]float64{
		"download_rate_current":         float64(s.DownRate),
		"download_rate_max_recent":      float64(s.DownRateMax),
		"upload_rate_current":           float64(s.UpRate),
		"upload_rate_max_recent":        float64(s.UpRateMax),
		"download_sma_current":          float64(s.DownSMA),
		"download_sma_max":              float64(s.DownSMAMax.Short),
		"download_sma_max_mid":          float64(s.DownSMAMax.Mid),
		"download_sma_max_long":         float64(s.DownSMAMax.Long),
		"download_sma_max_longlong":     float64(s.DownSMAMax.VeryLong),
		"download_sma_min":              float64(s.DownSMAMin.Short),
		"download_sma_min_mid":          float64(s.DownSMAMin.Mid),
		"download_sma_min_long":         float64(s.DownSMAMin.Long),
		"download_sma_nonzero_10q":      float64(s.DownSMAQuantile.Short),
		"download_sma_nonzero_10q_mid":  float64(s.DownSMAQuantile.Mid),
		"download_sma_nonzero_10q_long": float64(s.DownSMAQuantile.Long),
		"download_counter":              float64(s.DownBytes),
		"upload_counter":                float64(s.UpBytes),
	}
}

func TestRateVectors(t *testing.T) {
	for _, v := range loadVectors(t, "measure_rates") {
		t.Run(v.ID, func(t *testing.T) {
			var in struct {
				Ticks []struct {
					T  float64
					Rx uint64 `json:"rx_bytes"`
					Tx uint64 `json:"tx_bytes"`
				}
			}
			var want struct{ Ticks []map[string]vectorNumber }
			v.decode(t, &in, &want)
			e := NewLinkEstimator(DefaultInterval)
			for i, tick := range in.Ticks {
				up := time.Duration(math.Round((tick.T-1000)*1e6)) * time.Microsecond
				e.Add(at(up), LinkCounters{RxBytes: tick.Rx, TxBytes: tick.Tx}, DefaultInterval)
				got := linkKeys(e.Stats())
				for key, w := range want.Ticks[i] {
					g, ok := got[key]
					if !ok {
						t.Fatalf("unknown key %s", key)
					}
					v.check(t, i, key, g, w)
				}
			}
		})
	}
}
