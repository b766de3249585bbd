package service

import (
	"bytes"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		own    bool // the program has its own flag -h
		args   []string
		helped bool
		status int
		out    string
	}{
		{"nothing", false, nil, false, StatusOK, ""},
		{"help", false, []string{"--help"}, true, StatusOK, "before\n"},
		{"help in short", false, []string{"-h"}, true, StatusOK, "before\n"},
		{"-h of the program's own", true, []string{"-h", "x"}, false, StatusOK, ""},
		{"help beside -h", true, []string{"--help"}, true, StatusOK, "before\n"},
		{"unknown flag", false, []string{"--nope"}, false, StatusUsage, ""},
		{"flag without its value", false, []string{"--name"}, false, StatusUsage, ""},
	} {
		fs := NewFlags("program")
		fs.String("zone", "", "the first")
		short := ""
		if tt.own {
			short = "h"
		}
		fs.StringP("name", short, "", "the second")
		fs.Bool("switch", false, "the third")
		var out, errs bytes.Buffer
		helped, err := Parse(fs, tt.args, &out, "before\n", "after\n")
		if status := ExitStatus("program", &errs, err); helped != tt.helped || status != tt.status || !strings.HasPrefix(out.String(), tt.out) || (out.Len() > 0) != tt.helped {
			t.Errorf("%s: helped %v, exit status %d, printed %q, %q", tt.name, helped, status, &out, &errs)
		}
		text := out.String()
		zone, name, plain := strings.Index(text, "--zone"), strings.Index(text, "--name"), strings.Index(text, "--switch")
		if helped && (zone < 0 || name < zone || plain < name || strings.Contains(text, "--switch[") || !strings.HasSuffix(text, "after\n")) {
			t.Errorf("%s: printed\n%s", tt.name, text)
		}
	}
}
