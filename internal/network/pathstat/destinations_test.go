package pathstat

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/policy"
)

func key(tag int, remote string) destKey { return keyOf(tag, netip.MustParseAddr(remote).As16()) }

// network returns the i-th of many IPv4 networks.
func network(i int) destKey {
	return keyOf(0, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i)<<8))).As16())
}

func TestDestKeys(t *testing.T) {
	for _, test := range []struct {
		a, b destKey
		same bool
	}{
		{key(1, "192.0.2.1"), key(1, "192.0.2.255"), true},
		{key(1, "192.0.2.1"), key(1, "::ffff:192.0.2.9"), true},
		{key(1, "192.0.2.1"), key(1, "192.0.3.1"), false},
		{key(1, "192.0.2.1"), key(2, "192.0.2.1"), false},
		{key(1, "2001:db8:1::1"), key(1, "2001:db8:1:2::1"), true},
		{key(1, "2001:db8:1::1"), key(1, "2001:db8:2::1"), false},
		{key(1, "::c0:2:0:0:0"), key(1, "192.0.2.1"), false},
		{key(maxTags-1, "ffff:ffff:ffff::"), key(maxTags-2, "ffff:ffff:ffff::"), false},
	} {
		if same := test.a == test.b; same != test.same {
			t.Errorf("%x and %x: same %v", test.a, test.b, same)
		}
	}
}

func TestDestinations(t *testing.T) {
	d := newDestTracker(0)
	near, far := key(0, "192.0.2.1"), key(0, "2001:db8::1")
	pass := func(up time.Duration, conns map[destKey][]uint32) {
		d.begin()
		for k, rtts := range conns {
			for _, rtt := range rtts {
				d.add(at(up), k, Sample{RTT: rtt * 1000})
			}
		}
		d.end(at(up))
	}
	check := func(k destKey, want policy.PathStats) {
		t.Helper()
		got, _ := d.table.get(k)
		ignore := cmpopts.IgnoreFields(policy.PathStats{}, "SRTTVariance")
		if diff := cmp.Diff(want, got, ignore); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	const ms = time.Millisecond
	d.begin()
	d.add(at(0), near, Sample{RTT: 1}) // an interrupted dump counts for nothing
	pass(0, map[destKey][]uint32{near: {10, 20, 60}, far: {100}})
	check(near, policy.PathStats{Time: at(0).Wall, SampleTime: at(0).Wall, Conns: 3,
		SRTTMean: 30 * ms, SRTTMedian: 20 * ms, SRTTMin: 10 * ms, SRTTCurrent: 10 * ms})
	check(far, policy.PathStats{Time: at(0).Wall, SampleTime: at(0).Wall, Conns: 1,
		SRTTMean: 100 * ms, SRTTMedian: 100 * ms, SRTTMin: 100 * ms, SRTTCurrent: 100 * ms})

	pass(time.Second, map[destKey][]uint32{far: {120}})
	check(near, policy.PathStats{Time: at(time.Second).Wall, SampleTime: at(0).Wall, SRTTMean: 10 * ms, SRTTMedian: 10 * ms, SRTTMin: 10 * ms})

	pass(History, map[destKey][]uint32{far: {120}})
	check(near, policy.PathStats{})
	if len(d.index) != 1 {
		t.Errorf("%d destinations, want the one in use", len(d.index))
	}
	d.forget(0)
	check(far, policy.PathStats{})
}

func TestDestinationsAreBounded(t *testing.T) {
	const limit = 16
	d := newDestTracker(limit)
	known := func(k destKey) bool { _, ok := d.table.get(k); return ok }
	// One network stays in use while many others come and go.
	for i := range 500 {
		now := at(time.Duration(i) * time.Second)
		d.begin()
		d.add(now, network(0), Sample{RTT: 1})
		d.add(now, network(i+1), Sample{RTT: 1})
		d.end(now)
	}
	if len(d.index) != limit || len(d.entries) != limit {
		t.Errorf("%d destinations in %d entries, want %d", len(d.index), len(d.entries), limit)
	}
	if !known(network(0)) || !known(network(500)) || known(network(400)) {
		t.Error("not the least recently used was replaced")
	}
	// There are more networks in use than entries. The first ones stay, and the others are
	// left out.
	for i := range 5 {
		now := at(time.Hour + time.Duration(i)*time.Second)
		d.begin()
		for n := range 10 * limit {
			d.add(now, network(1000+n), Sample{RTT: 1})
		}
		d.end(now)
	}
	for n := range limit {
		if !known(network(1000 + n)) {
			t.Errorf("network %d in use was replaced", n)
		}
	}
	published := 0
	for i := range d.table.parts {
		published += len(d.table.parts[i].stats)
	}
	if published != limit {
		t.Errorf("%d published, want %d", published, limit)
	}
}

// The race detector gives this test its meaning.
func TestDestinationsWhileSampling(t *testing.T) {
	d := newDestTracker(32)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if s, ok := d.table.get(network(i % 100)); ok && s.SRTTMin != s.SRTTMean {
					t.Errorf("torn: %+v", s)
				}
			}
		})
	}
	for i := range 300 {
		now := at(time.Duration(i) * time.Second)
		d.begin()
		for n := range 20 {
			d.add(now, network((i+n)%100), Sample{RTT: 1 + uint32(n)})
			d.add(now, network((i+n)%100), Sample{RTT: 1 + uint32(n)})
		}
		d.end(now)
		for n := range 100 {
			d.table.get(network(n))
		}
		if i == 250 {
			d.forget(0)
		}
	}
	close(stop)
	wg.Wait()
}
