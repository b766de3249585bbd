package proxy

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/socks"
)

// Names of the metrics, for dashboards.
const (
	metricConnections = "muacsocksd_connections"
	metricRequests    = "muacsocksd_requests_total"
	metricRejected    = "muacsocksd_rejected_total"
	metricSetUp       = "muacsocksd_setup_seconds"
	metricSent        = "muacsocksd_sent_bytes_total"
	metricReceived    = "muacsocksd_received_bytes_total"
	metricManager     = "muacsocksd_manager_up"
	metricMistakes    = "muacsocksd_mistaken_intents_total"
	metricFragments   = "muacsocksd_dropped_fragments_total"
)

// maxPaths bounds the label values of traffic: a host has few addresses at a
// time, but in months may have many.
const maxPaths = 64

// metrics are the metrics for Prometheus.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	rejected prometheus.Counter
	mistakes prometheus.Counter
	setUp    prometheus.Histogram
	traffic  *traffic
}

// newMetrics makes the metrics. conns returns the number of connections, and manager
// whether the Multi Access Manager takes part.
func newMetrics(conns func() int, manager func() bool) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricRequests, Help: "Requests that have ended, by what was replied."}, []string{"protocol", "command", "reply"}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Name: metricRejected, Help: "Clients that made no request: too many, no SOCKS or HTTP, a wrong password, nothing in time."}),
		mistakes: prometheus.NewCounter(prometheus.CounterOpts{Name: metricMistakes, Help: "Requests whose client stated intents that make no sense."}),
		setUp: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metricSetUp, Help: "Time from a request to the connection to its destination.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // to 16 s
		}),
		traffic: &traffic{counts: map[pathLabels]*volume{}, open: map[*socks.Session]volume{}},
	}
	m.registry.MustRegister(m.requests, m.rejected, m.mistakes, m.setUp, m.traffic,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricConnections, Help: "Clients that are connected."}, func() float64 { return float64(conns()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricManager, Help: "Whether the Multi Access Manager answered when it was last asked."}, func() float64 {
			if manager() {
				return 1
			}
			return 0
		}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return httpserver.Metrics(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: 10 * time.Second}))
}

func (m *metrics) established(ss *socks.Session) {
	m.setUp.Observe(ss.SetUp.Seconds())
	m.traffic.begin(ss)
}

func (m *metrics) ended(ss *socks.Session, reply socks.Reply) {
	r := ss.Request
	command := r.Command.String()
	switch r.Command {
	case socks.CommandConnect, socks.CommandBind, socks.CommandUDPAssociate, socks.CommandResolve, socks.CommandResolvePTR:
	default:
		command = "other" // otherwise a client could make 256 labels
	}
	m.requests.WithLabelValues(r.Protocol.String(), command, reply.String()).Inc()
	m.traffic.end(ss)
}

// pathLabels name the network over which bytes went.
type pathLabels struct{ device, source string }

func pathOf(ss *socks.Session) pathLabels {
	d, ok := ss.Request.Data.(*details)
	if !ok {
		return pathLabels{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := pathLabels{device: strings.ToValidUTF8(d.device, "\ufffd")} // an interface may have any name, but a label not
	if d.source.IsValid() {
		l.source = d.source.String()
	}
	return l
}

// traffic counts bytes by network, and what was dropped.
type traffic struct {
	mu     sync.Mutex
	counts map[pathLabels]*volume
	open   map[*socks.Session]volume // what was already counted of each session
	// fragments counts those of datagrams in all sessions.
	fragments int64
}

type volume struct{ sent, received, fragments int64 }

var (
	descSent     = prometheus.NewDesc(metricSent, "Bytes from clients to destinations.", []string{"interface", "source"}, nil)
	descReceived = prometheus.NewDesc(metricReceived, "Bytes from destinations to clients.", []string{"interface", "source"}, nil)

	descFragments = prometheus.NewDesc(metricFragments, "Fragments of datagrams from clients of UDP associations. They are dropped.", nil, nil)
)

func (t *traffic) begin(ss *socks.Session) {
	if ss.Request.Command == socks.CommandUDPAssociate {
		detailsOf(ss.Request).moving = func() { t.see(ss) }
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[ss] = volume{}
}

func (t *traffic) end(ss *socks.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.countLocked(ss)
	delete(t.open, ss)
}

// see counts the new bytes of a session. Call it before the session's network changes.
func (t *traffic) see(ss *socks.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.countLocked(ss)
}

func (t *traffic) countLocked(ss *socks.Session) {
	seen, ok := t.open[ss]
	if !ok {
		return // the request was not served
	}
	now := volume{ss.Sent(), ss.Received(), ss.Fragments()}
	t.open[ss] = now
	t.fragments += now.fragments - seen.fragments
	l := pathOf(ss)
	if t.counts[l] == nil && len(t.counts) >= maxPaths {
		l = pathLabels{"other", "other"}
	}
	n := t.counts[l]
	if n == nil {
		n = &volume{}
		t.counts[l] = n
	}
	n.sent += now.sent - seen.sent
	n.received += now.received - seen.received
}

// Describe and Collect make traffic a prometheus.Collector.
func (t *traffic) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSent
	ch <- descReceived
	ch <- descFragments
}

// Collect also counts the bytes of open sessions.
func (t *traffic) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	for ss := range t.open {
		t.countLocked(ss)
	}
	counts := make(map[pathLabels]volume, len(t.counts))
	for l, n := range t.counts {
		counts[l] = *n
	}
	fragments := t.fragments
	t.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descFragments, prometheus.CounterValue, float64(fragments))
	for l, n := range counts {
		ch <- prometheus.MustNewConstMetric(descSent, prometheus.CounterValue, float64(n.sent), l.device, l.source)
		ch <- prometheus.MustNewConstMetric(descReceived, prometheus.CounterValue, float64(n.received), l.device, l.source)
	}
}
