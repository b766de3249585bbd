package limits

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

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
			if got := memoryOf(self, root); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

// The host's limits are plausible numbers.
func TestOfThisHost(t *testing.T) {
	if n := Files(); n < 8 {
		t.Errorf("%d descriptors", n)
	}
	if n := Host(); n < 16<<20 {
		t.Errorf("%d bytes of memory", n)
	}
	if n := Memory(); n < 1<<20 {
		t.Errorf("%d bytes allowed", n)
	}
}
