package testbed

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPlanErrors(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	for _, tt := range []struct {
		name     string
		networks []NetworkConfig
		want     string
	}{
		{"same name", []NetworkConfig{{Name: "a"}, {Name: "a"}}, "two networks"},
		{"overlap", []NetworkConfig{{Prefix4: p("10.0.0.0/8")}, {Prefix4: p("10.2.0.0/16")}}, "overlap"},
		{"family", []NetworkConfig{{Prefix4: p("2001:db8::/64")}}, "other family"},
		{"too small", []NetworkConfig{{Prefix4: p("10.0.0.0/31")}}, "no room"},
		{"gateway", []NetworkConfig{{Prefix6: p("2001:db8::1/64")}}, "gateway's"},
		{"too many", make([]NetworkConfig, 61), "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := plan(tt.networks); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestPlanAddresses(t *testing.T) {
	t.Parallel()
	got, err := plan([]NetworkConfig{
		{},
		{Name: "b", Prefix4: netip.MustParsePrefix("192.168.0.0/24")},
		{Name: "c", Prefix4: netip.MustParsePrefix("192.168.1.23/24"), Metric: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"net0 10.1.0.2/24 2001:db8:1::2/64", "b 192.168.0.2/24 invalid Prefix", "c 192.168.1.23/24 invalid Prefix"} {
		if s := got[i].Name + " " + got[i].Prefix4.String() + " " + got[i].Prefix6.String(); s != want {
			t.Errorf("network %d is %q, want %q", i, s, want)
		}
	}
	if got[0].Metric != 100 || got[1].Metric != 200 || got[2].Metric != 7 {
		t.Errorf("metrics %d %d %d", got[0].Metric, got[1].Metric, got[2].Metric)
	}
}

// FuzzDecodePacket checks that no packet, whole or cut off, makes the decoder panic.
func FuzzDecodePacket(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x01\x00\x02\x0a\x01\x00\x01\x12\x34\x00\x35\x00\x08\x00\x00"))
	f.Add(append([]byte("\x60\x00\x00\x00\x00\x20\x11\x40"), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := decodePacket(b)
		if ok && (!p.Src.IsValid() || !p.Dst.IsValid()) {
			t.Errorf("addresses %v %v of a decoded packet", p.Src, p.Dst)
		}
	})
}
