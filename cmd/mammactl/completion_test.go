package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// complete asks for completions as a shell does.
func complete(t *testing.T, control, path string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"MAMMA_CONTROL": control, "PATH": path}
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(k string) string { return env[k] }, location: time.UTC}
	if code := a.run(context.WithoutCancel(t.Context()), append([]string{cobra.ShellCompNoDescRequestCmd}, args...)); code != exitOK {
		t.Fatalf("%q: exit code %d, %s", args, code, &errs)
	}
	var list []string
	for l := range strings.Lines(out.String()) {
		if l = strings.TrimSpace(l); strings.HasPrefix(l, ":") {
			break // the directive
		} else if strings.HasPrefix(l, args[len(args)-1]) { // the shell offers only these
			list = append(list, l)
		}
	}
	return strings.Join(list, " ")
}

func TestCompletion(t *testing.T) {
	bin := t.TempDir()
	for name, mode := range map[string]os.FileMode{"rsync": 0o755, "rsync-ssl": 0o755, "rsyncd.conf": 0o644, "rs\x1b": 0o755} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	path := serve(t, newFake())
	const categories = "category=query category=bulktransfer category=controltraffic category=keepalives category=stream"
	for _, tt := range []struct{ args, want string }{
		{"get --intents category=", categories},
		{"run --intents category=", categories},
		{"run --intents-for rsync=filesize=1K,category=b", "rsync=filesize=1K,category=bulktransfer"},
		{"run --intents-for rs", "rsync= rsync-ssl="},
		{"run rsy", "rsync rsync-ssl"},
		{"run rsync fi", ""},
		{"explain --category b", "bulktransfer"},
		{"explain --bound 1", "10.64.3.9 192.168.0.23"},
		{"explain api", "api.example.org:443"},
		{"explain --require interface=w", "interface=wlan0 interface=wwan0"},
		{"get --prohibit cost=", "cost=expensive cost=free cost=metered"},
		{"decisions --network w", "wlan0 wwan0"},
		{"decisions --network 10", "10.64.0.0/10"},
		{"decisions --program c", "curl"},
		{"decisions --since 1", "1m 10m 1h 1d"},
		{"profile c", "cpu"},
		{"replay --policy earliest_arrival_c", "earliest_arrival_countconns"},
	} {
		if got := complete(t, path, bin, strings.Fields(tt.args)...); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
	for _, args := range []string{"decisions --network w", "decisions --program c", "explain --bound 1", "explain a"} {
		if got := complete(t, filepath.Join(bin, "none"), bin, strings.Fields(args)...); got != "" {
			t.Errorf("without mamma, %s: %q", args, got)
		}
	}
}

// Every flag has completions, unless its value is free text or a file.
func TestFlagsAreCompleted(t *testing.T) {
	free := map[string]bool{ // by command and flag
		"explain bitrate": true, "explain duration": true, "explain filesize": true, "get header": true, "get max-time": true,
		"decisions number": true, "watch number": true, "profile for": true, "replay seed": true, "replay differences": true,
	}
	files := map[string]bool{"control": true, "config": true, "output": true, "cacert": true, "socket": true, "rules": true}
	a := &app{getenv: func(string) string { return "" }}
	for _, c := range withPages(a.root()) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := c.Name() + " " + f.Name
			_, has := c.GetFlagCompletionFunc(f.Name)
			if f.NoOptDefVal == "" && !f.Hidden && !has && !free[name] && !files[f.Name] {
				t.Errorf("%s is not completed", name)
			}
			delete(free, name)
		})
	}
	for name := range free {
		t.Errorf("there is no %s", name)
	}
}
