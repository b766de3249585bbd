package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/socket-intents/mamma/socks"
)

func TestMistakesAreToldOnce(t *testing.T) {
	var out bytes.Buffer
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: metricMistakes})
	ms := newMistakes(slog.New(slog.NewTextHandler(&out, nil)), counter)
	const each = 3
	note := func(text string) {
		for range each {
			ms.note(&socks.Request{}, &mistake{text, errors.New("because")})
		}
	}
	note("category=film")
	if n := strings.Count(out.String(), "level=WARN"); n != 1 || !strings.Contains(out.String(), `intents="category=film" err=because`) {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	note(strings.Repeat("x", 64<<10))
	if n := out.Len(); n > 1000 {
		t.Errorf("a long text makes %d bytes", n)
	}
	for i := range 2 * maxMistakes {
		note(fmt.Sprintf("category=%d", i))
	}
	// One more line says that the messages end here.
	if n := strings.Count(out.String(), "level=WARN"); n != maxMistakes+1 {
		t.Errorf("%d lines, want %d", n, maxMistakes+1)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(counter)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := families[0].GetMetric()[0].GetCounter().GetValue(), float64(each*(2+2*maxMistakes)); got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
}
