package policies

import (
	"slices"
	"testing"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

func TestNames(t *testing.T) {
	if !slices.IsSorted(All().Names()) {
		t.Errorf("not sorted: %v", All().Names())
	}
	for _, name := range All().Names() {
		p, err := All().New(name, config(name))
		if err != nil || p == nil {
			t.Errorf("New(%q) = %v, %v", name, p, err)
		}
	}
	if _, err := All().New("nonsense", policy.Config{}); err == nil {
		t.Error("an unknown policy was made")
	}
}

// config is the smallest configuration that the policy accepts.
func config(name string) policy.Config {
	cfg := policy.Config{Name: name}
	if name == "score" {
		cfg.Settings = policytest.Settings(`policy "score"`, "minimize=or_else(completion_time(), prefix.srtt_median_recent)")
	}
	return cfg
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		in, want string
	}{
		{"sample", "sample"},
		{"policy_sample", "sample"},
		{"policy_sample.so", "sample"},
		{"/usr/local/lib/mam-policies/policy_sample.so", "sample"},
		{"policy_intents.so", "intents"},
		{"/usr/local/lib/mam-policies/threshold_policy.so", "threshold"},
		{"threshold_policy", "threshold"},
		{"policy_earliest_arrival.so", "earliest_arrival"},
		{"policy_earliest_arrival_free-or-busy.so", "earliest_arrival_free_or_busy"},
		{"../policies/policy_video.so", "video"},
		{"policy_mptcp_default_flow", "mptcp_default_flow"},
		{"policy_threshold.so", ""}, // the original has no such module
		{"sample.so", ""},           // a plugin in the policy path
		{"./intents", ""},
		{"./mine.so", ""},
		{"", ""},
		{".so", ""},
	} {
		got, ok := All().Find(tt.in)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("All().Find(%q) = %q, %v; want %q", tt.in, got, ok, tt.want)
		}
	}
}

func TestEveryPolicyHasAModuleName(t *testing.T) {
	n := 0
	for _, b := range All() {
		if b.Module == "" {
			continue
		}
		n++
		if name, ok := All().Find("/usr/local/lib/mam-policies/" + b.Module + ".so"); !ok || name != b.Name {
			t.Errorf("module %s is %q, want %q", b.Module, name, b.Name)
		}
	}
	if n != 16 {
		t.Errorf("%d policies of the original, which has 16", n)
	}
}
