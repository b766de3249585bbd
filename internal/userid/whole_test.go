package userid

import "testing"

func TestWhole(t *testing.T) {
	for text, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"0 0 1000\n1000 1000 4294966295\n":   true,
		"         0       1000          1\n": false,
		"0 1000 1\n1 100000 65536\n":         false, // of a container without root
		"":                                   false,
		"0 0\n":                              false,
		"0 0 x\n":                            false,
		"0 0 99999999999999999999\n":         false,
		"0 0 4294967295\n0 0 4294967295\n0 0 4294967295\n0 0 1\n": false,
	} {
		if got := whole([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOverflow(t *testing.T) {
	for text, want := range map[string]uint32{"65534\n": 65534, "1000\n": 1000, "4294967295\n": 4294967295, "": usualOverflow, "x": usualOverflow, "99999999999\n": usualOverflow} {
		if got := overflowOf([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
