package proxy

import (
	"math"
	"os"
	"path/filepath"
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

func TestMemoryLimit(t *testing.T) {
	type files map[string]string
	for _, tt := range []struct {
		name, self string
		files      files
		want       int64
	}{
		{"none", "0::/a/b\n", files{"a/b/memory.max": "max\n"}, math.MaxInt64},
		{"not to be read", "0::/a/b\n", nil, math.MaxInt64},
		{"its own", "0::/a/b\n", files{"a/b/memory.max": "67108864\n", "a/memory.max": "max\n"}, 64 << 20},
		{"of a group above", "0::/a/b\n", files{"a/b/memory.max": "67108864\n", "a/memory.max": "1048576\n"}, 1 << 20},
		{"of a namespace", "0::/\n", files{"memory.max": "67108864\n"}, 64 << 20},
		{"version 1", "3:cpu,cpuacct:/x\n2:memory:/x\n0::/\n", files{"memory/x/memory.limit_in_bytes": "67108864\n", "cpu/x/memory.limit_in_bytes": "1\n"}, 64 << 20},
		{"outside of the namespace", "0::/../x\n", files{"x/memory.max": "67108864\n"}, 64 << 20},
		{"rubbish", "0\n::\n0::/a\n", files{"a/memory.max": "-1\n"}, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			self := filepath.Join(root, "self")
			if err := os.WriteFile(self, []byte(tt.self), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := memoryLimit(self, root); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}
