package config

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Bytes // 0: refused
		form string
	}{
		{"5GB", 5e9, "5GB"},
		{"1.5 GB", 15e8, "1500MB"},
		{"800MiB", 800 << 20, "800MiB"},
		{"1TiB", 1 << 40, "1TiB"},
		{"1B", 1, "1B"},
		{"1000001kB", 1000001000, "1000001kB"},
		{"-1GB", 0, ""},
		{"5000000000", 5e9, "5GB"},
		{"5 GB", 5e9, "5GB"},
		{"5gb", 5e9, "5GB"},
		{"300M", 300e6, "300MB"},
		{"1.5G", 15e8, "1500MB"},
		{"GB", 0, ""},
		{"1e9GB", 0, ""},
		{"NaNGB", 0, ""},
		{"99999999999TB", 0, ""},
		{"1.2.3GB", 0, ""},
	} {
		got, err := parseBytes(tt.text)
		if got != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("%q: %d, %v", tt.text, got, err)
		}
		if tt.want == 0 {
			continue
		}
		if got.String() != tt.form {
			t.Errorf("%q is shown as %q", tt.text, got)
		}
		if again, err := parseBytes(got.String()); again != got || err != nil {
			t.Errorf("%q is read back as %d, %v", got, again, err)
		}
	}
	if got := Bytes(math.MaxInt64).String(); got != "9223372036854775807B" {
		t.Errorf("the largest amount is shown as %q", got)
	}
}

func TestProbeTarget(t *testing.T) {
	for _, text := range []string{"dns", "tcp://192.0.2.1:443", "tcp://[2001:db8::1]:53", "http://example.net/204?x=1", "http://192.0.2.1:8080"} {
		got, err := parseProbeTarget(text)
		if err != nil || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "tcp", "tcp://example.net:443", "tcp://192.0.2.1", "tcp://192.0.2.1:0", "tcp://0.0.0.0:1", "https://example.net/", "http://", "http://a:b@example.net/", "http://example.net:0/", "http://example.net:99999/", "ftp://example.net/"} {
		if got, err := parseProbeTarget(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}
