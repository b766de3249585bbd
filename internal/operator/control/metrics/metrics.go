// Package metrics exports what the daemon knows to Prometheus.
//
// Names end in their unit; ratios are 0 to 1. Prefixes and interfaces are the only
// labels that depend on the host. At most maxSeries of each are exported, so that a
// host whose interfaces come and go does not make a scrape grow without bound. Nothing
// is told about single requests or users, because anybody who reaches the listener may
// read the metrics.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// maxSeries bounds the prefixes, and also the interfaces, in one scrape.
const maxSeries = 256

// Metrics collects the metrics. Observe must be called for each decision. Everything
// else is read at each scrape.
type Metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	duration  prometheus.Histogram
	declined  prometheus.Counter
	leased    *prometheus.CounterVec
	// byKind holds the counters for each kind and result. They are looked up once,
	// because a lookup costs more than counting.
	byKind [4][numResults]prometheus.Counter
}

// The results of a decision.
const (
	resultPrefix   = iota // a prefix was chosen
	resultReuse           // an idle connection
	resultNone            // no preference
	resultFallback        // the policy could not be asked, or its answer was not used
	numResults
)

var results = [numResults]string{"prefix", "reuse", "none", "fallback"}

// New makes the Metrics of a daemon. view is called at each scrape and must not block.
// clients returns the number of connected clients, plain the dials without the daemon;
// both may be nil.
func New(view func() *mam.View, clients func() int, plain func() mam.PlainDials, version string, started time.Time) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mamma_decisions_total", Help: "Decisions by kind of request and by result.",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mamma_decision_duration_seconds", Help: "Time from a request's arrival to the policy's answer.",
			// Decisions usually take microseconds. After 50 ms, clients of a daemon
			// that is usually quick give up.
			Buckets: []float64{10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 50e-3, 1},
		}),
	}
	m.declined = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mamma_reported_plain_tcp_total", Help: "Connections that became plain TCP although MPTCP was asked for, as clients report.",
	})
	m.leased = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mamma_leased_connections_total", Help: "Connections by the lease of a decision, without a question, by the kind of its request and by its result, as clients report.",
	}, []string{"kind", "result"})
	for _, k := range []policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose} {
		for r, name := range results {
			m.byKind[k][r] = m.decisions.WithLabelValues(k.String(), name)
		}
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mamma_build_info", Help: "1, with what the daemon was built from.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	m.registry.MustRegister(
		m.decisions, m.duration, m.declined, m.leased, info, &state{view: view, clients: clients, plain: plain, started: started},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Observe counts a decision. It is quick, and may be called on the request path.
func (m *Metrics) Observe(r *mam.Record) {
	m.duration.Observe(r.Took.Seconds())
	if int(r.Kind) >= len(m.byKind) || r.Kind == policy.Resolve { // resolving a name is not a decision
		return
	}
	m.byKind[r.Kind][resultOf(r)].Inc()
}

// resultOf returns the result of a decision.
func resultOf(r *mam.Record) int {
	switch {
	case r.Fallback != "":
		return resultFallback
	case r.Reused:
		return resultReuse
	case r.Decision.Prefix != nil:
		return resultPrefix
	}
	return resultNone
}

// Leased counts connections that a client has made by a lease. It is quick.
func (m *Metrics) Leased(r *mam.Record, uses uint32) {
	m.leased.WithLabelValues(r.Kind.String(), results[resultOf(r)]).Add(float64(uses))
}

// Reported counts a client's report on a decision. It is quick.
func (m *Metrics) Reported(r *mam.Record) {
	if o := r.Outcome; o != nil && o.Errno == 0 && o.PlainTCP {
		m.declined.Inc()
	}
}

// Handler answers scrapes, two at a time. More would only wait for each other.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: 10 * time.Second, Registry: m.registry})
}
