package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
)

func TestPlaces(t *testing.T) {
	const group = "/sys/fs/cgroup/system.slice/backup.service"
	for _, test := range []struct {
		name   string
		change func(s *control.Scopes)
		scope  string
		want   string // part of the error; "": placed
	}{
		{"placed", func(*control.Scopes) {}, "backup", ""},
		{"unknown", func(*control.Scopes) {}, "backups", "no such scope"},
		{"another group", func(s *control.Scopes) { s.Scopes[0].Groups = []string{"/system.slice/other.service"} }, "backup", "does not belong to it"},
		{"another scope's group", func(*control.Scopes) {}, "desktop", "does not belong to it"},
		{"no group yet", func(s *control.Scopes) { s.Scopes[0].Groups = nil }, "backup", "does not belong to it"},
		{"detached", func(s *control.Scopes) { s.Detached = true }, "backup", "--detach"},
		{"an error", func(s *control.Scopes) { s.Error = known("no room") }, "backup", "no room"},
		{"nothing attached", func(s *control.Scopes) { s.Hooks, s.Root = nil, nil }, "backup", "nothing is attached"},
		{"without datagrams", func(s *control.Scopes) { s.MissingHooks = []string{"sendmsg4"} }, "backup", "sendmsg4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scopes()
			s.MissingHooks = nil
			test.change(&s)
			err := places(&s, test.scope, func(dir string) bool { return dir == group })
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// What stays so is said at once; else the time is over first.
func TestWaitForScope(t *testing.T) {
	if _, err := ownGroup(); err != nil {
		t.Skip("needs cgroup2: ", err)
	}
	own, err := ownGroup()
	if err != nil || own(t.TempDir()) {
		t.Fatalf("a directory elsewhere is the own group (%v)", err)
	}
	socket := serve(t, newFake())
	for _, test := range []struct {
		name, socket string
		args         []string
		code         int
		want         string
	}{
		{"an unknown scope", socket, []string{"--wait", "none"}, exitError, `scope "none": the configuration has no such scope`},
		{"not in time", socket, []string{"--wait", "desktop", "--timeout", "1"}, exitError, "not within 1s: the kernel lacks sendmsg4, sendmsg6"},
		{"no daemon", filepath.Join(t.TempDir(), "none.sock"), []string{"--wait", "desktop", "--timeout", "1"}, exitNoDaemon, "no mamma answers"},
		{"with --detach", socket, []string{"--wait", "desktop", "--detach"}, exitUsage, "none of the others can be"},
		{"no time", socket, []string{"--wait", "desktop", "--timeout", "0"}, exitUsage, "must be from 1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, out, errs := mammactl(t.Context(), test.socket, append([]string{"scopes"}, test.args...)...)
			if code != test.code || out != "" || !strings.Contains(errs, test.want) {
				t.Errorf("exit code %d, want %d; %q, %q", code, test.code, out, errs)
			}
		})
	}
}

// Whoever may not look at the scopes waits for nothing.
func TestWaitForScopeIsForbidden(t *testing.T) {
	if _, err := ownGroup(); err != nil {
		t.Skip("needs cgroup2: ", err)
	}
	path := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":"only root","code":"forbidden"}`))
	}))
	if code, _, errs := mammactl(t.Context(), path, "scopes", "--wait", "backup", "--timeout", "1d"); code != exitError || !strings.Contains(errs, "only root") {
		t.Errorf("exit code %d: %q", code, errs)
	}
}
