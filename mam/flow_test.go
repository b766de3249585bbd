package mam

import (
	"math"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// reportedOf is a Reports in which one user has told something of one address.
type reportedOf struct {
	uid  uint32
	addr netip.Addr
	rtt  time.Duration
}

func (r reportedOf) With(s policy.PathStats, uid uint32, _ policy.PrefixID, a netip.Addr) policy.PathStats {
	if uid == r.uid && a == r.addr {
		s.SRTTMin = r.rtt
	}
	return s
}

// A client's report of its datagrams is passed on with the network that it is about, and
// with the user whom the kernel names; reports of no network of ours are not.
func TestFlowReports(t *testing.T) {
	reported := make(chan *FlowReport, 10)
	v := host(takeFirst)
	d := start(t, v, Options{OnFlow: func(f *FlowReport) { reported <- f }})
	c := d.dial(t)
	flow := func(local, remote string, index uint32) *wire.Flow {
		return &wire.Flow{Index: index, RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: math.MaxUint32, Local: sockAddr(local), Remote: sockAddr(remote)}
	}
	for _, tt := range []struct {
		name string
		flow *wire.Flow
		over *policy.Prefix // nil: it is not passed on
	}{
		{"IPv4", flow("10.77.2.1:4000", "192.0.2.1:443", 3), v.Prefixes[1]},
		{"IPv6", flow("[fd77:1::1]:4000", "[2001:db8::1]:443", 2), v.Prefixes[2]},
		{"mapped", flow("[::ffff:10.77.1.1]:4000", "[::ffff:192.0.2.1]:443", 2), v.Prefixes[0]},
		{"interface not told", flow("10.77.2.1:4000", "192.0.2.1:443", 0), v.Prefixes[1]},
		{"another interface", flow("10.77.2.1:4000", "192.0.2.1:443", 2), nil},
		{"no network of ours", flow("10.99.0.1:4000", "192.0.2.1:443", 0), nil},
		{"any source", flow("0.0.0.0:4000", "192.0.2.1:443", 3), nil},
		{"any destination", flow("10.77.2.1:4000", "0.0.0.0:443", 3), nil},
		{"a group", flow("10.77.2.1:4000", "224.0.0.251:5353", 3), nil},
	} {
		if got := c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, Flow: tt.flow}); got.Action != wire.ActionReportResponse || got.Flow != nil {
			t.Errorf("%s: answer %+v", tt.name, got)
		}
		var got *FlowReport
		select { // it was called before the answer
		case got = <-reported:
		default:
		}
		if tt.over == nil {
			if got != nil {
				t.Errorf("%s: passed on as %+v", tt.name, got)
			}
			continue
		}
		want := &FlowReport{
			Over: tt.over.ID, Local: plainAddr(tt.flow.Local), Remote: plainAddr(tt.flow.Remote),
			RTT: 12 * time.Millisecond, MinRTT: 9 * time.Millisecond, Var: 700 * time.Microsecond, Sent: 240, Lost: math.MaxUint32,
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{}), cmpopts.IgnoreFields(FlowReport{}, "App")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		} else if got.App.UID != uint32(os.Getuid()) || got.App.PID == 0 {
			t.Errorf("%s: reported by %+v", tt.name, got.App)
		}
	}
	unmeasured := flow("10.77.2.1:4000", "192.0.2.1:443", 3)
	unmeasured.RTT, unmeasured.MinRTT = math.MaxUint32, math.MaxUint32
	c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, Flow: unmeasured})
	if got := <-reported; got.RTT != 0 || got.MinRTT != 0 {
		t.Errorf("without round-trip times: %+v", got)
	}
	last := flow("10.77.2.1:4000", "192.0.2.1:443", 3)
	last.Flags = wire.FlowOver | wire.FlowSilent
	c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, Flow: last})
	if got := <-reported; !got.Last || !got.Silent {
		t.Errorf("the last one: %+v", got)
	}
}

// A decision is made with what programs of the same user have reported of the destination.
func TestReportsCountInDecisions(t *testing.T) {
	there := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name    string
		reports Reports
		want    time.Duration
	}{
		{"of this user", reportedOf{uint32(os.Getuid()), there, 7 * time.Millisecond}, 7 * time.Millisecond},
		{"of another user", reportedOf{uint32(os.Getuid()) + 1, there, 7 * time.Millisecond}, 0},
		{"none", nil, 0},
	} {
		var seen []policy.PathStats
		v := host(chooser(func(r *policy.Request) policy.Decision {
			seen = append([]policy.PathStats(nil), r.DestStats...)
			return policy.Decision{Prefix: r.Prefixes[0]}
		}))
		v.Destinations = known{id: v.Prefixes[0].ID, addr: there, stats: policy.PathStats{Conns: 3}}
		v.Reports = tt.reports
		c := start(t, v, Options{}).dial(t)
		c.ask(socketConnectTo("192.0.2.1", "443"))
		if len(seen) != 2 || seen[0].Conns != 3 || seen[0].SRTTMin != tt.want || seen[1].SRTTMin != tt.want {
			t.Errorf("%s: %+v", tt.name, seen)
		}
	}
}
