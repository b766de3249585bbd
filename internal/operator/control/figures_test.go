package control

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// numbers calls f with every number in v, which is addressable.
func numbers(v reflect.Value, f func(reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			numbers(v.Field(i), f)
		}
	case v.CanInt(), v.CanUint(), v.CanFloat():
		f(v)
	}
}

func raise(v reflect.Value, by int64) {
	switch {
	case v.CanInt():
		v.SetInt(v.Int() + by)
	case v.CanUint():
		v.SetUint(v.Uint() + uint64(by))
	default:
		v.SetFloat(v.Float() + float64(by))
	}
}

// The control socket shows every figure of the table. If the field of a metric changes,
// what is shown changes, too. A figure that is not known is not shown.
func TestControlShowsEveryFigure(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type figures struct {
		Stats policy.PathStats
		Link  policy.LinkStats
		Wifi  policy.WifiStats
	}
	prefixOf := func(f *figures) *policy.Prefix {
		return &policy.Prefix{
			Interface: "wlan0", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.2")},
			Stats: f.Stats, Link: f.Link, Wifi: &f.Wifi,
		}
	}
	shown := func(p *policy.Prefix) string {
		v := &mam.View{Prefixes: []*policy.Prefix{p}}
		b, err := json.Marshal([]any{prefixes(v, v.Prefixes, now), interfaces(v, now)})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	all := func() *figures {
		f := &figures{}
		n := int64(0)
		numbers(reflect.ValueOf(f).Elem(), func(v reflect.Value) { n++; raise(v, 1+n) })
		f.Stats.Time, f.Stats.SampleTime, f.Link.Time, f.Link.DownRateMaxTime, f.Link.UpRateMaxTime, f.Wifi.Time = now, now, now, now, now, now
		f.Wifi.BSSLoad = true
		return f
	}
	base := prefixOf(all())
	fields := 0
	numbers(reflect.ValueOf(all()).Elem(), func(reflect.Value) { fields++ })
	found := map[policy.Metric]bool{}
	for i := range fields {
		f, n := all(), 0
		numbers(reflect.ValueOf(f).Elem(), func(v reflect.Value) {
			if n == i {
				raise(v, 2_000_000) // ms of a duration
				if v.Kind() == reflect.Int8 || v.Kind() == reflect.Uint8 {
					raise(v, 1)
				}
			}
			n++
		})
		p := prefixOf(f)
		for _, m := range policy.Metrics() {
			was, ok := m.Measured(base)
			if !ok {
				t.Fatalf("%v is not known where all is", m)
			}
			if is, _ := m.Measured(p); is == was {
				continue
			}
			found[m] = true
			if shown(p) == shown(base) {
				t.Errorf("%v changes, and the control socket shows the same", m)
			}
		}
	}
	for _, m := range policy.Metrics() {
		if !found[m] {
			t.Errorf("no field changes %v", m)
		}
	}
	var none []struct{ Path map[string]any }
	b, err := json.Marshal(prefixes(&mam.View{}, []*policy.Prefix{prefixOf(&figures{})}, now))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &none); err != nil {
		t.Fatal(err)
	}
	if len(none[0].Path) < 10 {
		t.Errorf("the path has %d fields", len(none[0].Path))
	}
	for name, v := range none[0].Path {
		if v != nil {
			t.Errorf("%s of a network that nothing is known of: %v", name, v)
		}
	}
}
