package predict

import (
	"math"
	"testing"

	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoosers(t *testing.T) {
	slow := Prefix("slow", "10.0.1.2/24", RTT(20, 25, 0), SMA(0, 300, 900, 0))
	fast := Prefix("fast", "10.0.2.2/24", RTT(50, 60, 0), SMA(0, 700, 800, 0))
	twin := Prefix("twin", "10.0.3.2/24", RTT(20, 25, 0), SMA(0, 700, 0, 0))
	old := Prefix("old", "10.0.4.2/24", SMA(0, 0, 100, 0))
	bare := Prefix("bare", "10.0.5.2/24")
	absurd := Prefix("absurd", "10.0.6.2/24", Option("srtt_minimum_recent", "1.7976931348623157e308"))
	for _, tt := range []struct {
		name                         string
		list                         []*policy.Prefix
		lowestRTT, lowest, highestIs string
	}{
		{"values", []*policy.Prefix{fast, slow}, "slow", "slow", "fast"},
		{"first of equal ones", []*policy.Prefix{twin, slow, fast}, "twin", "slow", "twin"},
		{"fallback where the value is unknown", []*policy.Prefix{slow, old}, "slow", "old", "slow"},
		{"fallback where the value is not smaller", []*policy.Prefix{twin, Prefix("both", "10.0.7.2/24", SMA(0, 800, 100, 0))}, "twin", "both", "both"},
		{"unknown", []*policy.Prefix{bare, absurd}, "", "", ""},
		{"none", nil, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Name(LowestRTT(tt.list, policy.MetricSRTTMin)); got != tt.lowestRTT {
				t.Errorf("LowestRTT = %q, want %q", got, tt.lowestRTT)
			}
			if got := Name(LowestCapacity(tt.list, policy.MetricDownSMAMaxMid, policy.MetricDownSMAMaxLong)); got != tt.lowest {
				t.Errorf("LowestCapacity = %q, want %q", got, tt.lowest)
			}
			if got := Name(HighestCapacity(tt.list, policy.MetricDownSMAMaxMid)); got != tt.highestIs {
				t.Errorf("HighestCapacity = %q, want %q", got, tt.highestIs)
			}
		})
	}
}

func TestScoreTerms(t *testing.T) {
	scores := []policy.Score{{Prefix: A()}, {Prefix: Prefix("bare", "10.0.3.2/24")}}
	AddRTT(scores)
	known, unknown := scores[0].Terms[0], scores[1].Terms[0]
	if known.Value != 20 || known.Unit != policy.Milliseconds || !known.Time.Equal(Now()) || !math.IsNaN(unknown.Value) {
		t.Errorf("terms %+v, %+v", known, unknown)
	}
	if RTTOrUnknown(A()) != 20 || RTTOrUnknown(scores[1].Prefix) != Unknown {
		t.Error("ranks by round-trip time")
	}
}
