package client

import (
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
)

func TestPatience(t *testing.T) {
	type answer struct{ at, took time.Duration }
	for _, tt := range []struct {
		name    string
		answers []answer
		at      time.Duration
		allowed time.Duration
		want    time.Duration
	}{
		{"first contact", nil, 0, 500 * ms, 500 * ms},
		{"first contact of the attentive", nil, 0, 250 * ms, 250 * ms},
		{"quick", []answer{{0, ms / 3}}, 1 * time.Second, 500 * ms, 50 * ms},
		{"less allowed than the least", []answer{{0, ms / 3}}, 0, 20 * ms, 20 * ms},
		{"busy", []answer{{0, 5 * ms}}, 0, 500 * ms, 80 * ms},
		{"slowest of several", []answer{{0, ms}, {0, 10 * ms}, {0, 2 * ms}}, 0, 500 * ms, 160 * ms},
		{"no more than allowed", []answer{{0, 100 * ms}}, 0, 250 * ms, 250 * ms},
		{"in the next span", []answer{{29 * time.Second, 10 * ms}}, 59 * time.Second, 500 * ms, 160 * ms},
		{"after two spans", []answer{{0, 10 * ms}, {31 * time.Second, ms}}, 61 * time.Second, 500 * ms, 50 * ms},
		{"after a long pause", []answer{{0, 10 * ms}}, time.Hour, 500 * ms, 50 * ms},
	} {
		start := time.Unix(1_700_000_000, 0)
		var p patience
		for _, a := range tt.answers {
			p.answered(a.took, start.Add(a.at))
		}
		if got := p.wait(tt.allowed, start.Add(tt.at)); got != tt.want {
			t.Errorf("%s: waits %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAllowed(t *testing.T) {
	var s intent.Set
	for _, tt := range []struct {
		intents intent.Set
		want    time.Duration
	}{
		{s, 500 * time.Millisecond},
		{s.WithFileSize(5), 500 * time.Millisecond},
		{s.WithCategory(intent.CategoryQuery), 250 * time.Millisecond},
		{s.WithCategory(intent.CategoryStream), 250 * time.Millisecond},
		{s.WithCategory(intent.CategoryBulkTransfer), time.Second},
		{s.WithTimeliness(intent.TimelinessInteractive).WithCategory(intent.CategoryBulkTransfer), 250 * time.Millisecond},
		{s.WithTimeliness(intent.TimelinessStreaming), 250 * time.Millisecond},
		{s.WithTimeliness(intent.TimelinessTransfer), time.Second},
		{s.WithTimeliness(intent.TimelinessBackgroundTraffic).WithCategory(intent.CategoryQuery), 2 * time.Second},
	} {
		if got := allowed(tt.intents); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.intents, got, tt.want)
		}
	}
}
