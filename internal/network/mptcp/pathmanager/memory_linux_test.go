package pathmanager

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// recall opens the memory in a directory. It fails on any complaint but the wanted one.
func recall(t *testing.T, dir, complaint string) *memory {
	t.Helper()
	var log strings.Builder
	m := openMemory(dir, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { _ = m.close() })
	if m.path == "" && strings.Contains(log.String(), "5.14") {
		t.Skip("namespaces cannot be told apart: needs SO_NETNS_COOKIE, Linux 5.14")
	}
	if complaint == "" && log.Len() > 0 || !strings.Contains(log.String(), complaint) {
		t.Errorf("logged %q, want %q", log.String(), complaint)
	}
	return m
}

// crash ends a run as SIGKILL does, so that the file stays.
func (m *memory) crash() { _ = m.close() }

func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep")
	m := recall(t, dir, "")
	if !m.now.empty() {
		t.Errorf("remembers %+v to begin with", m.now)
	}
	// If there is nothing to remember, there is no file.
	m.note(func(*remembered) {})
	if _, err := os.Stat(m.path); err == nil {
		t.Error("a file without anything to say")
	}
	m.note(func(r *remembered) {
		r.Endpoints = []ownEndpoint{{ID: 1, Addr: netip.MustParseAddr("10.1.0.2"), Flags: mptcp.FlagSubflow, Index: 3}}
		r.Limits = &changedLimits{Before: mptcp.Limits{Subflows: 2}, Set: mptcp.Limits{Subflows: 4}}
		r.Selected = &changedSelector{Before: mptcp.InKernel, Set: mptcp.Userspace}
	})
	// Another daemon in the same namespace leaves the memory alone.
	if other := recall(t, dir, "another mamma"); other.path != "" || !other.now.empty() {
		t.Errorf("the second one has %q, %+v", other.path, other.now)
	}
	m.crash()
	next := recall(t, dir, "")
	if diff := cmp.Diff(m.now, next.now, comparer); diff != "" {
		t.Errorf("after a crash (-want +got)\n%s", diff)
	}
	next.note(func(r *remembered) { r.Endpoints, r.Limits, r.Selected = nil, nil, nil })
	if _, err := os.Stat(m.path); err == nil {
		t.Error("the file stays after everything was taken back")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "mptcp-*.json*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	next.crash()
	if last := recall(t, dir, ""); !last.now.empty() {
		t.Errorf("remembers %+v at last", last.now)
	}
}

// A file of another run of the kernel, or of another namespace, does not count.
func TestMemoryOfAnother(t *testing.T) {
	for _, edit := range []func(*remembered){
		func(r *remembered) { r.Boot = "another" },
		func(r *remembered) { r.Namespace++ },
	} {
		dir := t.TempDir()
		m := recall(t, dir, "")
		m.note(func(r *remembered) {
			r.Endpoints = []ownEndpoint{{ID: 1, Addr: netip.MustParseAddr("10.1.0.2")}}
			edit(r)
		})
		m.crash()
		next := recall(t, dir, "")
		if !next.now.empty() || next.now.Boot != ownfile.BootID() {
			t.Errorf("remembers %+v", next.now)
		}
		if _, err := os.Stat(m.path); err == nil && m.now.Boot == "another" {
			t.Error("a file of another boot stays")
		}
	}
}

// Daemons in different namespaces share only the directory.
func TestMemoryOfNeighbours(t *testing.T) {
	dir := t.TempDir()
	for ns := range uint64(4) {
		for _, want := range []bool{true, false} {
			m := &memory{log: quiet, now: remembered{Version: memoryVersion, Namespace: ns}}
			if err := m.open(dir); (err == nil) != want {
				t.Errorf("namespace %d: %v", ns, err)
			}
			defer m.close() //nolint:errcheck // all at the end: they are to meet
		}
	}
}

// Whatever is in the place of the file leads to a warning, and is replaced in time.
func TestMemoryGarbled(t *testing.T) {
	write := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	for name, tt := range map[string]struct {
		make      func(path string) error
		complaint string
	}{
		"empty":       {write(""), "EOF"},
		"cut off":     {write(`{"version": 1, "endp`), "unexpected EOF"},
		"binary":      {write("\x00\xff\x00"), "invalid character"},
		"version":     {write(`{"version": 9}`), "unknown version 9"},
		"no address":  {write(`{"version": 1, "endpoints": [{"id": 1}]}`), "endpoint 1 has address"},
		"bad address": {write(`{"version": 1, "endpoints": [{"id": 1, "addr": "wlan0"}]}`), "wlan0"},
		"bad ID":      {write(`{"version": 1, "endpoints": [{"id": 256, "addr": "10.1.0.2"}]}`), "cannot unmarshal"},
		"bad manager": {write(`{"version": 1, "path_manager": {"before": "a\nb", "set": "kernel"}}`), "path manager"},
		"no manager":  {write(`{"version": 1, "path_manager": {"set": "kernel"}}`), "path manager"},
		"too much":    {write(`{"version": 1} {}`), "more than one value"},
		"long":        {write(strings.Repeat(" ", maxMemory+1)), "larger than"},
		"directory":   {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"pipe":        {func(path string) error { return unix.Mkfifo(path, 0o600) }, "not a regular file"},
		"link":        {func(path string) error { return os.Symlink("/dev/zero", path) }, "too many levels"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := recall(t, dir, "")
			m.crash()
			if err := tt.make(m.path); err != nil {
				t.Fatal(err)
			}
			m = recall(t, dir, tt.complaint)
			if !m.now.empty() {
				t.Errorf("remembers %+v", m.now)
			}
			if name == "directory" || name == "pipe" || name == "link" {
				return // stays, and the log has said so
			}
			m.note(func(r *remembered) { r.Limits = &changedLimits{Set: mptcp.Limits{Subflows: 4}} })
			m.crash()
			if m = recall(t, dir, ""); m.now.Limits == nil {
				t.Error("not replaced")
			}
		})
	}
}

