package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// As a user of its own, mamma places connections with CAP_BPF, CAP_PERFMON and
// CAP_NET_ADMIN, and keeps its links. It gives the first two up and can be detached and attached
// again without them. Without one of them it says at the start which one is missing, and serves.
func TestScopesRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become a user with capabilities")
	}
	const user = 65534
	for _, tt := range []struct {
		name    string
		rights  []uintptr
		missing string // "": connections are placed
	}{
		{"all", []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}, ""},
		{"CAP_NET_ADMIN alone", []uintptr{unix.CAP_NET_ADMIN}, "CAP_BPF and CAP_PERFMON are missing"},
		{"no CAP_NET_ADMIN", []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, "CAP_NET_ADMIN is missing"},
		{"no CAP_PERFMON", []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN}, "CAP_PERFMON is missing"},
		{"none", nil, "all are missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScopeStage(t, twoScopes)
			dir := filepath.Dir(s.socket)
			if err := filepath.WalkDir(s.root.Path, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					err = os.Chmod(path, 0o755) //nolint:gosec // as below /sys/fs/cgroup of any host
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{dir, s.conf} {
				if err := os.Chown(path, user, user); err != nil {
					t.Fatal(err)
				}
			}
			for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
				if err := os.Chmod(up, 0o755); err != nil { //nolint:gosec // the user must get there
					t.Fatal(err)
				}
			}
			if err := os.Chown(fmt.Sprintf("/proc/self/fd/%d", s.pins.Fd()), user, user); err != nil { // it is an O_PATH descriptor
				t.Fatal(err)
			}
			cmd := exec.Command(filepath.Join(bin, "mamma"), "--socket", s.socket, s.conf)
			cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Join(dir, "state"))
			cmd.ExtraFiles = []*os.File{s.pins}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, AmbientCaps: tt.rights}
			p := stage.Launch(t, s.bed.Client, cmd)
			stage.Until(t, "mamma serves", func() bool {
				select {
				case <-p.Exited():
					t.Fatalf("mamma ended:\n%s%s", p.Out, p.Log)
				default:
				}
				log := p.Log.String()
				return strings.Contains(log, "msg=serving") && (strings.Contains(log, "placing connections of scopes") || strings.Contains(log, "are not placed"))
			})
			log := p.Log.String()
			if tt.missing == "" {
				if !strings.Contains(log, "kept=true") {
					t.Errorf("the programs are not kept:\n%s", log)
				}
				placed := map[*groupbed.Group]string{s.backup: "wwan0", s.web: "wlan0"}
				s.expect("placed", placed)
				onlyNetAdmin(t, p.Cmd.Process.Pid)
				s.ctl("scopes", "--detach")
				s.expect("detached", map[*groupbed.Group]string{s.backup: "wlan0"})
				s.ctl("reload")
				s.expect("attached again, without the right to load", placed)
				onlyNetAdmin(t, p.Cmd.Process.Pid)
				return
			}
			if !strings.Contains(log, tt.missing) {
				t.Errorf("the log does not say %q:\n%s", tt.missing, log)
			}
			if shown := s.ctl("scopes"); !strings.Contains(shown, tt.missing) {
				t.Errorf("mammactl scopes does not say %q:\n%s", tt.missing, shown)
			}
			s.expect("not placed", map[*groupbed.Group]string{s.backup: "wlan0", s.web: "wlan0"})
		})
	}
}

// onlyNetAdmin checks that no thread of a process has a capability besides CAP_NET_ADMIN, can get
// one, or can pass one on.
func onlyNetAdmin(t *testing.T, pid int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			_, rest, _ := strings.Cut(string(text), set+":")
			value, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
			has, err := strconv.ParseUint(value, 16, 64)
			if err != nil || has&^(1<<unix.CAP_NET_ADMIN) != 0 {
				t.Errorf("%s: %s %s, %v", path, set, value, err)
			}
		}
	}
}
