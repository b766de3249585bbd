package resolve

import (
	"strconv"
	"strings"
	"testing"
)

// The table of doc/original/client-and-socks.md 7.2, but that only decimal numbers from
// 0 to 65535 count as ports.
func TestNormalizeService(t *testing.T) {
	for given, want := range map[string]string{
		"80":     "80",
		"http":   "80",
		"https":  "443",
		"443":    "443",
		"8080":   "8080",
		"8082":   "8082",
		"ssh":    "22",
		"domain": "53",
		"0":      "0",
		"080":    "80",
		"65535":  "65535",
		"foo":    "foo",
		"":       "",
		"-1":     "-1",
		"+80":    "+80",
		"80abc":  "80abc",
		"0x50":   "0x50",
		" 80":    " 80",
		"65616":  "65616",
		"1e2":    "1e2",
	} {
		if got := NormalizeService(given); got != want {
			t.Errorf("NormalizeService(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestPort(t *testing.T) {
	tests := []struct {
		network, service string
		want             uint16
		ok               bool
	}{
		{"tcp", "http", 80, true},
		{"udp", "domain", 53, true},
		{"", "domain", 53, true},
		{"udp", "8080", 8080, true},
		{"tcp", "65536", 0, false},
		{"tcp", "99999999999999999999", 0, false},
		{"tcp", "no-such-service", 0, false},
		{"", "ht\x00tp", 0, false},
		{"tcp", strings.Repeat("a", 10_000), 0, false},
	}
	for _, tt := range tests {
		got, err := Port(tt.network, tt.service)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Port(%q, %.20q) = %d, %v", tt.network, tt.service, got, err)
		}
	}
}

func FuzzNormalizeService(f *testing.F) {
	for _, s := range []string{"http", "80", "-1", "", "65536", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, service string) {
		got := NormalizeService(service)
		if got != service {
			if n, err := strconv.ParseUint(got, 10, 16); err != nil || strconv.FormatUint(n, 10) != got {
				t.Fatalf("NormalizeService(%q) = %q", service, got)
			}
		}
		if again := NormalizeService(got); again != got {
			t.Fatalf("%q becomes %q, then %q", service, got, again)
		}
	})
}
