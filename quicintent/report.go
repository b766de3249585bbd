package quicintent

import (
	"math"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
)

// reportEvery is how often the manager is told how a connection fares, while packets come.
const reportEvery = time.Second

// ledger is what the manager was told of a connection on its present network.
type ledger struct {
	begun   quic.ConnectionStats // when the connection came to this network
	told    quic.ConnectionStats // at the report before
	connect time.Duration        // until the handshake was complete; 0: not known, or it was on another network
}

// measured tells whether the round-trip times are of packets over the present network.
// Before the first measurement, quic-go shows an assumption: the same as latest and as
// smoothed time, without deviation. The first measurement brings a deviation. After a
// switch to another path, the figures of the path before are shown until the next event.
func (l *ledger) measured(s *quic.ConnectionStats) bool {
	if s.MeanDeviation == 0 && s.LatestRTT == s.SmoothedRTT {
		return false
	}
	b := &l.begun
	return s.SmoothedRTT != b.SmoothedRTT || s.LatestRTT != b.LatestRTT || s.MinRTT != b.MinRTT || s.MeanDeviation != b.MeanDeviation
}

// report tells the manager how the connection fares on its present network.
func (m *mover) report(stats quic.ConnectionStats, over, silent bool) {
	f, news := m.ledger.flow(stats, over, silent)
	m.ledger.told = stats
	if news {
		f.Busy = m.now.socket.silence.busyFor()
		m.now.socket.Report(m.remote, f)
	}
}

// flow makes a report of the figures, and tells whether there is something to report.
func (l *ledger) flow(stats quic.ConnectionStats, over, silent bool) (f client.Flow, news bool) {
	f = client.Flow{
		RTT: stats.SmoothedRTT, MinRTT: stats.MinRTT, RTTVar: stats.MeanDeviation,
		Sent: since(l.told.PacketsSent, stats.PacketsSent), Lost: since(l.told.PacketsLost, stats.PacketsLost),
		Over: over, Silent: silent, Connect: l.connect,
	}
	if stats.BytesReceived > l.begun.BytesReceived {
		f.Received = stats.BytesReceived - l.begun.BytesReceived
	}
	if silent {
		// Whether the last packets are lost does not matter: Silent says what has happened.
		f.Sent, f.Lost = 0, 0
	}
	measured := l.measured(&stats)
	if !measured {
		f.RTT, f.MinRTT, f.RTTVar = 0, 0, 0
	}
	// Without a packet that has come since there is nothing new.
	return f, over || silent || stats.PacketsReceived > l.told.PacketsReceived && measured
}

// since is by how much a counter has risen. That of lost packets falls where one comes after
// all.
func since(before, now uint64) uint32 {
	if now <= before {
		return 0
	}
	return uint32(min(now-before, math.MaxUint32))
}
