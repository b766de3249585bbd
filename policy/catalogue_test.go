package policy_test

import (
	"slices"
	"testing"

	"github.com/socket-intents/mamma/policies"
)

func TestReaders(t *testing.T) {
	for _, tt := range []struct {
		setting  string
		ofPrefix bool
		want     []string
	}{
		{"category", true, []string{"intents"}},
		{"category", false, nil},
		{"minimize", false, []string{"score"}},
		{"colour", true, nil},
	} {
		if got := policies.All().Readers(tt.setting, tt.ofPrefix); !slices.Equal(got, tt.want) {
			t.Errorf("%s, of a prefix %t: read by %v, not %v", tt.setting, tt.ofPrefix, got, tt.want)
		}
	}
	if got := policies.All().Readers("srtt_minimum_recent", true); !slices.Contains(got, "threshold") || slices.Contains(got, "intents") {
		t.Errorf("a measurement is read by %v", got)
	}
}
