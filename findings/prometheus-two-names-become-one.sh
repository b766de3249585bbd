#!/usr/bin/env bash
# github.com/prometheus/client_golang v1.25.0 with github.com/prometheus/common v0.74.0,
# Go 1.26
#
# Expected: two metrics with different names that a registry has taken without an error
# are two in what a scrape gets. A name with a dot, valid since the UTF-8 names, is
# refused for a reader that does not understand it, or told apart in another way.
#
# Seen: for a reader that asks for plain text (curl, and each Prometheus before 3) a dot
# becomes an underscore, after the check for names that occur twice. "link.bytes" and
# "link_bytes" come out as one name with two HELP and TYPE lines and two values; the
# library's own parser refuses the whole page, with all other metrics on it.
#   registered: <nil> <nil>
#   link_bytes 1
#   link_bytes 2
#   expfmt: second HELP line for metric name "link_bytes"
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/prometheus/client_golang@v1.25.0 github.com/prometheus/common@v0.74.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func main() {
	r := prometheus.NewRegistry()
	dot := prometheus.NewGauge(prometheus.GaugeOpts{Name: "link.bytes", Help: "One."})
	line := prometheus.NewGauge(prometheus.GaugeOpts{Name: "link_bytes", Help: "Another."})
	fmt.Println("registered:", r.Register(dot), r.Register(line))
	dot.Set(1)
	line.Set(2)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	page := w.Body.Bytes()
	for l := range strings.Lines(string(page)) {
		if l[0] != '#' {
			fmt.Print(l)
		}
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	_, err := p.TextToMetricFamilies(bytes.NewReader(page))
	text := fmt.Sprint(err)
	fmt.Println("expfmt:", text[strings.LastIndex(text, ": ")+2:])
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'registered: <nil> <nil>
link_bytes 1
link_bytes 2
expfmt: second HELP line for metric name "link_bytes"'
echo "as described"
