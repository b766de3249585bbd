package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/socket-intents/mamma/internal/network/mptcp"
)

var (
	mptcpOpened   = counter("mptcp_connections_opened_total", "MPTCP connections that the host has asked for.")
	mptcpAccepted = counter("mptcp_connections_accepted_total", "MPTCP connections that peers have asked for.")
	mptcpNoPeer   = counter("mptcp_peer_without_total", "Connections that are plain TCP as the peer does not speak MPTCP.")
	mptcpFallback = counter("mptcp_fallbacks_total", "Connections that became plain TCP, by the kernel's name of the reason.", "reason")
	mptcpJoins    = counter("mptcp_subflows_requested_total", "Subflows that the host has asked for.")
)

// multipath exports the kernel's MPTCP counters.
type multipath struct {
	read func() (mptcp.Counters, error)
}

// AddMPTCP adds the kernel's MPTCP counters. read is called at each scrape. After an
// error the counters are missing.
func (m *Metrics) AddMPTCP(read func() (mptcp.Counters, error)) {
	m.registry.MustRegister(&multipath{read})
}

// Describe sends nothing, because a kernel without MPTCP has no counters.
func (m *multipath) Describe(chan<- *prometheus.Desc) {}

func (m *multipath) Collect(c chan<- prometheus.Metric) {
	n, err := m.read()
	if err != nil {
		return
	}
	out := sink(c)
	out.put(mptcpOpened, float64(n.Opened))
	out.put(mptcpAccepted, float64(n.Accepted))
	out.put(mptcpNoPeer, float64(n.NoPeer))
	out.put(mptcpJoins, float64(n.JoinsSent))
	for reason, times := range n.Fallbacks {
		out.put(mptcpFallback, float64(times), reason)
	}
}
