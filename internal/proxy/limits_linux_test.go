package proxy

import (
	"math"
	"testing"
)

func TestConnectionsByFiles(t *testing.T) {
	for _, tt := range []struct {
		files uint64
		want  int
	}{{0, 8}, {1, 8}, {16, 8}, {64, 24}, {100, 37}, {255, 96}, {256, 96}, {1024, 384}, {20_512, 10_128}, {math.MaxUint64, 1<<29 - 128}} {
		if got := byFiles(tt.files); got != tt.want {
			t.Errorf("%d files: %d connections, want %d", tt.files, got, tt.want)
		}
		if got := forConns(tt.files); got < 2*tt.want || got > 2*tt.want+1 {
			t.Errorf("%d files: %d of them for %d connections", tt.files, got, tt.want)
		}
	}
}

func TestConnectionsByMemory(t *testing.T) {
	for _, tt := range []struct {
		bytes int64
		want  int
	}{{0, 8}, {1 << 20, 8}, {32 << 20, 8}, {64 << 20, 1024}, {256 << 20, 7168}, {math.MaxInt64, 1 << 30}} {
		if got := byMemory(tt.bytes); got != tt.want {
			t.Errorf("%d bytes: %d connections, want %d", tt.bytes, got, tt.want)
		}
	}
}
