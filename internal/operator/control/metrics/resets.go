package metrics

import "github.com/prometheus/client_golang/prometheus"

// AddResets adds the number of connections that were ended because their network was down.
// read is called at each scrape.
func (m *Metrics) AddResets(read func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "mamma_connections_reset_total", Help: "Connections that were ended because their network was down (on_down).",
	}, func() float64 { return float64(read()) }))
}
