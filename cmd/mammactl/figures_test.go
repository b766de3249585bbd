package main

import (
	"math"
	"testing"
)

func TestFigures(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{msec(nil), "-"}, {msec(known(12.14)), "12.1"}, {took(0.031), "0.03 ms"}, {took(1.5), "1.5 ms"},
		{span(39), "39 ms"}, {span(164.2), "164 ms"}, {span(124600), "124.6 s"}, {span(4e6), "1 h 6 min"}, {span(math.MaxFloat64), "-"},
		{ago(100), "0.1 s"}, {ago(42e3), "42 s"}, {ago(125e3), "2 min"}, {ago(76 * 3600e3), "3 d 4 h"},
		{long(59e3), "59 s"}, {long(61e3), "1 min 1 s"}, {mbps(known(125000.0)), "1.0"}, {mbps(nil), "-"},
		{byteSize(uint64(0)), "0 B"}, {byteSize(uint64(999)), "999 B"}, {byteSize(uint64(1000)), "1.0 kB"}, {byteSize(5.3e9), "5.3 GB"}, {byteSize(uint64(math.MaxUint64)), "18446744.1 TB"},
		{group(0), "0"}, {group(1204), "1 204"}, {group(math.MaxUint64), "18 446 744 073 709 551 615"},
		{byLeases(1), "1 more connection by their leases"}, {byLeases(1204), "1 204 more connections by their leases"},
		{clean("a\x1b[2Jb\n\u202ec\xffé"), "a?[2Jb??c?é"}, {cleanLines("a\tb\nc"), "a    b\nc"},
		{spark(nil, 3, true), "   "}, {spark([]float64{0, 0}, 3, false), " ▁▁"}, {spark([]float64{1, -1, 4, 8}, 3, false), " ▅█"},
		{spark([]float64{10, 10, -1, 12}, 4, true), "▃▃ ▄"}, {spark([]float64{0}, 1, true), "▁"}, {spark([]float64{10, 100}, 2, true), "▁█"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
