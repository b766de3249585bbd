#!/usr/bin/env bash
# github.com/prometheus/client_golang v1.25.0, Go 1.26
#
# Expected: a counter that the registry has taken is a counter for each reader. What is
# scraped is the same in the text format and in OpenMetrics, which the server chooses by
# the reader's Accept header, as far as both can say it.
#
# Seen: in OpenMetrics a counter whose name does not end in _total is of type unknown:
# Prometheus, which asks for OpenMetrics where that is on, keeps no type for link_bytes,
# and curl shows a counter. That of a counter with _total is a metric family without the
# suffix.
#   text: # TYPE link_bytes counter
#   text: # TYPE link_packets_total counter
#   OpenMetrics: # TYPE link_bytes unknown
#   OpenMetrics: # TYPE link_packets counter
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/prometheus/client_golang/prometheus/promhttp@v1.25.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"link_bytes", "link_packets_total"} {
		registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "What was sent."}))
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for _, reader := range []struct{ name, accept string }{{"text", "text/plain"}, {"OpenMetrics", "application/openmetrics-text; version=1.0.0"}} {
		ask := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		ask.Header.Set("Accept", reader.accept)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, ask)
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "# TYPE") {
				fmt.Printf("%s: %s\n", reader.name, lines.Text())
			}
		}
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'text: # TYPE link_bytes counter
text: # TYPE link_packets_total counter
OpenMetrics: # TYPE link_bytes unknown
OpenMetrics: # TYPE link_packets counter'
echo "as described"
