package quicintent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
)

// The table says what the manager is told about a connection, and when there is nothing to
// tell.
func TestLedger(t *testing.T) {
	const ms = time.Millisecond
	stats := func(sent, lost, received, bytes uint64) quic.ConnectionStats {
		return quic.ConnectionStats{
			SmoothedRTT: 21 * ms, LatestRTT: 22 * ms, MinRTT: 20 * ms, MeanDeviation: 2 * ms, PacketsSent: sent, PacketsLost: lost, PacketsReceived: received, BytesReceived: bytes,
		}
	}
	figures := func(f client.Flow) client.Flow {
		f.RTT, f.MinRTT, f.RTTVar, f.Connect = 21*ms, 20*ms, 2*ms, 40*ms
		return f
	}
	elsewhere := func(s quic.ConnectionStats) quic.ConnectionStats {
		s.SmoothedRTT, s.LatestRTT, s.MinRTT, s.MeanDeviation = 60*ms, 62*ms, 58*ms, 5*ms
		return s
	}
	for _, tt := range []struct {
		name         string
		begun, told  quic.ConnectionStats
		now          quic.ConnectionStats
		over, silent bool
		want         client.Flow
		news         bool
	}{
		{name: "the first", now: stats(10, 1, 8, 9000), want: figures(client.Flow{Sent: 10, Lost: 1, Received: 9000}), news: true},
		{name: "what is new", told: stats(10, 1, 8, 9000), now: stats(30, 4, 9, 9500), want: figures(client.Flow{Sent: 20, Lost: 3, Received: 9500}), news: true},
		{name: "nothing has come", told: stats(10, 1, 8, 9000), now: stats(30, 4, 8, 9000), want: figures(client.Flow{Sent: 20, Lost: 3, Received: 9000})},
		{name: "the end", told: stats(10, 1, 8, 9000), now: stats(10, 1, 8, 9000), over: true, want: figures(client.Flow{Received: 9000, Over: true}), news: true},
		{
			name: "silence tells of loss by itself", told: stats(10, 1, 8, 9000), now: stats(30, 4, 8, 9000), over: true, silent: true,
			want: figures(client.Flow{Received: 9000, Over: true, Silent: true}), news: true,
		},
		{name: "a lost packet has come", told: stats(10, 5, 8, 9000), now: stats(12, 4, 9, 9100), want: figures(client.Flow{Sent: 2, Received: 9100}), news: true},
		{name: "after a move", begun: elsewhere(stats(10, 1, 8, 9000)), told: elsewhere(stats(10, 1, 8, 9000)), now: stats(12, 1, 10, 9500), want: figures(client.Flow{Sent: 2, Received: 500}), news: true},
	} {
		l := ledger{begun: tt.begun, told: tt.told, connect: 40 * ms}
		got, news := l.flow(tt.now, tt.over, tt.silent)
		if diff := cmp.Diff(tt.want, got); diff != "" || news != tt.news {
			t.Errorf("%s: news %v (-want +got):\n%s", tt.name, news, diff)
		}
	}
	// Right after a move, nothing was measured. quic-go first shows the figures of the
	// former network, then figures that it assumes.
	before := stats(10, 1, 8, 9000)
	l := ledger{begun: before, told: before}
	before.PacketsReceived++
	for name, s := range map[string]quic.ConnectionStats{
		"before":   before,
		"assumed":  {PacketsReceived: 9, SmoothedRTT: 100 * ms, LatestRTT: 100 * ms, MinRTT: 100 * ms},
		"restored": {PacketsReceived: 9, SmoothedRTT: 30 * ms, LatestRTT: 30 * ms, MinRTT: 100 * ms},
	} {
		if _, news := l.flow(s, false, false); news {
			t.Errorf("%s: a report without a round-trip time", name)
		}
		if f, news := l.flow(s, true, false); !news || f.RTT != 0 || f.MinRTT != 0 || f.RTTVar != 0 {
			t.Errorf("%s: the end without a round-trip time: %+v, %v", name, f, news)
		}
	}
}
