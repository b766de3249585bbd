package config

import "testing"

func TestParseCPU(t *testing.T) {
	for text, want := range map[string]Share{
		"1%": 0.01, "0.01%": MinCPU, "100%": 1, "2.5%": 0.025, "1e1%": 0.1,
		"": 0, "%": 0, "1": 0, "1 %": 0, "0%": 0, "-1%": 0, "0.001%": 0, "100.1%": 0, "NaN%": 0, "Inf%": 0, "1%%": 0,
	} {
		got, err := parseCPU(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", text, got, err)
			continue
		}
		if again, err := parseCPU(got.String()); want > 0 && (again != got || err != nil) {
			t.Errorf("%q is written as %v, which is read as %v, %v", text, got, again, err)
		}
	}
}
