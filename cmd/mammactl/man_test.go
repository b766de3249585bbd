package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManPages(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := mammactl(t.Context(), "", "man", dir); code != exitOK {
		t.Fatal(errs)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 23 {
		t.Errorf("pages: %v", files)
	}
	for _, name := range []string{"mammactl.1", "mammactl-explain.1"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(b))
	}
	if code, _, errs := mammactl(t.Context(), "", "man", filepath.Join(dir, "none")); code != exitError || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("code %d, %q", code, errs)
	}
}
