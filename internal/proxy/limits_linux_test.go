package proxy

import (
	"math"
	"testing"
)

func TestConnectionsByFiles(t *testing.T) {
	for _, tt := range []struct {
		files uint64
		want  int
	}{{0, 8}, {1, 8}, {16, 8}, {64, 16}, {100, 25}, {255, 64}, {256, 64}, {1024, 256}, {65_536, 21_760}, {math.MaxUint64, 357_913_856}} {
		if got := byFiles(tt.files); got != tt.want {
			t.Errorf("%d files: %d connections, want %d", tt.files, got, tt.want)
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