// A directory that cannot be used leads to one warning, and everything else works.
func TestMemoryWithoutPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := recall(t, filepath.Join(file, "state"), "will stay in the kernel after a crash")
	m.note(func(r *remembered) { r.Limits = &changedLimits{} })
	if m.now.Limits == nil || m.path != "" {
		t.Errorf("%+v, %q", m.now, m.path)
	}

	dir := t.TempDir()
	m = recall(t, dir, "")
	var log strings.Builder
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	m.path = filepath.Join(file, "mptcp-1.json")
	for i := range 3 {
		m.note(func(r *remembered) { r.Limits = &changedLimits{Set: mptcp.Limits{Subflows: uint32(i + 1)}} })
	}
	if n := strings.Count(log.String(), "will stay in the kernel"); n != 1 {
		t.Errorf("%d warnings\n%s", n, log.String())
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"version": 1, "boot": "b", "namespace": 1, "endpoints": [{"id": 1, "addr": "10.1.0.2", "flags": 2, "index": 3}]}`))
	f.Add([]byte(`{"version": 1, "limits": {"before": {"AddAddrs": 1, "Subflows": 2}, "set": {}}, "path_manager": {"before": "kernel", "set": "userspace"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseMemory(b)
		if err != nil && !r.empty() {
			t.Errorf("remembers %+v in spite of %v", r, err)
		}
		for _, e := range r.Endpoints {
			if !e.Addr.IsValid() {
				t.Errorf("an endpoint without address: %+v", r)
			}
		}
	})
}

// This run takes over the endpoints of the last one, unless somebody has changed them.
func TestKeeperAfterCrash(t *testing.T) {
	wlan, wwan := prefix("wlan0", 2, "10.1.0.2/24"), prefix("wwan0", 3, "10.2.0.2/24", metered)
	eth, six := prefix("eth0", 4, "10.3.0.2/24"), prefix("eth0", 4, "2001:db8::2/64")
	foreign := mptcp.Endpoint{ID: 7, Addr: netip.MustParseAddr("10.9.0.1"), Flags: mptcp.FlagSubflow}
	before := mptcp.Limits{AddAddrs: 1, Subflows: 2}
	k := &kernel{limits: before, endpoints: []mptcp.Endpoint{foreign}}
	dir := t.TempDir()
	m := recall(t, dir, "")
	if err := keep(t, k, newHost(wlan, wwan, eth, six), m).sync(start); err != nil {
		t.Fatal(err)
	}
	m.crash()

	// Meanwhile somebody replaces one endpoint, makes another one their own, and deletes a
	// third.
	theirs := mptcp.Endpoint{ID: 99, Addr: eth.Addr(), Flags: mptcp.FlagSubflow}
	signal := mptcp.Endpoint{ID: k.endpoints[1].ID, Addr: wlan.Addr(), Flags: mptcp.FlagSubflow | mptcp.FlagSignal}
	k.endpoints = []mptcp.Endpoint{foreign, signal, k.endpoints[2], theirs}
	m = recall(t, dir, "")
	next := keep(t, k, newHost(wlan, prefix("wwan0", 3, "10.2.0.2/24")), m)
	if err := next.sync(start); err != nil {
		t.Fatal(err)
	}
	// The endpoint is not a backup any more, because our own endpoints can be changed.
	own := mptcp.Endpoint{ID: 9, Addr: wwan.Addr(), Flags: mptcp.FlagSubflow, Index: 3}
	checkEndpoints(t, k, foreign, signal, own, theirs)
	if err := next.end(); err != nil {
		t.Fatal(err)
	}
	checkEndpoints(t, k, foreign, signal, theirs)
	if k.limits != before {
		t.Errorf("limits after the end: %+v, want %+v", k.limits, before)
	}
	if !m.now.empty() {
		t.Errorf("still remembered: %+v", m.now)
	}
}

// When the run was killed, the kernel may have been asked already, or not yet.
func TestKeeperAfterCrashBetween(t *testing.T) {
	wlan := prefix("wlan0", 2, "10.1.0.2/24")
	for _, added := range []bool{true, false} {
		k := &kernel{limits: mptcp.Limits{Subflows: 2}}
		m := recall(t, t.TempDir(), "")
		m.note(func(r *remembered) {
			r.Endpoints = []ownEndpoint{{Addr: wlan.Addr(), Flags: mptcp.FlagSubflow}}
			r.Limits = &changedLimits{Before: mptcp.Limits{Subflows: 2}, Set: mptcp.Limits{Subflows: 4}}
		})
		if added {
			k.endpoints = []mptcp.Endpoint{{ID: 4, Addr: wlan.Addr(), Flags: mptcp.FlagSubflow}}
			k.limits.Subflows = 4
		}
		next := keep(t, k, newHost(), m)
		if n := len(next.own); n == 1 != added {
			t.Errorf("added %v: %d are ours", added, n)
		}
		if err := next.end(); err != nil {
			t.Error(err)
		}
		checkEndpoints(t, k)
		if k.limits.Subflows != 2 || !m.now.empty() {
			t.Errorf("added %v: limits %+v, remembered %+v", added, k.limits, m.now)
		}
	}
}
