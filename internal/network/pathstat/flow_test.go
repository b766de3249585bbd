package pathstat

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

// A pass tells for each prefix whether its connections get through.
func TestFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, nil)
		wifi := Prefix{ID: policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("10.0.1.0/24")}, Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.2")}}
		lte := Prefix{ID: policy.PrefixID{Interface: "wwan0", Prefix: netip.MustParsePrefix("10.0.2.0/24")}, Index: 3, Addrs: []netip.Addr{netip.MustParseAddr("10.0.2.2")}}
		heard := func(stalled bool, ms uint32) tcpSocket {
			s := conn("10.0.1.2", "192.0.2.1", 10, 5)
			s.Stalled, s.Heard = stalled, ms
			return s
		}
		b.kernel.counters[2] = LinkCounters{RxBytes: 1000, TxBytes: 24}
		b.Set([]Prefix{wifi, lte})
		for _, tt := range []struct {
			name    string
			sockets []tcpSocket
			want    map[policy.PrefixID]Flow
		}{
			{"none", nil, map[policy.PrefixID]Flow{}},
			{"quiet", []tcpSocket{heard(false, 9000)}, map[policy.PrefixID]Flow{wifi.ID: {Heard: 9 * time.Second}}},
			{"two of three stall", []tcpSocket{heard(true, 4000), heard(false, 20), heard(true, 3000)}, map[policy.PrefixID]Flow{wifi.ID: {Stalled: 2, Heard: 20 * time.Millisecond}}},
			{"none again", nil, map[policy.PrefixID]Flow{}},
		} {
			b.kernel.sockets = tt.sockets
			b.wait(DefaultMaxInterval + time.Second)
			if diff := cmp.Diff(tt.want, b.Snapshot().Flows, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		if diff := cmp.Diff(map[int]uint64{2: 1024}, b.Snapshot().Bytes); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
	})
}
