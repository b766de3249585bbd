package metrics

import "github.com/prometheus/client_golang/prometheus"

// Scopes counts the connections of programs that take no part in mamma, of all scopes
// together: names of scopes may be those of users and programs, which metrics do not tell.
type Scopes struct {
	Configured, Groups int  // scopes, and control groups that belong to one
	Attached           bool // connections are placed
	// These count since the daemon's start. Unbound are those of Left and Refused that could
	// not be bound to the network that was chosen; Unseen were placed without a record.
	Placed, Left, Refused, Unbound, Unseen uint64
}

var (
	scopesConfigured = gauge("scopes", "Scopes of the configuration.")
	scopesGroups     = gauge("scope_groups", "Control groups that belong to a scope.")
	scopesAttached   = gauge("scopes_attached", "1 if connections of scopes are placed, 0 if not.")
	scopeConnections = counter("scope_connections_total", "Connections of scopes by what was done with them: placed, left to the kernel, refused.", "result")
	scopeUnbound     = counter("scope_unbound_total", "Connections of scopes that could not be bound to the network that was chosen.")
	scopeUnseen      = counter("scope_unseen_total", "Connections of scopes without a record, as there were too many at once.")
)

// scoped exports what is known of scopes.
type scoped struct {
	read func() (Scopes, bool)
}

// AddScopes adds the figures of scopes. read is called at each scrape. The figures are
// missing while it returns false, as without scopes.
func (m *Metrics) AddScopes(read func() (Scopes, bool)) {
	m.registry.MustRegister(&scoped{read})
}

// Describe sends nothing, because a daemon without scopes has no figures of them.
func (s *scoped) Describe(chan<- *prometheus.Desc) {}

func (s *scoped) Collect(c chan<- prometheus.Metric) {
	n, ok := s.read()
	if !ok {
		return
	}
	attached := 0.0
	if n.Attached {
		attached = 1
	}
	out := sink(c)
	out.put(scopesConfigured, float64(n.Configured))
	out.put(scopesGroups, float64(n.Groups))
	out.put(scopesAttached, attached)
	out.put(scopeConnections, float64(n.Placed), "placed")
	out.put(scopeConnections, float64(n.Left), "left")
	out.put(scopeConnections, float64(n.Refused), "refused")
	out.put(scopeUnbound, float64(n.Unbound))
	out.put(scopeUnseen, float64(n.Unseen))
}
